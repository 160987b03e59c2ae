"""Rank models by an arithmetic, geometric or harmonic mean of their scores, or by mean rank.

    arithmetic  sum(x) / T              a point counts the same in every task
    geometric   exp(sum(log x) / T)     a percent counts the same; scaling a task changes no order
    harmonic    T / sum(1 / x)          what is low counts most
    ranks       mean of the ranks in each task, 1 the best, equal scores sharing their average

harmonic <= geometric <= arithmetic, and they are equal where all scores are. Over one set of tasks
the three orders nearly agree. A paper found them far apart, and humans still ahead of all models,
because its geometric and harmonic means were over more tasks than its arithmetic ones, among them
hard ones that no human had been scored on: that order says nothing about means.

Post: https://kexue.fm/archives/8783
Paper: https://arxiv.org/abs/2112.01342, whose tables the article takes apart
Axes: M models, T tasks
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kexue.analysis.leaderboard_means import check_scores, first_ranks, row_means
from kexue.analysis.leaderboard_scores import Table, score_matrix


class Standing(NamedTuple):
    """Where a model stands.

    Attributes:
        model: its name.
        value: the mean.
        rank: 1 for the best; equal models share the better rank, and the next ones are left out.
        tasks: over how many tasks the mean is.

    Example:
        >>> Standing("A", 91.2, 1, 8).value
        91.2
    """

    model: str
    value: float
    rank: int
    tasks: int


@dataclass(frozen=True)
class Leaderboard:
    """The models in their order.

    Args:
        mean: the kind of mean.
        tasks: that were averaged.
        rows: the models, the best first.

    Example:
        >>> board = Leaderboard("arithmetic", ("x",), (Standing("A", 91.2, 1, 1),))
        >>> print(board)
        1  A  91.20
    """

    mean: str
    tasks: tuple[str, ...]
    rows: tuple[Standing, ...]

    def ranks(self) -> dict[str, int]:
        """Look up ranks.

        Returns:
            The rank of each model, the best first.
        """
        return {row.model: row.rank for row in self.rows}

    def format(self, value: float) -> str:
        """Write a mean with as many digits as tell the models apart.

        Args:
            value: a mean of this kind.

        Returns:
            The number, with two decimals, or four where all scores are shares of 1.
        """
        shares = self.mean != "ranks" and max(abs(row.value) for row in self.rows) <= 1
        return f"{value:.4f}" if shares else f"{value:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Give the content in plain types.

        Returns:
            Mean, tasks and rows.
        """
        rows = [row._asdict() for row in self.rows]
        return {"mean": self.mean, "tasks": list(self.tasks), "rows": rows}

    def __str__(self) -> str:
        width = max(len(row.model) for row in self.rows)
        return "\n".join(
            f"{row.rank}  {row.model:{width}}  {self.format(row.value)}" for row in self.rows
        )


def leaderboard(table: Table, *, mean: str, own_tasks: bool = False) -> Leaderboard:
    """Rank the models of a table.

    Args:
        table: for each model the score of each task, more being better, or a list of the task's
            metrics, which are averaged first. `prepare_scores` makes one out of any other.
        mean: "arithmetic", "geometric", "harmonic" or "ranks".
        own_tasks: average each model over the tasks it has. Means over different tasks say nothing
            about models; by default a table with gaps is refused.

    Returns:
        The models, the best first; equal ones in the order of the table.

    Raises:
        ValueError: if the kind of mean is unknown, a score is missing or no finite number, or a
            geometric or harmonic mean meets a score of 0 or less, for which there is none.

    Example:
        >>> table = {"even": {"x": 60, "y": 60}, "uneven": {"x": 90, "y": 35}}
        >>> print(leaderboard(table, mean="arithmetic"))
        1  uneven  62.50
        2  even    60.00
        >>> print(leaderboard(table, mean="harmonic"))
        1  even    60.00
        2  uneven  50.40
    """
    scores = score_matrix(table)
    check_scores(scores, mean=mean, own_tasks=own_tasks)
    values = row_means(scores.values, mean=mean)
    best = -values if mean == "ranks" else values
    ranks, counts = first_ranks(best), (~np.isnan(scores.values)).sum(1)
    rows = [
        Standing(scores.models[at], float(values[at]), int(ranks[at]), int(counts[at]))
        for at in np.argsort(ranks, kind="stable")
    ]
    return Leaderboard(mean, scores.tasks, tuple(rows))
