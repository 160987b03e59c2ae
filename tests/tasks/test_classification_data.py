from pathlib import Path

import pytest

from kexue.data.records import Corpus, DataError, Record
from kexue.tasks.classification_data import (
    LabelledText,
    check_labels,
    labelled_texts,
    split_labelled,
)


def texts(*labels):
    return [LabelledText(f"text {k}", label) for k, label in enumerate(labels)]


def test_texts_and_pairs_out_of_records():
    records = [Record(text="a", label="x"), Record(text="a", pair="b", label=2)]
    found = labelled_texts(Corpus(records, [1, 2], Path("a.jsonl"), "jsonl"))
    assert found == [("a", "x"), (("a", "b"), "2")]


@pytest.mark.parametrize("label", [None, 0.5, ["x", "y"]])
def test_a_label_is_one_name(label):
    corpus = Corpus([Record(text="a", label=label)], [7], Path("a.jsonl"), "jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl:7: the label is"):
        labelled_texts(corpus)


def test_a_part_is_held_out_by_the_text_alone():
    given = texts(*"ab" * 50)
    train, dev = split_labelled(given, 0.2)
    assert sorted(train + dev) == sorted(given)
    assert len(dev) == 20
    again = split_labelled([*given[::-1], *given], 0.2)
    assert {text for text, _ in again[1]} == {text for text, _ in dev}


def test_pairs_can_be_held_out():
    given = [LabelledText((f"{k}", f"{k + 1}"), str(k % 2)) for k in range(40)]
    train, dev = split_labelled(given, 0.25)
    assert (len(train), len(dev)) == (30, 10)
    assert all(isinstance(text, tuple) for text, _ in dev)


def test_a_label_that_is_there_once_stays_in_the_training_set():
    for place in range(30):
        given = texts(*"ab" * 15)
        given[place] = given[place]._replace(label="rare")
        train, _ = split_labelled(given, 0.5)
        assert "rare" in {label for _, label in train}


def test_too_few_texts_cannot_be_split():
    with pytest.raises(ValueError, match="Give a development file"):
        split_labelled(texts("a"), 0.1)
    with pytest.raises(ValueError, match="more texts of each label"):
        split_labelled(texts("a", "b"), 0.5)
    with pytest.raises(ValueError, match="dev_fraction is 2"):
        split_labelled(texts("a", "b"), 2)


def test_labels_are_sorted():
    assert check_labels(texts("b", "a", "b"), texts("a")) == ["a", "b"]


WRONG = {
    "one label": (texts("a", "a"), [], "2 texts of 'a'.; allowed: texts of two labels"),
    "nothing": ([], [], "0 texts of no label"),
    "each its own": (texts(*map(str, range(12))), [], "12 labels of 12 texts.*--column"),
    "unknown": (texts("a", "b"), texts("c"), "dev is \"texts of 'c'\""),
    "mixed": (texts("a", "b"), [LabelledText(("x", "y"), "a")], "texts and pairs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_learnt_is_refused(name):
    train, dev, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        check_labels(train, dev)
