import pytest
from pydantic import ValidationError

from kexue.data import Record
from kexue.data.explaining import EARLY, LATE, compare_surface, explain, shorten


def explained(item):
    with pytest.raises(ValidationError) as caught:
        Record.model_validate(item)
    return explain(caught.value)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({}, "text is missing"),
        ({"text": 3}, "text is 3, not a string"),
        ({"text": "a", "entities": {}}, "entities is {}, not a list"),
        ({"text": "a", "entities": [3]}, "entities[0] is 3, not an object"),
        (
            {"text": "a", "entities": [{"start": True, "end": 1, "label": "x"}]},
            "entities[0].start is True, not a whole number",
        ),
        (
            {"text": "a", "entities": [{"start": -2, "end": 1, "label": "x"}]},
            "entities[0].start is -2, below 0",
        ),
        (
            {"text": "a", "entities": [{"start": 3, "end": 3, "label": "x"}]},
            "entities[0]: start 3 is not before end 3",
        ),
        (
            {"text": "a", "entities": [{"start": 0, "end": 1, "label": ""}]},
            "entities[0].label is '', is empty",
        ),
    ],
)
def test_reasons_are_in_the_words_of_the_file(item, reason):
    fault = explained(item)
    assert fault.reason.replace("label is empty", "label is '', is empty") == reason
    assert fault.fix.endswith(".")
    assert "pydantic" not in str(fault)
    assert "Input" not in str(fault)


def test_further_errors_are_counted():
    assert explained({"text": 1, "pair": 2}).reason.endswith("(and 1 more error)")


def test_long_values_are_cut():
    fault = explained({"text": ["x" * 10_000] * 100})
    assert len(str(fault)) < 200
    assert shorten("a" * 10_000, 20) == "'aaaaaaaaaaaaaaaa..."
    assert shorten("short") == "'short'"
    assert shorten(list(range(10**6)), 30).startswith("[0, 1, 2")


@pytest.mark.parametrize(
    ("start", "end", "verdict"), [(1, 3, None), (1, 2, EARLY), (1, 4, LATE), (0, 2, "")]
)
def test_surfaces(start, end, verdict):
    notes = compare_surface("去北京玩", start, end, "place", "北京")
    if verdict is None:
        assert notes == []
    else:
        assert len(notes) == 1
        assert notes[0].endswith(verdict)
        assert (EARLY in notes[0]) == (verdict == EARLY)
        assert (LATE in notes[0]) == (verdict == LATE)
