import pickle

import pytest
from pydantic import ValidationError

from kexue.data import (
    Answer,
    Argument,
    Corpus,
    DataError,
    Entity,
    Event,
    Record,
    Relation,
)
from kexue.data.records import FormatError


@pytest.mark.parametrize(
    "span",
    [
        {"start": -1, "end": 2},
        {"start": 2, "end": 2},
        {"start": 3, "end": 2},
        {"start": True, "end": 2},
        {"start": "0", "end": 2},
        {"start": 0.0, "end": 2},
        {"start": 0, "end": 2.0},
        {"start": 0, "end": None},
        {"start": 0},
        {},
    ],
)
def test_spans_are_strict(span):
    with pytest.raises(ValidationError):
        Entity.model_validate({**span, "label": "a"})
    with pytest.raises(ValidationError):
        Argument.model_validate({**span, "role": "a"})


@pytest.mark.parametrize("label", ["", None, 3, True, ["a"]])
def test_labels_are_strings_with_a_character(label):
    with pytest.raises(ValidationError):
        Entity(start=0, end=1, label=label)
    with pytest.raises(ValidationError):
        Relation(head=0, tail=0, label=label)
    with pytest.raises(ValidationError):
        Event(type=label)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"text": 3},
        {"text": None},
        {"text": "a", "entities": None},
        {"text": "a", "entities": {}},
        {"text": "a", "entities": [[0, 1, "x"]]},
        {"text": "a", "label": True},
        {"text": "a", "label": {"x": 1}},
        {"text": "a", "choices": [1]},
        {"text": "a", "answers": [{"text": "a", "start": -1}]},
        {"text": "a", "relations": [{"head": 0, "tail": 0, "label": "x"}]},
    ],
)
def test_records_are_strict(record):
    with pytest.raises(ValidationError):
        Record.model_validate(record)


def test_relations_point_at_entities():
    entities = [{"start": 0, "end": 1, "label": "x"}]
    with pytest.raises(ValidationError, match="points at entity 1"):
        Record.model_validate(
            {
                "text": "a",
                "entities": entities,
                "relations": [{"head": 0, "tail": 1, "label": "x"}],
            }
        )


def test_a_span_after_the_text_is_no_matter_of_the_schema():
    assert Record(text="a", entities=[Entity(start=0, end=9, label="x")]).entities[0].end == 9


def test_further_keys_are_kept_everywhere():
    item = {
        "text": "ab",
        "entities": [{"start": 0, "end": 1, "label": "x", "score": 0.5}],
        "relations": [{"head": 0, "tail": 0, "label": "self", "id": 7}],
        "events": [
            {"type": "t", "arguments": [{"start": 0, "end": 1, "role": "r", "k": 1}], "n": 2}
        ],
        "id": "s1",
        "_private": [1, {"deep": None}],
        "model_config": 3,
        "to_dict": "x",
    }
    record = Record.model_validate(item)
    assert record.to_dict() == item
    assert Record.model_validate(record.to_dict()) == record


def test_what_was_not_given_stays_out_and_what_was_given_stays():
    assert Record(text="a").to_dict() == {"text": "a"}
    given = {"text": "a", "entities": [], "summary": None, "relations": []}
    assert Record.model_validate(given).to_dict() == given


def test_a_list_that_is_filled_in_place_is_not_lost():
    record = Record(text="ab")
    record.entities.append(Entity(start=0, end=1, label="x"))
    assert record.to_dict()["entities"] == [{"start": 0, "end": 1, "label": "x"}]
    assert Record(text="other").entities == []


def test_records_are_frozen_and_entities_hashable():
    with pytest.raises(ValidationError):
        Record(text="a").text = "b"
    one, other = (Entity(start=0, end=1, label="x") for _ in range(2))
    assert len({one, other}) == 1


def test_every_task_finds_its_field():
    record = Record(
        text="t",
        label=["a", "b"],
        pair="p",
        question="q",
        answers=[Answer(text="t", start=0), Answer(text="u")],
        choices=["c"],
        summary="s",
    )
    assert record.to_dict()["answers"][0] == {"text": "t", "start": 0}
    assert Record(text="t", label=3).label == 3
    assert Record(text="t", label=0.5).label == 0.5


def test_errors_carry_their_place():
    error = DataError("a.jsonl", 7, "it is wrong", "Mend it.")
    assert str(error) == "a.jsonl:7: it is wrong. Mend it."
    assert str(DataError("a", None, "gone", "Look.")) == "a: gone. Look."
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert (again.path, again.line, again.reason, again.fix) == (
        error.path,
        7,
        "it is wrong",
        "Mend it.",
    )
    assert str(FormatError("a", "B.")) == "a. B."


def test_a_corpus_knows_where_its_records_stand(tmp_path):
    records = [Record(text="a"), Record(text="b")]
    corpus = Corpus(records, [1, 4], tmp_path / "x", "jsonl")
    assert corpus.place(1) == (str(tmp_path / "x"), 4)
    assert list(corpus) == records
    assert len(corpus) == 2
    several = Corpus(records, [1, 1], tmp_path, "brat", sources=["a.ann", "b.ann"])
    assert several.place(1) == ("b.ann", 1)
