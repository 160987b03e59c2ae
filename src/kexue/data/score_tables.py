"""Read a table of scores, a row for each model and a column for each task.

    csv         columns between commas, semicolons or tabs, their names in the first line
    json        {"model": {"task": 92.4}}, a list of objects with a "model", or one a line
    markdown    a table of a document

See `kexue.data.score_cells` for what stands in a cell. Tables that come with the library are
listed by `shipped_tables`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kexue._check import invalid
from kexue.data.records import DataError, FormatError
from kexue.data.score_cells import Score, has_deviation, read_cell
from kexue.data.score_grid import Grid, csv_grid, markdown_grid, text_rows
from kexue.data.score_json import JsonRow, json_rows

SCORE_FORMATS = ("csv", "json", "markdown")
_ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".md": "markdown",
    ".markdown": "markdown",
}  # fmt: skip
_NAMES = ("model", "models", "name", "system", "method", "team", "submission", "模型", "方法")
_NO_TASKS = (
    *("average", "avg", "avg.", "mean", "overall", "score", "total", "rank", "#", "no", "no."),
    *("params", "parameters", "平均", "平均分", "均分", "总分", "得分", "排名", "参数量"),
)
_SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "leaderboards"


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a file.

    Args:
        scores: for each model the score of each task: a number, a tuple of metrics, or None.
        lines: on which line (1-based) the first score of each model stands.
        path: of the file.
        notes: comments of the file, and what a reader of the table should know.

    Example:
        >>> ScoreTable({"BERT": {"RTE": 70.1}}, {"BERT": 2}, Path("a.csv")).tasks
        ('RTE',)
    """

    scores: dict[str, dict[str, Score]]
    lines: dict[str, int]
    path: Path
    notes: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return tuple(next(iter(self.scores.values()))) if self.scores else ()


class _Cell(NamedTuple):
    line: int
    model: str
    task: str
    value: object


def read_scores(
    path: str | Path,
    *,
    format: str | None = None,
    name: str | None = None,
    tasks: Sequence[str] = (),
    without: Sequence[str] = (),
    transpose: bool = False,
    number: int | None = None,
) -> ScoreTable:
    r"""Read a table of scores.

    Args:
        path: the file, plain or compressed with gzip or xz.
        format: one of `SCORE_FORMATS`; None tells it from the name, else from the content.
        name: the column, or the key, that holds the names of the models; by default one that is
            called so ("model", "name", "system", ...), else the first.
        tasks: the columns to read; all of them by default.
        without: columns to leave out, such as links or averages.
        transpose: whether rows are tasks and columns are models.
        number: which table of a Markdown document, from 1, where there are several.

    Returns:
        The scores. What a task or a model lacks is None.

    Raises:
        DataError: the file cannot be read, holds no table or a broken row, names something twice,
            or a cell is no score; with path, line and fix.
        ValueError: an option names what is not there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.csv")
        ...     _ = file.write_text("model,CB,WiC\nT5,93.9/96.8,76.9\nBERT,-,69.5\n")
        ...     read_scores(file).scores
        {'T5': {'CB': (93.9, 96.8), 'WiC': 76.9}, 'BERT': {'CB': None, 'WiC': 69.5}}
    """
    path = Path(path)
    if format is not None and format not in SCORE_FORMATS:
        raise invalid("format", format, ", ".join(map(repr, SCORE_FORMATS)))
    lines = text_rows(path)
    kind = format or _guess(path, lines)
    if number is not None and kind != "markdown":
        raise invalid("number", number, f"None for a table in {kind}", "Only documents have more.")
    notes: list[str] = []
    if kind == "json":
        cells = list(_json_cells(path, json_rows(path, lines), name))
    else:
        grid = csv_grid(path, lines) if kind == "csv" else markdown_grid(path, lines, number=number)
        notes += grid.comments
        cells = list(_grid_cells(path, grid, name))
    if transpose:
        cells = [_Cell(line, task, model, value) for line, model, task, value in cells]
    lines_of: dict[str, int] = {}
    for cell in cells:
        lines_of.setdefault(cell.model, cell.line)
    cells = _chosen(cells, tasks, without)
    if not cells:
        fix = "Write a row for each model, and a column for each task."
        raise DataError(path, None, "there are no scores in the table", fix)
    return ScoreTable(_scores(path, cells, lines_of), lines_of, path, notes + _warnings(cells))


def shipped_tables() -> dict[str, Path]:
    """List the leaderboards that come with the library; comments in them name their source.

    Returns:
        Name and path of each.

    Example:
        >>> list(shipped_tables())
        ['glue-2019', 'superglue-2022']
    """
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.csv"))}


