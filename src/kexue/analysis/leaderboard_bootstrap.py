"""How much of a leaderboard depends on which tasks are in it: a bootstrap over tasks.

The T tasks are drawn T times with replacement, for all models alike, and the models are ranked
again. Where a rank changes from one draw to another, it says more about the choice of tasks than
about the model. A mean of any kind is the mean of a function of the scores (x, log x, 1 / x, the
rank in the task), so that all draws are one product of matrices.

Post: https://kexue.fm/archives/8783
Paper: https://doi.org/10.1214/aos/1176344552
Axes: B draws, M models, T tasks
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kexue._check import invalid
from kexue.analysis.leaderboard import leaderboard
from kexue.analysis.leaderboard_means import check_scores, first_ranks, task_ranks
from kexue.analysis.leaderboard_scores import Table, score_matrix


class Spread(NamedTuple):
    """Where a model stands over the draws.

    Attributes:
        model: its name.
        value: its mean over the tasks of the table.
        low: lower end of the interval of the means.
        high: upper end of it.
        rank: its rank over the tasks of the table.
        best: upper end of the interval of the ranks.
        worst: lower end of it.
        first: share of the draws in which it is the first, or shares that place.
        above_next: share of the draws in which it stands above the next model; None for the last.

    Example:
        >>> Spread("A", 91.2, 88.0, 94.0, 1, 1, 3, 0.6, 0.7).worst
        3
    """

    model: str
    value: float
    low: float
    high: float
    rank: int
    best: int
    worst: int
    first: float
    above_next: float | None


@dataclass(frozen=True)
class Bootstrap:
    """What a bootstrap over tasks gives.

    Args:
        mean: the kind of mean.
        samples: how many draws there were.
        level: of the intervals.
        rows: the models in the order of the leaderboard.

    Example:
        >>> Bootstrap("arithmetic", 1000, 0.95, ()).level
        0.95
    """

    mean: str
    samples: int
    level: float
    rows: tuple[Spread, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the content in plain types.

        Returns:
            Mean, samples, level and rows.
        """
        rows = [row._asdict() for row in self.rows]
        return {"mean": self.mean, "samples": self.samples, "level": self.level, "rows": rows}


def bootstrap_ranks(
    table: Table,
    *,
    mean: str,
    samples: int = 10_000,
    level: float = 0.95,
    generator: np.random.Generator | None = None,
) -> Bootstrap:
    """Draw the tasks of a table again and again, and rank its models each time.

    Args:
        table: as for `leaderboard`, without gaps, and with at least two tasks.
        mean: "arithmetic", "geometric", "harmonic" or "ranks".
        samples: B, how many draws, at least 1.
        level: how much of the draws the intervals hold, between 0 and 1.
        generator: of random numbers; `np.random.default_rng(0)` by default.

    Returns:
        Intervals of means and ranks for each model.

    Raises:
        ValueError: if there is one task only, a score is missing or has no such mean, or an option
            is out of its range.

    Example:
        >>> table = {"A": {"x": 90, "y": 50, "z": 80}, "B": {"x": 80, "y": 60, "z": 70}}
        >>> for row in bootstrap_ranks(table, mean="arithmetic", samples=100).rows:
        ...     print(row.model, row.rank, row.best, row.worst)
        A 1 1 2
        B 2 1 2
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise invalid("samples", samples, "a whole number, 1 or more")
    if not 0 < level < 1:
        raise invalid("level", level, "a number between 0 and 1, such as 0.95")
    scores = score_matrix(table)
    check_scores(scores, mean=mean)
    tasks = len(scores.tasks)
    if tasks < 2:
        raise invalid("table", f"{tasks} task", "at least two tasks, of which some can be drawn")
    random = np.random.default_rng(0) if generator is None else generator
    weights = random.multinomial(tasks, np.full(tasks, 1 / tasks), size=samples) / tasks  # [B, T]
    values = _drawn_means(scores.values, weights, mean)
    ranks = np.stack([first_ranks(row) for row in (-values if mean == "ranks" else values)])
    ends = [(1 - level) / 2, (1 + level) / 2]
    means = np.quantile(values, ends, axis=0)
    ranges = np.quantile(ranks, ends, axis=0, method="inverted_cdf")
    rows = leaderboard(table, mean=mean).rows
    column = {model: place for place, model in enumerate(scores.models)}
    at = [column[row.model] for row in rows]
    above = [(ranks[:, a] < ranks[:, b]).mean() for a, b in pairwise(at)]
    spreads = [
        Spread(
            *(row.model, row.value, float(means[0, m]), float(means[1, m])),
            *(row.rank, int(ranges[0, m]), int(ranges[1, m]), float((ranks[:, m] == 1).mean())),
            None if share is None else float(share),
        )
        for row, m, share in zip(rows, at, [*above, None], strict=True)
    ]
    return Bootstrap(mean, samples, level, tuple(spreads))


def _drawn_means(values: NDArray, weights: NDArray, mean: str) -> NDArray:
    """Compute the means of all models in all draws, [B, M]."""
    if mean == "geometric":
        return np.exp(weights @ np.log(values).T)
    if mean == "harmonic":
        return 1 / (weights @ (1 / values).T)
    return weights @ (task_ranks(values) if mean == "ranks" else values).T
