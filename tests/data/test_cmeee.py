import json

import pytest

from kexue.data import DataError, Record, read, write
from kexue.data.cmeee import decode, encode
from kexue.data.records import FormatError

ITEMS = [
    {
        "text": "房室分离、头痛",
        "entities": [
            {"start_idx": 0, "end_idx": 3, "type": "sym", "entity": "房室分离"},
            {"start_idx": 0, "end_idx": 1, "type": "bod", "entity": "房室"},
            {"start_idx": 5, "end_idx": 6, "type": "sym", "entity": "头痛"},
        ],
    },
    {"text": "无", "entities": []},
]


def test_a_list_with_nested_entities_comes_back(tmp_path):
    (tmp_path / "a").write_text(json.dumps(ITEMS, ensure_ascii=False, indent=2))
    corpus = read(tmp_path / "a")
    assert corpus.format == "cmeee"
    spans = [(e.start, e.end, e.label) for e in corpus.records[0].entities]
    assert spans == [(0, 4, "sym"), (0, 2, "bod"), (5, 7, "sym")]
    write(corpus, tmp_path / "b", format="cmeee")
    assert json.loads((tmp_path / "b").read_text("utf-8")) == ITEMS


def test_the_first_release_has_no_surfaces():
    item = {"text": "头痛", "entities": [{"start_idx": 0, "end_idx": 1, "type": "sym"}]}
    record = Record.model_validate(decode(item, []))
    assert encode(record)["entities"][0]["entity"] == "头痛"


def test_a_wrong_surface_is_noted():
    notes = []
    span = {"start_idx": 0, "end_idx": 0, "type": "sym", "entity": "头痛"}
    decode({"text": "头痛", "entities": [span]}, notes)
    assert notes == ["sym [0, 1) is '头', not '头痛': it ends one character early"]


@pytest.mark.parametrize(
    "span",
    [
        {"start_idx": 3, "end_idx": 1, "type": "sym"},
        {"start_idx": "0", "end_idx": 1, "type": "sym"},
        {"start_idx": 0, "type": "sym"},
        {"start_idx": 0, "end_idx": 9, "type": "sym"},
        {"start_idx": 0, "end_idx": 1, "type": None},
        [0, 1, "sym"],
    ],
)
def test_wrong_entities_are_named(tmp_path, span):
    (tmp_path / "a").write_text(json.dumps([ITEMS[1], {"text": "头痛", "entities": [span]}]))
    with pytest.raises(DataError):
        read(tmp_path / "a", format="cmeee")
    corpus = read(tmp_path / "a", format="cmeee", skip_bad=True)
    assert (len(corpus), len(corpus.skipped)) == (1, 1)


def test_further_keys_are_kept_unless_they_clash():
    item = {"text": "头", "id": 5}
    assert encode(Record.model_validate(decode(item, []))) == item
    entity = {"start": 0, "end": 1, "label": "x", "score": 0.5}
    record = Record.model_validate({"text": "头", "entities": [entity]})
    assert Record.model_validate(decode(encode(record), [])) == record
    clash = {"text": "头", "entities": [{**entity, "type": "y"}]}
    with pytest.raises(FormatError, match=r"entities\.type"):
        encode(Record.model_validate(clash))


def test_no_records_make_an_empty_list(tmp_path):
    assert write([], tmp_path / "a", format="cmeee") == 0
    assert json.loads((tmp_path / "a").read_text()) == []
