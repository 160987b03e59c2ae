import json

import pytest

from kexue.data import DataError, Entity, Record, read, write
from kexue.data.records import FormatError
from kexue.data.tokens import decode, encode

LINE = {
    "sid": "s1",
    "tokens": ["Lake", "Como", ",", "Italy"],
    "upos": ["PROPN", "PROPN", "PUNCT", "PROPN"],
    "entities": [[0, 1, "place"], [0, 3, "place"], [3, 3, "place"]],
}


def test_a_line_comes_back_as_the_same_object():
    record = Record.model_validate(decode(LINE, []))
    assert record.text == "Lake Como , Italy"
    assert [record.text[e.start : e.end] for e in record.entities] == [
        "Lake Como",
        "Lake Como , Italy",
        "Italy",
    ]
    assert encode(record) == LINE


@pytest.mark.parametrize(
    "line", [{"tokens": []}, {"tokens": ["a"]}, {"tokens": [], "entities": []}]
)
def test_lines_without_entities(line):
    assert encode(Record.model_validate(decode(line, []))) == line


@pytest.mark.parametrize(
    "line",
    [
        {"tokens": "abc"},
        {"tokens": ["a", 3]},
        {"tokens": ["a b"]},
        {"tokens": ["a", ""]},
        {"tokens": ["a"], "entities": [[0, 1, "x"]]},
        {"tokens": ["a", "b"], "entities": [[1, 0, "x"]]},
        {"tokens": ["a"], "entities": [[-1, 0, "x"]]},
        {"tokens": ["a"], "entities": [[0, 0]]},
        {"tokens": ["a"], "entities": [["0", 0, "x"]]},
        {"tokens": ["a"], "entities": [[0, True, "x"]]},
        {"tokens": ["a"], "entities": [[0, 0, ""]]},
        {"tokens": ["a"], "entities": [{"start": 0}]},
        {"tokens": ["a"], "text": "a"},
    ],
)
def test_wrong_lines_are_named(tmp_path, line):
    good = json.dumps({"tokens": ["a"]})
    (tmp_path / "a").write_text(f"{good}\n{json.dumps(line)}\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a", format="tokens")
    assert caught.value.line == 2


@pytest.mark.parametrize(
    "record",
    [
        Record(text="Lake Como", entities=[Entity(start=0, end=3, label="x")]),
        Record(text="Lake Como", entities=[Entity(start=1, end=4, label="x")]),
        Record(text="two  spaces"),
        Record(text=" edge"),
        Record.model_validate({"text": "a", "tokens": 3}),
        Record.model_validate(
            {"text": "a", "entities": [{"start": 0, "end": 1, "label": "x", "id": 1}]}
        ),
    ],
)
def test_what_is_no_list_of_tokens_is_refused(record, tmp_path):
    with pytest.raises(FormatError):
        encode(record)
    with pytest.raises(DataError):
        write([record], tmp_path / "a", format="tokens")
