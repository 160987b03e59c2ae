"""Ticks, thinning and where points land in a chart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.training.charts import HEIGHT, WIDTH, log_ticks, make_chart, nice_ticks, series, thin

values = st.floats(-1e6, 1e6, allow_nan=False)


@given(values, st.floats(1e-6, 1e6), st.integers(2, 10))
def test_ticks_are_round_lie_inside_and_are_not_too_many(low, width, most):
    high = low + width
    ticks = nice_ticks(low, high, most=most)
    assert len(ticks) <= most
    assert ticks == sorted(set(ticks))
    room = 1e-6 * max(abs(low), abs(high), width)
    assert all(low - room <= tick <= high + room for tick in ticks)
    if len(ticks) > 1 and width > 1e-3:
        step = ticks[1] - ticks[0]
        mantissa = step / 10 ** math.floor(math.log10(step * 1.000001))
        assert min(abs(mantissa - nice) for nice in (1, 2, 5, 10)) < 1e-3


@given(st.floats(0, 10), st.floats(0.1, 1e4))
def test_there_are_enough_ticks_to_read_a_value(low, width):
    assert len(nice_ticks(low, low + width)) >= 2


def test_ticks_of_a_single_value():
    assert nice_ticks(3.0, 3.0) == [3.0]


@given(st.floats(1e-5, 1e3), st.floats(31, 1e6))
def test_logarithmic_ticks_lie_inside(low, factor):
    ticks = log_ticks(low, low * factor)
    assert 1 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)


def test_logarithmic_ticks_get_sparser():
    assert log_ticks(1, 50) == [1, 2, 5, 10, 20, 50]
    assert log_ticks(1, 1e4) == [1, 10, 100, 1000, 10000]
    assert log_ticks(1, 1e11) == [1, 100, 1e4, 1e6, 1e8, 1e10]


def test_a_series_takes_what_was_logged_as_a_number():
    lines = [
        {"step": 1, "loss": 0.5},
        {"step": 1, "eval_f1": 0.1},
        {"step": 2, "loss": None},
        {"step": 3, "loss": float("nan")},
        {"step": 4, "loss": 1},
    ]
    assert series(lines, "loss") == [(1, 0.5), (4, 1)]


@given(st.lists(values, min_size=1, max_size=900))
def test_thinning_keeps_the_mean_the_order_and_the_end(curve):
    points = list(enumerate(curve))
    thinned = thin(points)
    assert len(thinned) == min(len(points), 240)
    assert thinned[-1][0] == points[-1][0]
    assert [x for x, _ in thinned] == sorted({x for x, _ in thinned})
    assert min(curve) - 1e-6 <= min(y for _, y in thinned)
    assert max(y for _, y in thinned) <= max(curve) + 1e-6


def test_thinning_averages():
    assert thin([(k, float(k)) for k in range(480)])[:2] == [(1, 0.5), (3, 2.5)]


@given(st.lists(st.tuples(st.integers(0, 10**6), values), min_size=1, max_size=30))
def test_points_lie_in_the_chart_and_keep_their_order(points):
    points = sorted(dict(points).items())
    chart = make_chart("x", {"a": points})
    drawn = chart.curves[0].points
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y, _ in drawn)
    assert [x for x, *_ in drawn] == sorted(x for x, *_ in drawn)
    for (_, one), (_, other), (_, y, _), (_, z, _) in zip(
        points, points[1:], drawn, drawn[1:], strict=False
    ):
        assert (one - other) * (z - y) >= 0
    for x, _ in chart.x_ticks:
        assert 0 <= x <= WIDTH
    for y, _ in chart.y_ticks:
        assert 0 <= y <= HEIGHT


def test_ticks_and_points_share_a_scale():
    for curve, logarithmic in (([(0, 1.0), (10, 100.0)], True), ([(0, 1.0), (10, 5.0)], False)):
        chart = make_chart("x", {"a": curve})
        assert chart.logarithmic is logarithmic
        places = {text: y for y, text in chart.y_ticks}
        assert places["1"] == chart.curves[0].points[0][1]
        assert {text: x for x, text in chart.x_ticks}["10"] == chart.curves[0].points[1][0]


def test_fixed_bounds_hold_and_are_never_logarithmic():
    chart = make_chart("x", {"a": [(0, 0.01), (1, 0.9)]}, bounds=(0.0, 1.0))
    assert not chart.logarithmic
    assert [text for _, text in chart.y_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_curves_without_points_are_left_out():
    chart = make_chart("x", {"a": [], "b": [(3, 1.0)]})
    assert [curve.name for curve in chart.curves] == ["b"]
    assert len(chart.curves[0].points) == 1


@pytest.mark.parametrize(
    ("value", "last"),
    [(6e-4, "6e-4"), (3e-5, "3e-5"), (0.25, "0.25"), (2e6, "2e6"), (3e12, "3e12"), (0.3, "0.3")],
)
def test_ticks_are_short(value, last):
    chart = make_chart("x", {"a": [(0, 0.0), (1, value)]}, bounds=(0.0, value))
    texts = [text for _, text in chart.y_ticks]
    assert (texts[0], texts[-1]) == ("0", last)
    assert max(map(len, texts)) <= 6


def test_steps_are_whole_numbers():
    texts = [text for _, text in make_chart("x", {"a": [(1, 1.0), (3, 1.0)]}).x_ticks]
    assert texts == ["1", "2", "3"]
    far = make_chart("x", {"a": [(1, 1.0), (3_000_000, 1.0)]})
    assert [text for _, text in far.x_ticks][-1] == "3000000"
