"""Tables of text: the rows and columns of a CSV file, or of a table in a Markdown document."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

from kexue.data.records import DataError, FormatError
from kexue.data.source import decode, numbered_lines

_SEPARATORS = ("\t", ";", ",")
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
_BAR = re.compile(r"(?<!\\)\|")
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_EMPHASIS = ("***", "**", "__", "~~", "*", "_", "`")


class Row(NamedTuple):
    """A row of a table of text.

    Attributes:
        line: the line (1-based) on which it begins.
        cells: their texts.

    Example:
        >>> Row(2, ["BERT", "80.5"]).line
        2
    """

    line: int
    cells: list[str]


class Grid(NamedTuple):
    """A table of text.

    Attributes:
        head: the first row, with the names of the columns.
        rows: the others, each as long as the first.
        comments: what stands above the head behind "# ".

    Example:
        >>> Grid(Row(1, ["model", "RTE"]), [Row(2, ["BERT", "70.1"])], ()).head.cells
        ['model', 'RTE']
    """

    head: Row
    rows: list[Row]
    comments: tuple[str, ...]


def text_rows(path: Path) -> list[str]:
    """Read the lines of a file.

    Args:
        path: the file, plain or compressed with gzip or xz.

    Returns:
        Its lines, without their ends.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8.
    """
    if path.is_dir():
        raise DataError(path, None, "this is a folder", "Name a file with a table.")
    lines = []
    for number, raw in numbered_lines(path):
        try:
            if isinstance(raw, FormatError):
                raise raw
            lines.append(decode(raw))
        except FormatError as fault:
            raise DataError(path, number, fault.reason, fault.fix) from None
    return lines


def csv_grid(path: Path, lines: list[str]) -> Grid:
    r"""Read a table whose columns are separated by commas, semicolons or tabs.

    Args:
        path: of the file, for errors.
        lines: of the file. Lines above the table that begin with "# " are comments.

    Returns:
        The table; blank lines are passed over.

    Raises:
        DataError: there is no table, quotation marks are out of place, or a row is too long or
            too short.

    Example:
        >>> csv_grid(Path("a.csv"), ["# GLUE", "model;RTE", '"BERT; large";70.1']).rows
        [Row(line=3, cells=['BERT; large', '70.1'])]
    """
    start = next((n for n, t in enumerate(lines) if t.strip() and t[:2] != "# "), len(lines))
    comments = tuple(text[2:].strip() for text in lines[:start] if text.strip())
    separator = max(_SEPARATORS, key="".join(lines[start : start + 1]).count)
    reader = csv.reader(
        (f"{text}\n" for text in lines[start:]), delimiter=separator, strict=True,
        skipinitialspace=separator != "\t",
    )  # fmt: skip
    rows, line = [], start + 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(line, [" ".join(cell.split()) for cell in cells]))
            line = start + 1 + reader.line_num
    except csv.Error as error:
        fix = 'Put the field between quotation marks, and write " inside it twice.'
        raise DataError(path, line, f"a row cannot be split ({error})", fix) from None
    if not rows:
        fix = "Write a line with the names of the columns, and a line for each model."
        raise DataError(path, None, "there is no table in the file", fix)
    return _rectangle(path, rows, comments)


def markdown_grid(path: Path, lines: list[str], *, number: int | None = None) -> Grid:
    """Read a table of a Markdown document.

    Args:
        path: of the file, for errors.
        lines: of the file.
        number: which of its tables, from 1; None where there is only one.

    Returns:
        The table. Emphasis, links and tags around names and scores are taken off.

    Raises:
        DataError: there is no such table, there are several and none was chosen, or a row is too
            long or too short.

    Example:
        >>> lines = ["| model | RTE |", "|---|--:|", "| [BERT](a.md) | **70.1** |"]
        >>> markdown_grid(Path("a.md"), lines).rows
        [Row(line=3, cells=['BERT', '70.1'])]
    """
    tables = _tables(lines)
    if not tables:
        fix = "Write | model | task |, then |---|---|, then a row for each model."
        raise DataError(path, None, "there is no table in the document", fix)
    if number is None and len(tables) > 1:
        places = ", ".join(str(rows[0].line) for rows in tables)
        fix = f"Choose one by its number, 1 to {len(tables)}."
        raise DataError(path, None, f"there are {len(tables)} tables, on lines {places}", fix)
    if number is not None and not 1 <= number <= len(tables):
        fix = f"Choose one by its number, 1 to {len(tables)}."
        raise DataError(path, None, f"there is no table {number}", fix)
    rows = tables[(number or 1) - 1]
    return _rectangle(path, [Row(line, list(map(_plain, cells))) for line, cells in rows], ())


def _rectangle(path: Path, rows: list[Row], comments: tuple[str, ...]) -> Grid:
    head, *others = rows
    for line, cells in others:
        if len(cells) != len(head.cells):
            reason = f"the row has {len(cells)} cells, and line {head.line} names"
            fix = "Write - for no score, and a field that holds a separator between quotes."
            raise DataError(path, line, f"{reason} {len(head.cells)} columns", fix)
    return Grid(head, others, comments)


def _tables(lines: list[str]) -> list[list[Row]]:
    """Find the tables of a document, without their rules; what stands in fences is code."""
    tables, fence, at = [], "", 0
    while at < len(lines):
        mark = _FENCE.match(lines[at])
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and _begins(lines, at):
            rows = [Row(at + 1, _split(lines[at]))]
            at += 2
            while at < len(lines) and "|" in lines[at]:
                rows.append(Row(at + 1, _split(lines[at])))
                at += 1
            tables.append(rows)
            continue
        at += 1
    return tables


def _begins(lines: list[str], at: int) -> bool:
    """Whether a line is the head of a table: one as wide stands below it, of dashes only."""
    rule = lines[at + 1] if at + 1 < len(lines) else ""
    both = "|" in lines[at] and "|" in rule and _RULE.fullmatch(rule)
    return bool(both) and len(_split(rule)) == len(_split(lines[at]))


def _split(line: str) -> list[str]:
    cells = [cell.replace(r"\|", "|").strip() for cell in _BAR.split(line.strip())]
    first, last = int(cells[0] == ""), len(cells) - (len(cells) > 1 and cells[-1] == "")
    return cells[first:last]


def _plain(cell: str) -> str:
    text = _TAG.sub("", _LINK.sub(r"\1", cell)).strip()
    for mark in _EMPHASIS:
        inner = text.removeprefix(mark).removesuffix(mark)
        if len(text) == len(inner) + 2 * len(mark) and inner:
            return _plain(inner)
    return text
