import json

import pytest

from kexue.data import DataError, Record, Relation, read, write
from kexue.data.label_studio import decode, encode
from kexue.data.records import FormatError


def region(name, start, end, *labels, **value):
    return {
        "id": name,
        "from_name": "ner",
        "to_name": "text",
        "type": "labels",
        "value": {"start": start, "end": end, "labels": list(labels), **value},
    }


def task(text, *results, **further):
    done = {"id": 5, "was_cancelled": False, "ground_truth": False, "result": list(results)}
    return {"id": 1, "data": {"text": text, "source": "web"}, "annotations": [done], **further}


def only(item):
    notes = []
    return Record.model_validate(decode(item, notes)), notes


def test_an_export_is_read(tmp_path):
    relation = {"type": "relation", "from_id": "b", "to_id": "a", "labels": ["of"]}
    item = task(
        "我在北京",
        relation,
        region("a", 0, 1, "person", text="我"),
        region("b", 2, 4, "place", "city", text="北京"),
        predictions=[],
    )
    (tmp_path / "a.json").write_text(json.dumps([item, item], indent=2))
    corpus = read(tmp_path / "a.json")
    assert (corpus.format, corpus.notes) == ("label-studio", [])
    record = corpus.records[0]
    assert [(e.start, e.end, e.label) for e in record.entities] == [
        (0, 1, "person"),
        (2, 4, "place"),
        (2, 4, "city"),
    ]
    assert record.relations == [Relation(head=1, tail=0, label="of")]
    assert record.model_extra == {"source": "web", "label_studio": {"id": 1, "predictions": []}}
    write(corpus, tmp_path / "b.json", format="label-studio")
    assert read(tmp_path / "b.json").records == corpus.records
    again = json.loads((tmp_path / "b.json").read_text("utf-8"))[0]
    assert (again["id"], again["data"]) == (1, {"text": "我在北京", "source": "web"})


def test_the_first_annotation_that_was_not_cancelled_counts():
    item = task("北京", region("a", 0, 2, "place"))
    cancelled = {"was_cancelled": True, "result": [region("x", 0, 1, "wrong")]}
    second = {"result": [region("x", 1, 2, "second")]}
    record, notes = only({**item, "annotations": [cancelled, *item["annotations"], second]})
    assert [e.label for e in record.entities] == ["place"]
    assert "has 2 annotations" in notes[0]


def test_an_unlabelled_task_is_not_a_task_without_entities():
    for annotations in ([], [{"was_cancelled": True, "result": []}]):
        record, notes = only({"data": {"text": "北京"}, "annotations": annotations})
        assert "entities" not in record.to_dict()
        assert "nobody has labelled" in notes[0]
        assert encode(record) == {"data": {"text": "北京"}}
    record, notes = only(task("北京"))
    assert record.to_dict()["entities"] == []
    assert notes == []


def test_json_min(tmp_path):
    row = {
        "id": 7,
        "text": "我在北京",
        "ner": [{"start": 2, "end": 4, "text": "北京", "labels": ["place"]}],
        "annotator": 1,
        "lead_time": 3.5,
    }
    (tmp_path / "a.json").write_text(json.dumps([row]))
    corpus = read(tmp_path / "a.json")
    assert corpus.format == "label-studio"
    assert [(e.start, e.end, e.label) for e in corpus.records[0].entities] == [(2, 4, "place")]
    assert corpus.records[0].model_extra == {"id": 7, "annotator": 1, "lead_time": 3.5}
    with pytest.raises(FormatError, match="ner and other"):
        decode({**row, "other": row["ner"]}, [])


def test_javascript_counts_characters_beyond_the_plane_twice():
    text = "😀😀 in Rome 😀 and Como"
    record, notes = only(
        task(text, region("a", 8, 12, "place", text="Rome"), region("b", 20, 24, "p", text="Como"))
    )
    assert [text[e.start : e.end] for e in record.entities] == ["Rome", "Como"]
    assert notes == []


def test_texts_that_do_not_stand_at_their_offsets_are_noted():
    _, notes = only(task("去北京玩", region("a", 1, 2, "place", text="北京")))
    assert "ends one character early" in notes[0]
    _, notes = only(task("a\nb", region("a", 0, 3, "place", text="a\\nb")))
    assert notes == []


def test_choices_are_the_class():
    def choice(*chosen):
        return {"type": "choices", "from_name": "c", "value": {"choices": list(chosen)}}

    assert only(task("a", choice("x")))[0].label == "x"
    assert only(task("a", choice("x", "y")))[0].label == ["x", "y"]
    for label in ("x", ["x"], ["x", "y"]):
        record = Record(text="a", label=label)
        assert Record.model_validate(decode(encode(record), [])).label == label


def test_other_results_are_noted():
    _, notes = only(task("a", {"type": "textarea", "value": {"text": "free"}}))
    assert notes == ["a result of type 'textarea' is left out"]


def test_another_name_for_the_text_is_noted():
    record, notes = only({"data": {"content": "北京", "n": 3}, "annotations": [{"result": []}]})
    assert (record.text, record.model_extra) == ("北京", {"n": 3})
    assert notes == ["the text is taken from data.content"]


@pytest.mark.parametrize(
    "item",
    [
        {"data": {"a": "x", "b": "y"}},
        {"data": {"a": 3}},
        {"data": []},
        task("北京", region("a", 0, 2)),
        task("北京", region("a", None, 2, "x")),
        task("北京", region("a", 0, 9, "x")),
        task("北京", region("a", 1, 1, "x")),
        task("北京", region("a", "0", 1, "x")),
        task("北京", {"type": "relation", "from_id": "a", "to_id": "b"}),
        {"data": {"text": "a"}, "annotations": [{}]},
        {"data": {"text": "a"}, "annotations": [{"result": [{"value": 3}]}]},
        {"data": {"text": "a", "entities": []}, "annotations": [{"result": []}]},
    ],
)
def test_wrong_tasks_are_named(tmp_path, item):
    (tmp_path / "a").write_text(json.dumps([task("北京"), item]))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a", format="label-studio")
    assert caught.value.line == 1
    assert len(read(tmp_path / "a", format="label-studio", skip_bad=True)) == 1


def test_what_has_no_place_is_refused():
    entity = {"start": 0, "end": 1, "label": "x", "score": 1}
    for item in (
        {"text": "ab", "entities": [entity]},
        {"text": "ab", "label": 3},
        {"text": "ab", "label_studio": {"data": 3}},
        {"text": "ab", "label_studio": 3},
    ):
        with pytest.raises(FormatError, match=r"--drop|Leave"):
            encode(Record.model_validate(item))
