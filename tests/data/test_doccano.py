import json

import pytest

from kexue.data import DataError, Entity, Record, Relation, read, write
from kexue.data.doccano import decode, encode, encode_label, encode_labels
from kexue.data.records import FormatError

TEXT = "我在北京工作"
SPANS = [[0, 1, "person"], [2, 4, "place"]]
ENTITIES = [Entity(start=0, end=1, label="person"), Entity(start=2, end=4, label="place")]
THIRD = {
    "id": 9,
    "text": TEXT,
    "entities": [
        {"id": 31, "start_offset": 0, "end_offset": 1, "label": "person"},
        {"id": 27, "start_offset": 2, "end_offset": 4, "label": "place"},
    ],
    "relations": [{"id": 4, "from_id": 31, "to_id": 27, "type": "works in"}],
    "Comments": [],
}


@pytest.mark.parametrize(
    ("line", "format"),
    [
        ({"id": 1, "text": TEXT, "labels": SPANS}, "doccano-labels"),
        ({"id": 1, "text": TEXT, "label": SPANS}, "doccano-label"),
    ],
)
def test_spans_as_lists_come_back(tmp_path, line, format):
    (tmp_path / "a").write_text(json.dumps(line))
    corpus = read(tmp_path / "a")
    assert corpus.format == format
    assert corpus.records[0].entities == ENTITIES
    write(corpus, tmp_path / "b", format=format)
    assert json.loads((tmp_path / "b").read_text("utf-8")) == line


def test_ids_become_indices_and_are_written_anew(tmp_path):
    (tmp_path / "a").write_text(json.dumps(THIRD))
    corpus = read(tmp_path / "a")
    assert corpus.format == "doccano"
    (record,) = corpus
    assert record.entities == ENTITIES
    assert record.relations == [Relation(head=0, tail=1, label="works in")]
    assert record.model_extra == {"id": 9, "Comments": []}
    item = encode(record)
    assert [e["id"] for e in item["entities"]] == [1, 2]
    assert item["relations"] == [{"id": 1, "from_id": 1, "to_id": 2, "type": "works in"}]
    assert Record.model_validate(decode(item, [])) == record


def test_one_file_may_mix_generations(tmp_path):
    lines = [{"text": TEXT, "labels": SPANS}, {"text": TEXT, "label": SPANS}, THIRD]
    (tmp_path / "a").write_text("\n".join(map(json.dumps, lines)))
    corpus = read(tmp_path / "a", format="doccano")
    assert [record.entities for record in corpus] == [ENTITIES] * 3


@pytest.mark.parametrize("classes", [["positive"], ["a", "b"], "positive"])
def test_a_label_of_strings_is_the_class(classes):
    record = Record.model_validate(decode({"text": TEXT, "label": classes}, []))
    assert record.label == classes
    assert Record.model_validate(decode(encode(record), [])) == record


@pytest.mark.parametrize(
    "line",
    [
        {"text": TEXT, "label": [[0, 1]]},
        {"text": TEXT, "label": [[0, 1, 2]]},
        {"text": TEXT, "label": [["0", 1, "x"]]},
        {"text": TEXT, "label": [[0, 1, "x"], "class"]},
        {"text": TEXT, "label": [[0, 9, "x"]]},
        {"text": TEXT, "labels": SPANS, "label": SPANS},
        {**THIRD, "label": SPANS},
        {**THIRD, "entities": THIRD["entities"][:1]},
        {**THIRD, "entities": [{**e, "id": 1} for e in THIRD["entities"]]},
        {**THIRD, "relations": [{"from_id": 31, "type": "x"}]},
        {"text": TEXT, "entities": [{"start_offset": 3, "end_offset": 1, "label": "x"}]},
        {"text": TEXT, "relations": [{"from_id": 1, "to_id": 2, "type": "x"}]},
        {"text": TEXT, "label": 3},
        {"label": SPANS},
    ],
)
def test_wrong_lines_are_named(tmp_path, line):
    (tmp_path / "a").write_text(json.dumps(line))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a", format="doccano")
    assert caught.value.line == 1


def test_what_would_be_read_back_as_something_else_is_refused():
    entity = {"start": 0, "end": 1, "label": "x"}
    relation = {"head": 0, "tail": 0, "label": "r"}
    given = {"text": "ab", "entities": [entity]}
    for item in (
        {**given, "labels": 3},
        {**given, "label": 3},
        {**given, "label": ""},
        {**given, "entities": [{**entity, "id": 3}]},
        {**given, "relations": [{**relation, "from_id": 3}]},
    ):
        with pytest.raises(FormatError):
            encode(Record.model_validate(item))
    for item in ({**given, "label": "class"}, {**given, "relations": [relation]}):
        for write_one in (encode_label, encode_labels):
            with pytest.raises(FormatError):
                write_one(Record.model_validate(item))
    scored = Record.model_validate({**given, "entities": [{**entity, "score": 1}]})
    assert encode(scored)["entities"][0]["score"] == 1
    with pytest.raises(FormatError, match=r"entities\.score"):
        encode_label(scored)
