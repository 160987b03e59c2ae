"""How `kexue data` shows what it found: tables on a terminal, plain lines in a pipe."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from kexue.data import Corpus, CorpusStats, Finding, Repair

_SHOWN = 30  # findings in full on a terminal; a pipe gets all


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def showable(text: str) -> str:
    r"""Make a text fit for any stream: file names may hold bytes that are no characters.

    Args:
        text: any string.

    Returns:
        The same with lone surrogates escaped.

    Example:
        >>> showable("a\udcff")
        'a\\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def echo(value: dict[str, Any] | str) -> None:
    """Print a line, or an object as one line of JSON.

    Args:
        value: what to print.

    Example:
        >>> echo({"records": 3})
        {"records": 3}
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    typer.echo(showable(text))


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table: drawn on a terminal, tab-separated lines in a pipe.

    Args:
        title: stands above it on a terminal.
        columns: the heads.
        rows: a list of cells each.

    Example:
        >>> table("labels", ["label", "count"], [["place", "3"]])
        label count
        place 3
    """
    if not _is_terminal():
        for row in [columns, *rows]:
            echo("\t".join(row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for at, column in enumerate(columns):
        number = bool(rows) and all(row[at][:1].isdigit() for row in rows)
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*[escape(showable(cell)) for cell in row])
    Console().print(table)


def show_findings(corpora: "list[Corpus]", findings: "list[Finding]") -> None:
    """Print a line a finding, as linters do; a terminal gets the first ones and a table.

    Args:
        corpora: what was checked.
        findings: what was found.

    Example:
        >>> show_findings([], [])
        0 records: 0 errors, 0 warnings
    """
    shown = findings[:_SHOWN] if _is_terminal() else findings
    for finding in shown:
        echo(str(finding))
    if len(findings) > len(shown):
        echo(f"... and {len(findings) - len(shown)} more; all of them with --json or in a pipe")
    kinds = Counter((finding.kind, finding.severity) for finding in findings)
    if kinds and _is_terminal():
        rows = [[kind, severity, str(count)] for (kind, severity), count in kinds.most_common()]
        table("findings", ["kind", "severity", "count"], rows)
    severities = Counter(finding.severity for finding in findings)
    records = sum(map(len, corpora))
    echo(f"{records} records: {severities['error']} errors, {severities['warning']} warnings")


def show_repair(repair: "Repair", fixed: Path, report: Path) -> None:
    """Print what was mended.

    Args:
        repair: the repair.
        fixed: path of the mended file.
        report: path of the report.
    """
    left = f"{len(repair.changes)} changes, {len(repair.left)} findings left"
    echo(f"{fixed}: {left}; see {report}")


def show_stats(each: "CorpusStats") -> None:
    """Print the numbers of one corpus.

    Args:
        each: the numbers.
    """
    lengths = ", ".join(f"{name} {length}" for name, length in each.text_lengths.items())
    longest = "{}, {} characters, line {}".format(*each.longest) if each.longest else "none"
    rows = [
        ["format", each.format],
        ["records", str(each.records)],
        ["left out", str(each.skipped)],
        ["characters", str(each.characters)],
        ["text lengths", lengths],
        ["without entities", str(each.empty)],
        ["entities", str(each.entities)],
        ["nested", f"{each.nested_percent} %"],
        ["crossing pairs", str(each.crossing)],
        ["longest", longest],
    ]
    table(each.path, [each.path, ""], rows)
    labels = [
        [label, str(found.count), str(found.mean_length), str(found.max_length)]
        for label, found in each.labels.items()
    ]
    _counted(["label", "entities", "mean length", "longest"], labels)
    _counted(["relation", "count"], [[name, str(n)] for name, n in each.relations.items()])
    _counted(["event", "count"], [[name, str(n)] for name, n in each.events.items()])


def _counted(columns: list[str], rows: list[list[str]]) -> None:
    if rows:
        table(f"{columns[0]}s", columns, rows)