def _guess(path: Path, lines: list[str]) -> str:
    endings = [end.lower() for end in path.suffixes if end.lower() not in (".gz", ".xz")]
    known = _ENDINGS.get(endings[-1] if endings else "")
    if known:
        return known
    first = next((text.lstrip() for text in lines if text.strip()), "")
    if first.startswith(("{", "[")):
        return "json"
    return "markdown" if any(text.lstrip().startswith("|") for text in lines) else "csv"


def _grid_cells(path: Path, grid: Grid, name: str | None) -> Iterator[_Cell]:
    heads = grid.head.cells
    at = _name_column(heads, name)
    blank = [n for n, head in enumerate(heads, 1) if not head and n != at + 1]
    twice = [head for n, head in enumerate(heads) if head in heads[:n]]
    if blank or twice:
        reason = f"column {blank[0]} has no name" if blank else f"two columns are {twice[0]!r}"
        raise DataError(path, grid.head.line, reason, "Give each column a name of its own.")
    seen: dict[str, int] = {}
    for line, cells in grid.rows:
        _check_name(path, line, cells[at], seen)
        for n, (head, cell) in enumerate(zip(heads, cells, strict=True)):
            if n != at:
                yield _Cell(line, cells[at], head, cell)


def _json_cells(path: Path, rows: list[JsonRow], name: str | None) -> Iterator[_Cell]:
    seen: dict[str, int] = {}
    for line, model, members in rows:
        keys = [member.key for member in members]
        at = None if model is not None else _name_column(keys, name, named=True)
        found = model if at is None else members[at].value
        if not isinstance(found, str):
            fix = 'Write "model": "..." in each object, or say which key holds the name.'
            raise DataError(path, line, "the object names no model", fix)
        _check_name(path, line, found, seen)
        if len(members) == (at is not None):
            fix = "Write the scores beside the name, or leave the model out."
            raise DataError(path, line, f"{found!r} has no scores", fix)
        for n, member in enumerate(members):
            if n != at:
                yield _Cell(member.line, found, member.key, member.value)


def _name_column(heads: Sequence[str], name: str | None, *, named: bool = False) -> int | None:
    """Find the column of the names: the one asked for, one called so, or the first."""
    if name is not None:
        if name not in heads:
            raise invalid("name", name, ", ".join(map(repr, heads)))
        return list(heads).index(name)
    called = [n for n, head in enumerate(heads) if head.casefold() in _NAMES]
    return called[0] if called else None if named else 0


def _check_name(path: Path, line: int, name: str, seen: dict[str, int]) -> None:
    if not name.strip():
        raise DataError(path, line, "the row has no name", "Write the name of the model.")
    if name in seen:
        reason = f"{name!r} stands on line {seen[name]} already"
        raise DataError(path, line, reason, "Give each row a name of its own.")
    seen[name] = line


def _chosen(cells: list[_Cell], tasks: Sequence[str], without: Sequence[str]) -> list[_Cell]:
    known = list(dict.fromkeys(cell.task for cell in cells))
    for option, given in (("tasks", tasks), ("without", without)):
        for task in given:
            if cells and task not in known:
                raise invalid(option, task, ", ".join(map(repr, known)))
    kept = [task for task in tasks or known if task not in without]
    return [cell for cell in cells if cell.task in kept]


def _scores(path: Path, cells: list[_Cell], models: Iterable[str]) -> dict[str, dict[str, Score]]:
    """Read the cells; a model that has none of these tasks keeps its place."""
    tasks = dict.fromkeys(cell.task for cell in cells)
    scores: dict[str, dict[str, Score]] = {model: dict.fromkeys(tasks) for model in models}
    for line, model, task, value in cells:
        try:
            scores[model][task] = read_cell(value)
        except FormatError as fault:
            fix = f"{fault.fix} Or leave the column out: without {task!r}."
            raise DataError(path, line, f"{model!r}, {task!r}: {fault.reason}", fix) from None
    return scores


def _warnings(cells: list[_Cell]) -> list[str]:
    deviations = sum(has_deviation(cell.value) for cell in cells)
    left_out = f"the deviation behind ± is left out of {deviations} scores"
    return [left_out] * bool(deviations) + [
        f"{task!r} looks like no task and counts as one; leave it out with: without {task!r}"
        for task in dict.fromkeys(cell.task for cell in cells)
        if task.casefold() in _NO_TASKS
    ]
