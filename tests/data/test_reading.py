import json
import time
import tracemalloc

import pytest

from kexue.data import FORMATS, DataError, Entity, Record, read
from kexue.data.reading import spans_past_the_end

GOOD = {"text": "北京在哪", "entities": [{"start": 0, "end": 2, "label": "place"}]}
LONG = {
    "text": "北京",
    "entities": [{"start": 0, "end": 1, "label": "a"}, {"start": 0, "end": 5, "label": "b"}],
}


def save(tmp_path, *items):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(item) for item in items))
    return path


def test_a_span_after_the_end_costs_the_record_with_a_name(tmp_path):
    path = save(tmp_path, GOOD, LONG)
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.line == 2
    assert caught.value.reason == "b [0, 5) ends after the text, which has 2 characters"
    assert "at most 2" in caught.value.fix
    corpus = read(path, skip_bad=True)
    assert (len(corpus), len(corpus.skipped)) == (1, 1)
    lenient = read(path, lenient=True)
    assert len(lenient) == 2
    assert lenient.records[1].entities[1].end == 5
    # what breaks the schema is an error all the same
    with pytest.raises(DataError):
        read(
            save(tmp_path, {"text": "a", "entities": [{"start": 2, "end": 1, "label": "x"}]}),
            lenient=True,
        )


def test_arguments_after_the_end(tmp_path):
    event = {"type": "sale", "arguments": [{"start": 0, "end": 9, "role": "who"}]}
    record = Record.model_validate({"text": "ab", "events": [event]})
    assert list(spans_past_the_end(record)) == [("sale.who", 0, 9)]
    with pytest.raises(DataError, match=r"sale\.who \[0, 9\)"):
        read(save(tmp_path, record.to_dict()))


def test_ends_can_be_moved(tmp_path):
    event = {"type": "t", "arguments": [{"start": 1, "end": 1, "role": "r"}]}
    path = save(
        tmp_path,
        {"text": "ab", "entities": [{"start": 0, "end": 0, "label": "x"}], "events": [event]},
    )
    with pytest.raises(DataError, match="start 0 is not before end 0"):
        read(path)
    (record,) = read(path, shift_end=1)
    assert record.entities == [Entity(start=0, end=1, label="x")]
    assert record.events[0].arguments[0].end == 2
    odd = save(tmp_path, {"text": "ab", "entities": 3, "events": [3, {"arguments": 3}]})
    with pytest.raises(DataError):
        read(odd, shift_end=1)


def test_wrong_options_are_named(tmp_path):
    path = save(tmp_path, GOOD)
    with pytest.raises(ValueError, match="format is 'xml'; allowed: jsonl, cluener") as caught:
        read(path, format="xml")
    assert not isinstance(caught.value, DataError)
    with pytest.raises(ValueError, match="joiner is '-'"):
        read(path, joiner="-")


@pytest.mark.parametrize("format", FORMATS)
def test_the_wrong_format_is_an_error_not_an_empty_corpus(tmp_path, format):
    if format in ("jsonl", "doccano"):
        return  # both take any object with a text and keep what they do not know
    path = save(tmp_path, GOOD)
    if format == "brat":
        path = path.with_suffix(".txt")
        path.write_text("text")
        path.with_suffix(".ann").write_text(json.dumps(GOOD))
    if format in ("cluener", "doccano-label", "doccano-labels", "label-studio"):
        return
    with pytest.raises(DataError):
        read(path, format=format)


def test_memory_stays_near_the_size_of_the_records(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("w") as stream:
        for _ in range(300):
            stream.write(json.dumps({"text": "a", "broken": "x" * 20_000, "entities": 3}) + "\n")
    tracemalloc.start()
    try:
        corpus = read(path, format="jsonl", skip_bad=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(corpus.skipped) == 300
    assert peak < 3_000_000  # the file has 6 MB


def test_ten_thousand_records_are_read_in_a_moment(tmp_path):
    line = json.dumps(
        {
            "text": "浙商银行企业信贷部叶老桂博士" * 3,
            "label": {"name": {"叶老桂": [[9, 11], [23, 25]]}},
        }
    )
    (tmp_path / "a").write_text("\n".join([line] * 10_000))
    started = time.process_time()
    assert len(read(tmp_path / "a")) == 10_000
    assert time.process_time() - started < 2
