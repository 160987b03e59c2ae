import json

import pytest

from kexue.data import Entity, Record, Relation, read, write
from kexue.data.jsonl import decode, encode, join, refuse
from kexue.data.records import FormatError


def test_a_line_is_the_record(tmp_path):
    lines = [
        {"text": "a", "id": 1, "nested": {"x": [1, None, 0.5]}},
        {"entities": [{"start": 0, "end": 1, "label": "x", "score": 1.5}], "text": "b"},
        {"text": "", "summary": None},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    corpus = read(path)
    assert write(corpus, tmp_path / "b.jsonl") == 3
    again = (tmp_path / "b.jsonl").read_text("utf-8").splitlines()
    assert list(map(json.loads, again)) == lines


def test_chinese_is_written_as_it_is(tmp_path):
    write([Record(text="北京😀\u2028")], tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == '{"text": "北京😀\u2028"}\n'.encode()


def test_decode_and_encode_are_inverse():
    item = {"text": "a", "further": 1}
    assert decode(item, []) == item
    assert encode(Record.model_validate(item)) == item


def test_refuse_names_everything_at_once():
    record = Record.model_validate(
        {
            "text": "ab",
            "entities": [{"start": 0, "end": 1, "label": "x", "score": 1, "id": 2}],
            "relations": [Relation(head=0, tail=0, label="r")],
            "summary": "s",
            "genre": None,
        }
    )
    lost = frozenset({"relations", "summary", "genre", "events", "pair"})
    with pytest.raises(FormatError) as caught:
        refuse(record, lost, frozenset({"id"}))
    assert "--drop relations,summary,genre,entities.score." in caught.value.fix
    refuse(record, frozenset({"events", "pair"}), None)
    refuse(Record(text="a", entities=[Entity(start=0, end=1, label="x")]), lost, frozenset())


def test_join_refuses_to_overwrite():
    assert join({"a": 1}, text="t", entities=None) == {"text": "t", "a": 1}
    assert join(None, text="t") == {"text": "t"}
    with pytest.raises(FormatError, match="'entities' stands beside"):
        join({"entities": []}, text="t", entities=[])
