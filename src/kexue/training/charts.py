"""Curves over the steps of a run, as coordinates that a template draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

WIDTH, HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 28, 12, 30

# More points than this on a curve are averaged: a screen has no room for them.
_MOST_POINTS = 240


@dataclass(frozen=True)
class Curve:
    """One curve.

    Args:
        name: what it shows.
        points: (x, y, label) in the chart's coordinates.

    Example:
        >>> Curve("loss", ((56.0, 12.0, "step 1: 0.5"),)).path
        '56.0,12.0'
    """

    name: str
    points: tuple[tuple[float, float, str], ...]

    @property
    def path(self) -> str:
        """The points of a polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


@dataclass(frozen=True)
class Chart:
    """Curves with their axes.

    Args:
        title: what is shown.
        curves: one for each figure that was logged.
        x_ticks: (x, text).
        y_ticks: (y, text).
        logarithmic: whether the y axis is.

    Example:
        >>> chart = make_chart("Loss", {"loss": [(1, 0.5), (2, 0.25)]})
        >>> [text for _, text in chart.x_ticks]
        ['1', '2']
    """

    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    logarithmic: bool


def series(metrics: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """Collect one figure over the steps.

    Args:
        metrics: the lines of `metrics.jsonl`.
        name: the figure.

    Returns:
        (step, value) wherever it was logged as a finite number.

    Example:
        >>> series([{"step": 1, "loss": 0.5}, {"step": 1, "eval_f1": 0.1}], "loss")
        [(1, 0.5)]
    """
    return [
        (line["step"], line[name])
        for line in metrics
        if isinstance(line.get(name), (int, float)) and math.isfinite(line[name])
    ]


def nice_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Choose round numbers between two numbers.

    Args:
        low: the smaller one.
        high: the greater one.
        most: at most so many.

    Returns:
        Multiples of 1, 2 or 5 times a power of ten; at least one, where `low` equals `high`.

    Example:
        >>> nice_ticks(0.0, 1.0)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    magnitude = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20):
        step = magnitude * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    # 3 * 0.1 is 0.30000000000000004.
    return [float(f"{k * step:.15g}") for k in range(first, last + 1)]


def log_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Choose round numbers for a logarithmic axis.

    Args:
        low: the smaller one, above 0.
        high: the greater one.
        most: at most so many.

    Returns:
        1, 2 and 5 times powers of ten, or powers of ten alone where those are too many.

    Example:
        >>> log_ticks(0.1, 9.0)
        [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{f}e{p}") for p in powers for f in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbouring points where there are more than a chart can show.

    Args:
        points: (step, value) in order.

    Returns:
        At most 240 of them.

    Example:
        >>> thin([(1, 0.5), (2, 0.25)])
        [(1, 0.5), (2, 0.25)]
    """
    if len(points) <= _MOST_POINTS:
        return list(points)
    edges = [len(points) * k // _MOST_POINTS for k in range(_MOST_POINTS + 1)]
    return [
        (points[last - 1][0], math.fsum(y for _, y in points[first:last]) / (last - first))
        for first, last in pairwise(edges)
    ]


def make_chart(
    title: str,
    curves: dict[str, list[tuple[float, float]]],
    *,
    bounds: tuple[float, float] | None = None,
) -> Chart:
    """Place curves in a chart of 480 by 260.

    The y axis is logarithmic where positive values span more than a factor of 30.

    Args:
        title: what is shown.
        curves: (step, value) by name, at least one point in all.
        bounds: least and greatest value of the y axis; those of the values by default.

    Returns:
        The chart.

    Example:
        >>> make_chart("Loss", {"loss": [(1, 100.0), (2, 1.0)]}).logarithmic
        True
    """
    kept = {name: thin(points) for name, points in curves.items() if points}
    steps = [step for points in kept.values() for step, _ in points]
    values = [value for points in kept.values() for _, value in points]
    low, high = (min(values), max(values)) if bounds is None else bounds
    logarithmic = bounds is None and low > 0 and high > 30 * low
    if not logarithmic and bounds is None:
        low, high = _padded(low, high)
    scale = math.log if logarithmic else float

    def across(step: float) -> float:
        share = (step - min(steps)) / ((max(steps) - min(steps)) or 1)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 2)

    def up(value: float) -> float:
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 2)

    x_ticks = [tick for tick in nice_ticks(min(steps), max(steps)) if tick == int(tick)]
    y_ticks = log_ticks(low, high) if logarithmic else nice_ticks(low, high)
    return Chart(
        title=title,
        curves=tuple(
            Curve(
                name,
                tuple((across(x), up(y), f"{name} {y:.4g} at step {x:.0f}") for x, y in points),
            )
            for name, points in kept.items()
        ),
        x_ticks=tuple((across(tick), f"{tick:.0f}") for tick in x_ticks),
        y_ticks=tuple((up(tick), _short(tick)) for tick in y_ticks),
        logarithmic=logarithmic,
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    """Leave room below and above; from 0 on where that is near."""
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < (high - low) else low - room), high + room


def _short(tick: float) -> str:
    """Write the number of a tick in few characters."""
    if tick == 0 or 1e-3 <= abs(tick) < 1e4:
        return f"{tick:.4g}"
    mantissa, exponent = f"{tick:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
