import json
from pathlib import Path

import pytest

from kexue.data import Corpus, DataError, LabelStats, Record, read, stats

DATA = Path(__file__).parents[3] / "shared" / "data"


def corpus():
    event = {"type": "sale", "arguments": []}

    def spans(*given):
        return [{"start": s, "end": e, "label": label} for s, e, label in given]

    records = [
        {"text": "我在北京市", "entities": spans((2, 5, "place"), (2, 4, "place"))},
        {
            "text": "北京市",
            "entities": spans((0, 2, "b"), (1, 3, "a")),
            "relations": [{"head": 0, "tail": 1, "label": "r"}],
            "events": [event, event],
        },
        {"text": ""},
    ]
    bad = [DataError("a", 9, "x", "y")]
    return Corpus([Record.model_validate(r) for r in records], [1, 4, 7], Path("a"), "jsonl", bad)


def test_counts():
    found = stats(corpus())
    assert (found.records, found.skipped, found.characters, found.empty) == (3, 1, 8, 1)
    assert found.entities == 4
    assert list(found.labels.items()) == [
        ("place", LabelStats(2, 2.5, 3)),
        ("a", LabelStats(1, 2.0, 2)),
        ("b", LabelStats(1, 2.0, 2)),
    ]
    assert found.nested_percent == 25.0
    assert found.crossing == 1
    assert found.longest == ("place", 3, 1)
    assert found.relations == {"r": 1}
    assert found.events == {"sale": 2}
    assert found.text_lengths["0%"] == 0
    assert found.text_lengths["50%"] == 3
    assert found.text_lengths["100%"] == 5
    assert json.loads(json.dumps(found.to_dict()))["labels"]["a"]["count"] == 1


def test_nothing_to_count():
    found = stats(Corpus([], [], Path("a"), "jsonl"))
    assert (found.records, found.text_lengths, found.longest, found.nested_percent) == (
        0,
        {},
        None,
        0,
    )
    found = stats(Corpus([Record(text="a")], [1], Path("a"), "jsonl"))
    assert (found.labels, found.empty) == ({}, 1)


def test_quantiles_are_lengths_that_occur():
    records = [Record(text="x" * n) for n in range(101)]
    found = stats(Corpus(records, [1] * 101, Path("a"), "jsonl")).text_lengths
    assert found == {"0%": 0, "25%": 25, "50%": 50, "75%": 75, "95%": 95, "99%": 99, "100%": 100}


def test_gum_is_nested_as_its_description_says():
    path = DATA / "gum" / "dev.jsonl"
    if not path.exists():
        pytest.skip("../shared/data/gum/dev.jsonl is absent")
    found = stats(read(path))
    assert found.records == 1575
    assert 37 < found.nested_percent < 39
