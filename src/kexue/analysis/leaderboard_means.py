"""Means over the tasks of a table, the ranks of models, and the scores for which there are none.

    arithmetic  sum(x) / T
    geometric   exp(sum(log x) / T)     no mean where a score is 0 or less
    harmonic    T / sum(1 / x)          no mean where a score is 0 or less
    ranks       mean of the ranks in each task, 1 the best, equal scores sharing their average

Post: https://kexue.fm/archives/8783
Axes: M models, T tasks
"""

import math

import numpy as np
from numpy.typing import NDArray

from kexue._check import invalid
from kexue.analysis.leaderboard_scores import ScoreMatrix

MEANS = ("arithmetic", "geometric", "harmonic", "ranks")
_TINY = 1e-100  # a reciprocal beyond this is no longer a number
_SAME = 1e-12  # relative to the largest: means that differ by rounding alone are equal


def check_scores(scores: ScoreMatrix, *, mean: str, own_tasks: bool = False) -> None:
    """Refuse scores that have no mean of a kind.

    Args:
        scores: of M models in T tasks.
        mean: the kind of mean.
        own_tasks: whether scores may be missing; each model needs one all the same.

    Raises:
        ValueError: if there is no such mean of these scores.

    Example:
        >>> scores = ScoreMatrix(("A",), ("CoLA",), np.zeros((1, 1)))
        >>> check_scores(scores, mean="geometric")
        Traceback (most recent call last):
        ValueError: the score of 'A' in 'CoLA' is 0.0; allowed: scores above 0 ...
    """
    if mean not in MEANS:
        raise invalid("mean", mean, ", ".join(map(repr, MEANS)))
    gaps = np.isnan(scores.values)
    if own_tasks:
        gaps &= gaps.all(1, keepdims=True)
    if gaps.any():
        model, task = _place(scores, gaps)
        fix = "See `missing` of prepare_scores."
        raise invalid(f"the score of {model!r} in {task!r}", None, "a score for each task", fix)
    low = scores.values < _TINY  # False for nan
    if mean in ("geometric", "harmonic") and low.any():
        model, task = _place(scores, low)
        raise invalid(
            f"the score of {model!r} in {task!r}",
            float(scores.values[low][0]),
            f"scores above 0 in a {mean} mean",
            "Take the arithmetic mean or ranks, leave the task out, or set a floor.",
        )


def first_ranks(values: NDArray) -> NDArray:
    """Rank numbers from 1, the largest; equal ones share the better rank.

    Args:
        values: [M] numbers. What differs by rounding alone is equal.

    Returns:
        [M] whole ranks.

    Example:
        >>> first_ranks(np.array([90.0, 95.0, 90.0, 80.0]))
        array([2, 1, 2, 4])
    """
    order = np.argsort(-values, kind="stable")
    fallen = -np.diff(values[order]) > _SAME * np.abs(values).max(initial=0)
    starts = np.concatenate(([True], fallen))
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.maximum.accumulate(np.where(starts, np.arange(1, len(values) + 1), 0))
    return ranks


def task_ranks(values: NDArray) -> NDArray:
    """Rank models in each task; equal scores share the average of their ranks.

    Args:
        values: [M, T] scores, nan where there is none.

    Returns:
        [M, T] ranks, 1 the best of those that have a score, nan where there is none.

    Example:
        >>> task_ranks(np.array([[90.0, 3.0], [90.0, 1.0], [80.0, 2.0]]))
        array([[1.5, 1. ],
               [1.5, 3. ],
               [3. , 2. ]])
    """
    ranks = np.full(values.shape, np.nan)
    for task, column in enumerate(values.T):
        there = ~np.isnan(column)
        best = first_ranks(column[there])
        ranks[there, task] = best + (np.bincount(best)[best] - 1) / 2
    return ranks


def row_means(values: NDArray, *, mean: str) -> NDArray:
    """Average each row over what is not nan; sums are exact, so the order of tasks is nothing.

    Args:
        values: [M, T] scores that `check_scores` lets pass.
        mean: the kind of mean.

    Returns:
        [M] means.

    Example:
        >>> row_means(np.array([[60.0, 60.0], [90.0, 35.0]]), mean="harmonic").round(1)
        array([60. , 50.4])
    """
    rows = task_ranks(values) if mean == "ranks" else values
    return np.array([_KINDS[mean]([x for x in row if not math.isnan(x)]) for row in rows.tolist()])


def _arithmetic(row: list[float]) -> float:
    return math.fsum(row) / len(row)


def _geometric(row: list[float]) -> float:
    # relative to one of them, so that the mean of equal scores is that score
    return row[0] * math.exp(math.fsum(math.log(x) - math.log(row[0]) for x in row) / len(row))


def _harmonic(row: list[float]) -> float:
    return len(row) / math.fsum(1 / x for x in row)


_KINDS = {
    "arithmetic": _arithmetic,
    "geometric": _geometric,
    "harmonic": _harmonic,
    "ranks": _arithmetic,
}


def _place(scores: ScoreMatrix, where: NDArray) -> tuple[str, str]:
    model, task = np.argwhere(where)[0]
    return scores.models[model], scores.tasks[task]
