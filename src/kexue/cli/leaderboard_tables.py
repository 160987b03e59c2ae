"""How `kexue leaderboard` shows what it found: tables on a terminal, plain lines in a pipe."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kexue.cli.data_output import echo, table

if TYPE_CHECKING:
    from kexue.analysis.leaderboard import Leaderboard
    from kexue.analysis.leaderboard_bootstrap import Bootstrap
    from kexue.analysis.leaderboard_changes import RankChanges


def show_boards(boards: "Sequence[Leaderboard]", title: str) -> None:
    """Print a row for each model, with its value and its rank by each mean.

    Args:
        boards: of the same models; the first decides the order of the rows.
        title: the name of the table.

    Example:
        >>> from kexue.analysis.leaderboard import leaderboard
        >>> show_boards([leaderboard({"T5": {"RTE": 92.5}}, mean="harmonic")], "a.csv")
        model   harmonic   rank
        T5      92.50   1
    """
    heads = ["model"]
    for board in boards:
        heads += [board.mean, "rank"]
    by_model = [{row.model: row for row in board.rows} for board in boards]
    rows = []
    for first in boards[0].rows:
        cells = [first.model]
        for board, found in zip(boards, by_model, strict=True):
            row = found[first.model]
            cells += [board.format(row.value), str(row.rank)]
        rows.append(cells)
    models, tasks = len(boards[0].rows), len(boards[0].tasks)
    table(f"{title}: {_count(models, 'model')}, {_count(tasks, 'task')}", heads, rows)


def show_spreads(board: "Leaderboard", draw: "Bootstrap") -> None:
    """Print the intervals of a bootstrap.

    Args:
        board: the leaderboard.
        draw: its bootstrap.

    Example:
        >>> from kexue.analysis.leaderboard import leaderboard
        >>> from kexue.analysis.leaderboard_bootstrap import bootstrap_ranks
        >>> table = {"A": {"x": 90, "y": 50}, "B": {"x": 80, "y": 40}}
        >>> board = leaderboard(table, mean="arithmetic")
        >>> show_spreads(board, bootstrap_ranks(table, mean="arithmetic", samples=100))
        model arithmetic low   high  rank best worst first above next
        A     70.00      50.00 90.00 1    1    1     100 % 100 %
        B     60.00      40.00 80.00 2    2    2     0 %   -
    """
    heads = ["model", board.mean, "low", "high", "rank", "best", "worst", "first", "above next"]
    rows = [
        [
            *(row.model, *map(board.format, (row.value, row.low, row.high))),
            *(str(row.rank), str(row.best), str(row.worst), f"{100 * row.first:.0f} %"),
            "-" if row.above_next is None else f"{100 * row.above_next:.0f} %",
        ]
        for row in draw.rows
    ]
    title = f"{draw.samples} draws of the tasks, {100 * draw.level:g} % intervals of the means"
    table(f"{title} and the ranks", heads, rows)


def show_changes(
    boards: "Sequence[Leaderboard]",
    changes: "Sequence[RankChanges]",
    *,
    shown: int | None = None,
) -> None:
    """Print how the orders agree, and each pair of models that does not keep its order.

    Args:
        boards: of the same models.
        changes: between each two of them.
        shown: how many pairs are printed; all by default.

    Example:
        >>> from kexue.analysis.leaderboard import leaderboard
        >>> from kexue.analysis.leaderboard_changes import rank_changes
        >>> table = {"A": {"x": 90, "y": 35}, "B": {"x": 60, "y": 60}}
        >>> boards = [leaderboard(table, mean=mean) for mean in ("arithmetic", "harmonic")]
        >>> show_changes(boards, [rank_changes(*boards)])
        mean        mean      Kendall's tau swapped pairs
        arithmetic  harmonic  -1.000        1
        model       above     by            but below by
        A           B         arithmetic    harmonic
    """
    if not changes:
        return
    rows = [[c.before, c.after, f"{c.tau:.3f}", str(len(c.swaps))] for c in changes]
    table("how the orders agree", ["mean", "mean", "Kendall's tau", "swapped pairs"], rows)
    ranks = {board.mean: board.ranks() for board in boards}
    first = boards[0].ranks()
    # the same two models, whichever of them a comparison names first
    named = (sorted(pair, key=lambda m: (first[m], m)) for c in changes for pair in c.swaps)
    pairs = sorted(set(map(tuple, named)), key=lambda pair: (first[pair[0]], first[pair[1]], pair))
    swaps = [_swap(*pair, ranks) for pair in pairs]
    if swaps:
        heads = ["model", "above", "by", "but below by"]
        table("models that change places", heads, swaps[:shown])
    if shown is not None and len(swaps) > shown:
        echo(f"... and {len(swaps) - shown} more pairs; all of them in a pipe, or with --json")


def _swap(first: str, second: str, ranks: dict[str, dict[str, int]]) -> list[str]:
    above = [mean for mean, rank in ranks.items() if rank[first] < rank[second]]
    below = [mean for mean, rank in ranks.items() if rank[first] > rank[second]]
    return [first, second, ", ".join(above), ", ".join(below)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
