import json

import pytest

from kexue.data import DataError, Record, Relation, read
from kexue.data.records import FormatError
from kexue.data.span_lists import decode, encode

LINE = {
    "id": "0",
    "text": "我在北京",
    "entities": [[0, 1, "person", "T1"], [2, 4, "place", "T2"]],
    "relations": [["T1", "located", "T2"], ["T2", "holds", "T1"]],
}


def test_names_become_indices(tmp_path):
    (tmp_path / "a").write_text(json.dumps(LINE))
    corpus = read(tmp_path / "a")
    assert corpus.format == "spans"
    (record,) = corpus
    assert record.relations == [
        Relation(head=0, tail=1, label="located"),
        Relation(head=1, tail=0, label="holds"),
    ]
    assert encode(record) == LINE


def test_other_names_are_handles():
    names = {"T1": "e-9", "T2": "e-4"}
    line = {
        **LINE,
        "entities": [[*span[:3], names[span[3]]] for span in LINE["entities"]],
        "relations": [[names[h], label, names[t]] for h, label, t in LINE["relations"]],
    }
    assert decode(line, []) == decode(LINE, [])


def test_without_relations_there_are_no_names():
    line = {"text": "北京", "entities": [[0, 2, "place"]]}
    assert encode(Record.model_validate(decode(line, []))) == line
    assert encode(Record.model_validate(decode({"text": "a"}, []))) == {"text": "a"}


@pytest.mark.parametrize(
    "change",
    [
        {"entities": [[0, 1]]},
        {"entities": [[0, 1, "x", "T1", "more"]]},
        {"entities": [[0, 1, 2]]},
        {"entities": [[0, 1.5, "x"]]},
        {"entities": [[0, 9, "x", "T1"], [1, 2, "x", "T2"]]},
        {"entities": [[0, 1, "x", "T1"], [1, 2, "x", "T1"]]},
        {"entities": [[0, 1, "x"]]},
        {"relations": [["T1", "x"]]},
        {"relations": [["T1", "x", "T9"]]},
        {"relations": [["T1", 3, "T2"]]},
        {"relations": {}},
        {"text": None},
    ],
)
def test_wrong_lines_are_named(tmp_path, change):
    (tmp_path / "a").write_text(json.dumps({**LINE, **change}))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a", format="spans")
    assert caught.value.line == 1


def test_further_keys_of_parts_are_refused():
    entity = {"start": 0, "end": 1, "label": "x"}
    relation = {"head": 0, "tail": 0, "label": "r", "score": 1}
    with pytest.raises(FormatError):
        encode(Record.model_validate({"text": "a", "entities": [{**entity, "score": 1}]}))
    with pytest.raises(FormatError):
        encode(Record.model_validate({"text": "a", "entities": [entity], "relations": [relation]}))
