"""A score for each model and task, made comparable before anything is averaged.

A mean compares models only where it is over the same tasks of all of them: a table with gaps is
refused until somebody says what to do about them. Two metrics of one task (F1 and accuracy) are
averaged first, so that a task counts once. Where less is better, as for an error rate, the score
becomes what is missing to a full one, which turns a rate of 100 into the 0 that breaks a mean.

Post: https://kexue.fm/archives/8783
Axes: M models, T tasks
"""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from numbers import Rational, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kexue._check import invalid

Table = Mapping[str, Mapping[str, Any]]
_MISSING = ("refuse", "tasks", "models", "own")
_SHOWN = 5  # gaps in a message
_LARGEST = 1e100  # beyond it sums and reciprocals leave the range of floats


class ScoreMatrix(NamedTuple):
    """The scores of a table in rows and columns.

    Attributes:
        models: the names of the M rows.
        tasks: the names of the T columns.
        values: [M, T] scores, nan where there is none.

    Example:
        >>> score_matrix({"A": {"x": 1, "y": None}}).values
        array([[ 1., nan]])
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    values: NDArray


def prepare_scores(
    table: Table,
    *,
    tasks: Sequence[str] | None = None,
    missing: str = "refuse",
    lower: Mapping[str, float] | None = None,
    floor: float | None = None,
) -> dict[str, dict[str, float]]:
    """Make the scores of a table comparable: the same tasks, and more is better.

    Args:
        table: for each model the score of each task, or a list of its metrics, which are averaged;
            None, nan or no entry where there is no score.
        tasks: the tasks to keep, in this order; all of them by default.
        missing: what to do about missing scores: "refuse"; "tasks", keep the tasks that all models
            have; "models", keep the models that have all tasks; "own", leave the gaps, for
            `leaderboard(..., own_tasks=True)`, which compares means over different tasks.
        lower: tasks where less is better, each with the full score from which its scores are taken
            away, such as {"error": 100}.
        floor: scores below it count as it: geometric and harmonic means need scores above 0, and
            depend on the floor that is chosen.

    Returns:
        For each model one number for each task, without those that are missing.

    Raises:
        ValueError: if scores are missing and "refuse" was said, nothing is left, a score is not a
            finite number, or an option names what is not there.

    Example:
        >>> table = {"A": {"f1": [90, 92], "wer": 8}, "B": {"f1": 80}}
        >>> prepare_scores(table, missing="models", lower={"wer": 100})
        {'A': {'f1': 91.0, 'wer': 92.0}}
    """
    if missing not in _MISSING:
        raise invalid("missing", missing, ", ".join(map(repr, _MISSING)))
    models, columns, values = score_matrix(table)
    _check_known("tasks", tasks or (), columns)
    _check_known("lower", lower or (), columns)
    for task, full in (lower or {}).items():
        at = columns.index(task)
        values[:, at] = _finite(f"lower[{task!r}]", full) - values[:, at]
    if floor is not None:
        values = np.maximum(values, _finite("floor", floor))  # nan stays nan
    kept = list(dict.fromkeys(columns if tasks is None else tasks))
    if not kept:
        raise invalid("tasks", [], "at least one task of the table")
    values = values[:, [columns.index(task) for task in kept]]
    rows = [
        {task: float(x) for task, x in zip(kept, row, strict=True) if not math.isnan(x)}
        for row in values
    ]
    return _without_gaps(dict(zip(models, rows, strict=True)), kept, missing)


def score_matrix(table: Table) -> ScoreMatrix:
    """Read a table into rows and columns; several metrics of a task are averaged.

    Args:
        table: for each model the score or the metrics of each task.

    Returns:
        The scores; columns stand in the order in which tasks are first named.

    Raises:
        ValueError: if there is no model or no task, or a score is not a finite number.

    Example:
        >>> score_matrix({"A": {"CB": [96.9, 98.0], "WiC": 77.7}}).values
        array([[97.45, 77.7 ]])
    """
    if not isinstance(table, Mapping) or not table:
        raise invalid("table", table, "a mapping of at least one model to its scores")
    for model, row in table.items():
        if not isinstance(row, Mapping):
            raise invalid(f"table[{model!r}]", row, "a mapping of tasks to scores")
    tasks = tuple(dict.fromkeys(task for row in table.values() for task in row))
    if not tasks:
        raise invalid("table", table, "a table with at least one task")
    rows = [[_score(model, task, row.get(task)) for task in tasks] for model, row in table.items()]
    return ScoreMatrix(tuple(table), tasks, np.array(rows, dtype=np.float64))


def _score(model: str, task: str, given: object) -> float:
    """Average the metrics of a task; nan where there is no score."""
    name = f"the score of {model!r} in {task!r}"
    whole = isinstance(given, Rational)
    if given is None or (isinstance(given, Real) and not whole and math.isnan(given)):
        return math.nan
    if isinstance(given, Sequence) and not isinstance(given, str):
        if not given:
            raise invalid(name, given, "a number, or a list of at least one", "Write None instead.")
        return math.fsum(_finite(name, metric) for metric in given) / len(given)
    return _finite(name, given)


def _finite(name: str, given: object) -> float:
    number = math.nan
    if isinstance(given, Real) and not isinstance(given, bool):
        with suppress(OverflowError):  # a whole number of hundreds of digits
            number = float(given)
    if not abs(number) <= _LARGEST:
        raise invalid(name, given, "a finite number, at most 1e100 in size")
    return number


def _check_known(name: str, tasks: Collection[str], known: Sequence[str]) -> None:
    for task in tasks:
        if task not in known:
            raise invalid(name, task, ", ".join(map(repr, known)))


def _without_gaps(
    rows: dict[str, dict[str, float]], tasks: list[str], missing: str
) -> dict[str, dict[str, float]]:
    """Do about gaps what `missing` says."""
    gaps = [(model, task) for model, row in rows.items() for task in tasks if task not in row]
    if not gaps:
        return rows
    if missing == "refuse":
        shown = "; ".join(f"{model} has no {task}" for model, task in gaps[:_SHOWN])
        more = f"; and {len(gaps) - _SHOWN} more" if len(gaps) > _SHOWN else ""
        raise ValueError(
            f"scores are missing: {shown}{more}. Choose what to do about it with missing: 'tasks' "
            "keeps the tasks that all models have, 'models' the models that have all tasks, 'own' "
            "compares means over different tasks."
        )
    without = {model for model, _ in gaps}, {task for _, task in gaps}
    if missing == "models":
        rows = {model: row for model, row in rows.items() if model not in without[0]}
    elif missing == "tasks":
        kept = [task for task in tasks if task not in without[1]]
        rows = {model: {task: row[task] for task in kept} for model, row in rows.items()}
    empty = [model for model, row in rows.items() if not row]
    if empty or not rows:
        fix = "Leave out the models, or with `tasks` the tasks, that have gaps."
        given = f"{missing!r}, which leaves no score of {', '.join(empty) or 'any model'}"
        raise ValueError(f"missing is {given}. {fix}")
    return rows
