import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.data.records import FormatError
from kexue.data.score_cells import has_deviation, read_cell


@pytest.mark.parametrize(
    ("cell", "score"),
    [
        ("92.4", 92.4),
        (" 92.4 % ", 92.4),
        ("-12.5", -12.5),
        ("\u221212.5", -12.5),  # the minus of typesetters
        ("+.5", 0.5),
        ("5.", 5.0),
        ("1e-3", 0.001),
        ("100", 100.0),
        ("0", 0.0),
        ("96.9/98.0", (96.9, 98.0)),
        ("96.9 / 98.0 / 97", (96.9, 98.0, 97.0)),
        ("92.4 ± 0.3", 92.4),
        ("92.4±.3%", 92.4),
        ("96.9 ± 0.1/98.0 +/- 0.2", (96.9, 98.0)),
        (92, 92.0),
        (-0.5, -0.5),
        ([96.9, 98], (96.9, 98.0)),
        ([1], (1.0,)),
    ],
)
def test_scores(cell, score):
    assert read_cell(cell) == score


@pytest.mark.parametrize(
    "cell", ["", "  ", "-", "--", "–", "—", "?", "-/-", "n/a", "N/A", "NaN", "null", "None", None]
)
def test_no_score(cell):
    assert read_cell(cell) is None


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("BERT", "'BERT' is no score. Write a number"),
        ("92.4†", "is no score"),
        ("92.4/", "is no score"),
        ("92.4/-", "is no score"),
        ("92 4", "is no score"),
        ("٩٢", "is no score"),
        ("inf", "is no score"),
        ("92,4", "has a comma for a point. Write 92.4, or 924 if thousands"),
        ("1,234/5", "has a comma"),
        ("1e999", "too large"),
        (10**400, "too large"),
        (math.nan, "too large"),
        (True, "True is no score"),
        ({"f1": 1}, "is no score"),
        ([], "a list of metrics is empty"),
        ([1, None], "None is no score"),
        ([1, "2"], "'2' is no score"),
    ],
)
def test_what_is_no_score_is_refused(cell, message):
    with pytest.raises(FormatError, match=message):
        read_cell(cell)


@settings(deadline=None)
@given(st.floats(-1e99, 1e99))
def test_every_number_is_read_as_it_is(number):
    assert read_cell(repr(number)) == read_cell(number) == number


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        score = read_cell(text)
    except FormatError:
        return
    metrics = score if isinstance(score, tuple) else (score,)
    assert score is None or all(math.isfinite(metric) for metric in metrics)


def test_deviations_are_found():
    assert has_deviation("92.4 ± 0.3")
    assert has_deviation("92.4 +- 0.3")
    assert not any(map(has_deviation, ("92.4", "±", "-0.3", None, 92.4)))
