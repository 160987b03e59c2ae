"""`kexue leaderboard`: does the order of models depend on the mean, on gaps, on the tasks?"""

import sys
import warnings
from pathlib import Path
from typing import Any

import typer

from kexue._check import invalid
from kexue.cli.errors import readable

_SHOWN = 20  # swapped pairs on a terminal; a pipe gets all


@readable
def leaderboard(
    table: str = typer.Argument(
        ..., help="A .csv, .tsv, .json, .jsonl or .md file; or glue-2019, superglue-2022."
    ),
    mean: list[str] = typer.Option(
        [], help="arithmetic, geometric, harmonic or ranks; may be repeated. Else all there are."
    ),
    task: list[str] = typer.Option([], help="A column to read; may be repeated. Else all."),
    without: list[str] = typer.Option([], help="A column to leave out; may be repeated."),
    missing: str = typer.Option(
        "refuse",
        help="Where scores are missing: refuse, keep the tasks all models have, keep the models "
        "that have all tasks, or average each over its own: refuse, tasks, models, own.",
    ),
    lower: list[str] = typer.Option(
        [], help="TASK or TASK=FULL where less is better: the score is taken from FULL, else 100."
    ),
    floor: float | None = typer.Option(None, help="Scores below it count as it."),
    bootstrap: int = typer.Option(0, help="Draw the tasks this often, for intervals of ranks."),
    seed: int = typer.Option(0, help="Of the draws."),
    name: str | None = typer.Option(None, help="The column of the models' names."),
    transpose: bool = typer.Option(
        False, "--transpose", help="Rows are tasks, columns are models."
    ),
    number: int | None = typer.Option(None, help="Which table of a Markdown document, from 1."),
    format: str | None = typer.Option(None, help="csv, json or markdown; else by name."),
    plot: Path | None = typer.Option(None, help="Draw the changes of ranks to this .png or .svg."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Rank the models of a table of scores by several means, and show what changes.

    A cell is a number, the metrics of a task as in 96.9/98.0, which are averaged first, or - for no
    score. Geometric and harmonic means need scores above 0.
    """
    from kexue.analysis.leaderboard_bootstrap import bootstrap_ranks
    from kexue.analysis.leaderboard_changes import rank_changes
    from kexue.analysis.leaderboard_scores import prepare_scores
    from kexue.data.score_tables import read_scores

    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise invalid("plot", str(plot), "a name that ends in .png, .svg or .pdf")
    if bootstrap < 0:
        raise invalid("bootstrap", bootstrap, "0 for none, or a number of draws such as 10000")
    if bootstrap and missing == "own":
        fix = "Choose --missing tasks or models."
        raise invalid("bootstrap", bootstrap, "tasks that all models have, to be drawn", fix)
    read = read_scores(
        find_table(table),
        format=format,
        name=name,
        tasks=task,
        without=without,
        transpose=transpose,
        number=number,
    )
    full = dict(full_score(text) for text in lower)
    scores = prepare_scores(read.scores, missing=missing, lower=full, floor=floor)
    notes = [*read.notes, *left_out(read, scores, missing)]
    boards = _boards(scores, list(dict.fromkeys(mean)), missing == "own", notes)
    changes = [rank_changes(a, b) for n, a in enumerate(boards) for b in boards[n + 1 :]]
    draws = [
        bootstrap_ranks(scores, mean=board.mean, samples=bootstrap, generator=_random(seed))
        for board in boards
        if bootstrap
    ]
    if plot is not None:
        _draw(boards, plot, read.path.name, notes)
    _show(read, boards, changes, draws, notes, as_json)


def find_table(table: str) -> Path:
    """Find a table by its path, or among those that come with the library.

    Args:
        table: a path, or the name of a table.

    Returns:
        The path of the file.

    Raises:
        ValueError: if there is neither.

    Example:
        >>> find_table("superglue-2022").name
        'superglue-2022.csv'
    """
    from kexue.data.score_tables import shipped_tables

    shipped = shipped_tables()
    path = Path(table)
    if not path.exists() and table in shipped:
        return shipped[table]
    if not path.exists():
        raise invalid("table", table, f"a file that exists, or {', '.join(shipped)}")
    return path


def full_score(text: str) -> tuple[str, float]:
    """Read TASK or TASK=FULL.

    Args:
        text: such as "WER" or "WER=1".

    Returns:
        The task, and the score from which its scores are taken away.

    Raises:
        ValueError: if FULL is no number.

    Example:
        >>> full_score("WER"), full_score("a=b=1")
        (('WER', 100.0), ('a=b', 1.0))
    """
    task, equals, full = text.rpartition("=")
    try:
        return (task, float(full)) if equals else (text, 100.0)
    except ValueError:
        raise invalid("lower", text, "TASK, or TASK=FULL with a number, as in WER=100") from None


def left_out(read: Any, scores: dict[str, dict[str, float]], missing: str) -> list[str]:
    """Say what scores that are missing cost.

    Args:
        read: the table that was read.
        scores: what is compared.
        missing: what was chosen.

    Returns:
        Notes.

    Example:
        >>> from kexue.data.score_tables import ScoreTable
        >>> read = ScoreTable({"A": {"x": 1, "y": None}}, {"A": 1}, Path("a.csv"))
        >>> left_out(read, {"A": {"x": 1.0}}, "tasks")
        ['left out because scores are missing: y']
    """
    kept = dict.fromkeys(task for row in scores.values() for task in row)
    gone = [model for model in read.scores if model not in scores]
    gone += [task for task in read.tasks if task not in kept]
    notes = [f"left out because scores are missing: {', '.join(gone)}"] if gone else []
    if missing == "own" and any(row.keys() != kept.keys() for row in scores.values()):
        few = [f"{model} {len(row)}" for model, row in scores.items() if len(row) < len(kept)]
        notes.append(
            f"these means are over different tasks and do not compare: of {len(kept)} tasks "
            f"{', '.join(few)}, the other models all"
        )
    return notes


def _boards(
    scores: dict[str, dict[str, float]], means: list[str], own: bool, notes: list[str]
) -> list[Any]:
    """Rank by the means that were asked for, else by all that there are of these scores."""
    from kexue.analysis.leaderboard import leaderboard as rank
    from kexue.analysis.leaderboard_means import MEANS

    boards = []
    for mean in means or MEANS:
        try:
            boards.append(rank(scores, mean=mean, own_tasks=own))
        except ValueError as error:
            if means:
                raise
            notes.append(f"there is no {mean} mean: {error}")
    return boards


def _random(seed: int) -> Any:
    import numpy as np

    if seed < 0:
        raise invalid("seed", seed, "0 or more")
    return np.random.default_rng(seed)


def _draw(boards: list[Any], plot: Path, title: str, notes: list[str]) -> None:
    from kexue.analysis.leaderboard_drawing import draw_rank_changes

    if len(boards) == 1:
        raise invalid("plot", str(plot), "at least two means, to see what changes")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            draw_rank_changes(boards, plot, title=title)
        except ImportError as error:
            raise ValueError(str(error)) from None
    notes += [str(warning.message) for warning in caught]


def _show(
    read: Any,
    boards: list[Any],
    changes: list[Any],
    draws: list[Any],
    notes: list[str],
    as_json: bool,
) -> None:
    from kexue.cli.data_output import echo

    if as_json:
        found = {"path": str(read.path), "boards": [board.to_dict() for board in boards]}
        found["changes"] = [change.to_dict() for change in changes]
        found["bootstrap"] = [draw.to_dict() for draw in draws]
        echo({**found, "notes": notes})
        return
    from kexue.cli.leaderboard_tables import show_boards, show_changes, show_spreads

    terminal = sys.stdout.isatty()
    show_boards(boards, read.path.name)
    for board, draw in zip(boards, draws, strict=False):
        show_spreads(board, draw)
    show_changes(boards, changes, shown=_SHOWN if terminal else None)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
