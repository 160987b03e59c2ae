"""What changes from one leaderboard to another: ranks, pairs in another order, Kendall's tau.

    tau-b = (C - D) / sqrt((C + D + X)(C + D + Y))

C pairs of models stand in the same order in both, D in opposite ones; X are tied in the second
only and Y in the first only. 1 is the same order, -1 the reverse.

Post: https://kexue.fm/archives/8783
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kexue._check import invalid
from kexue.analysis.leaderboard import Leaderboard


class Move(NamedTuple):
    """A model that has another rank.

    Attributes:
        model: its name.
        before: rank in the first leaderboard.
        after: rank in the second.

    Example:
        >>> Move("A", 6, 8).after
        8
    """

    model: str
    before: int
    after: int


@dataclass(frozen=True)
class RankChanges:
    """How two leaderboards differ.

    Args:
        before: the mean of the first.
        after: the mean of the second.
        tau: Kendall's tau-b of the two orders; nan where one ties all models.
        moves: models that have another rank, in the order of the first leaderboard.
        swaps: pairs (a, b) where a stands above b in the first and below it in the second.

    Example:
        >>> RankChanges("arithmetic", "harmonic", 1.0, (), ()).swaps
        ()
    """

    before: str
    after: str
    tau: float
    moves: tuple[Move, ...]
    swaps: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the content in plain types.

        Returns:
            Both means, tau (None for nan), moves and swaps.
        """
        return {
            "before": self.before,
            "after": self.after,
            "tau": None if math.isnan(self.tau) else self.tau,
            "moves": [move._asdict() for move in self.moves],
            "swaps": [list(pair) for pair in self.swaps],
        }


def rank_changes(before: Leaderboard, after: Leaderboard) -> RankChanges:
    """Compare the orders of two leaderboards.

    Args:
        before: the first.
        after: the second, of the same models.

    Returns:
        Kendall's tau, the models that move and the pairs that swap.

    Raises:
        ValueError: if the leaderboards hold different models.

    Example:
        >>> from kexue.analysis.leaderboard import leaderboard
        >>> table = {"even": {"x": 60, "y": 60}, "uneven": {"x": 90, "y": 35}}
        >>> changes = rank_changes(*(leaderboard(table, mean=m) for m in ("arithmetic", "ranks")))
        >>> changes.tau, changes.moves
        (nan, (Move(model='even', before=2, after=1),))
    """
    first, second = before.ranks(), after.ranks()
    if first.keys() != second.keys():
        other = ", ".join(sorted(first.keys() ^ second.keys()))
        raise invalid("after", f"without or with more models: {other}", "the models of before")
    models = list(first)
    a = np.array([first[model] for model in models])
    b = np.array([second[model] for model in models])
    same = opposite = tied_after = tied_before = 0
    swaps = []
    for at, model in enumerate(models):
        down, later = np.sign(a[at + 1 :] - a[at]), np.sign(b[at + 1 :] - b[at])
        same += int((down * later > 0).sum())
        opposite += int((down * later < 0).sum())
        tied_after += int(((down != 0) & (later == 0)).sum())
        tied_before += int(((down == 0) & (later != 0)).sum())
        swaps += [(model, models[at + 1 + other]) for other in np.flatnonzero(down * later < 0)]
    pairs = math.sqrt((same + opposite + tied_after) * (same + opposite + tied_before))
    moves = [Move(m, first[m], second[m]) for m in models if first[m] != second[m]]
    tau = (same - opposite) / pairs if pairs else math.nan
    return RankChanges(before.mean, after.mean, tau, tuple(moves), tuple(swaps))
