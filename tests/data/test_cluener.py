import json

import pytest

from kexue.data import DataError, Entity, Record, read, write
from kexue.data.cluener import decode, encode
from kexue.data.records import FormatError

LINE = {
    "text": "叶老桂在京，叶老桂去沪",
    "label": {"name": {"叶老桂": [[0, 2], [6, 8]]}, "address": {"京": [[4, 4]], "沪": [[10, 10]]}},
}


def test_ends_are_inclusive():
    notes = []
    record = Record.model_validate(decode(LINE, notes))
    assert notes == []
    spans = [(e.start, e.end, e.label, record.text[e.start : e.end]) for e in record.entities]
    assert spans == [
        (0, 3, "name", "叶老桂"),
        (6, 9, "name", "叶老桂"),
        (4, 5, "address", "京"),
        (10, 11, "address", "沪"),
    ]
    assert encode(record) == LINE


def test_further_keys_and_a_missing_label_come_back():
    for line in ({"text": "a", "id": 3}, {"text": "a", "label": {}, "split": "dev"}):
        assert encode(Record.model_validate(decode(line, []))) == line


def test_a_wrong_surface_is_noted_and_read_by_its_offsets(tmp_path):
    line = {"text": "去北京玩", "label": {"address": {"北京": [[1, 3]]}}}
    (tmp_path / "a").write_text(json.dumps(line))
    corpus = read(tmp_path / "a")
    assert corpus.records[0].entities == [Entity(start=1, end=4, label="address")]
    assert [note.line for note in corpus.notes] == [1]
    assert "is '北京玩', not '北京': it ends one character late" in corpus.notes[0].reason


@pytest.mark.parametrize(
    "label",
    [
        3,
        [],
        {"name": []},
        {"name": {"x": [0, 1]}},
        {"name": {"x": [[0]]}},
        {"name": {"x": [[0, 1, 2]]}},
        {"name": {"x": [["0", 1]]}},
        {"name": {"x": [[0, True]]}},
        {"name": {"x": [[1, -3]]}},
        {"": {"x": [[0, 1]]}},
    ],
)
def test_wrong_shapes_are_named(tmp_path, label):
    (tmp_path / "a").write_text(json.dumps({"text": "ab", "label": label}))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a", format="cluener")
    assert caught.value.line == 1


def test_entities_beside_label_are_no_choice_of_ours():
    with pytest.raises(FormatError, match="'entities' stands beside"):
        decode({**LINE, "entities": []}, [])


def test_what_has_no_place_is_refused(tmp_path):
    entity = {"start": 0, "end": 1, "label": "x"}
    relation = {"head": 0, "tail": 0, "label": "r"}
    records = [
        Record(text="ab"),
        Record.model_validate({"text": "ab", "entities": [entity], "relations": [relation]}),
    ]
    with pytest.raises(DataError) as caught:
        write(records, tmp_path / "out", format="cluener")
    assert caught.value.line == 2
    assert "--drop relations" in caught.value.fix
    assert list(tmp_path.iterdir()) == []
    assert write(records, tmp_path / "out", format="cluener", drop=["relations"]) == 2
    with pytest.raises(FormatError):
        encode(Record(text="a", label="class"))
