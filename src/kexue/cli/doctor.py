"""`kexue doctor`: what is installed, what is missing, and the line that mends it."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from kexue.cli import installation, machine
from kexue.cli.installation import Check

_SHOWN = ("kexue", "torch", "transformers", "accelerate", "tokenizers", "safetensors", "pydantic")
_IMPORTED = ("kexue.heads", "kexue.data", "kexue.models", "kexue.training", "kexue.tasks")
_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Report versions, devices, offline settings and missing extras, each with what to type.

    Ends with 1 if there is a problem, and 0 if there are only notes.

    Args:
        as_json: print one JSON object instead of a table.

    Raises:
        Exit: with 1 if there is a problem.

    Example:
        >>> doctor(as_json=True)
        {"ok": true, "checks": [...]}
    """
    checks = [check for look in _looks() for check in _guarded(look)]
    healthy = all(check.state != "problem" for check in checks)
    if as_json:
        report = {"ok": healthy, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(report, ensure_ascii=False))
    elif sys.stdout.isatty():
        _show_table(checks)
    else:
        for check in checks:
            typer.echo(_plain(check))
    if not healthy:
        raise typer.Exit(1)


def _looks() -> list[Callable[[], list[Check]]]:
    return [
        lambda: installation.version_checks({name: _version(name) for name in _SHOWN}),
        _requirements,
        _constraints,
        lambda: installation.import_checks(_IMPORTED),
        machine.device_checks,
        lambda: machine.environment_checks(dict(os.environ)),
        lambda: machine.space_checks(Path.cwd()),
        machine.head_check,
    ]


def _guarded(look: Callable[[], list[Check]]) -> list[Check]:
    """Turn a look that fails into a problem: a report on a broken installation must not break."""
    try:
        return look()
    except Exception as error:
        return [Check("doctor", f"{type(error).__name__}: {error}", "problem")]


def _version(name: str) -> str | None:
    if name == "kexue":
        from kexue import __version__

        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _checkout() -> Path | None:
    """Find the folder of the sources if this is a copy of the repository, not a wheel."""
    root = Path(__file__).parents[3]
    return root if (root / "constraints.txt").exists() else None


def _requirements() -> list[Check]:
    root = _checkout()
    place = "kexue[{extra}]" if root is None else f"{root}[{{extra}}]"
    option = "" if root is None else "-e "
    try:
        asked = metadata.requires("kexue") or []
    except metadata.PackageNotFoundError:
        fix = f"pip install {option}{root or 'kexue'}"
        return [Check("requirements", "unknown, kexue is imported from a folder", "note", fix)]
    return installation.requirement_checks(asked, _version, f'pip install {option}"{place}"')


def _constraints() -> list[Check]:
    root = _checkout()
    if root is None:
        return []
    file = root / "constraints.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    return installation.constraint_checks(lines, _version, f"pip install -c {file} -e {root}")


def _plain(check: Check) -> str:
    fix = f" -> {check.fix}" if check.fix else ""
    return f"{check.state:8}{check.name}: {check.value}{fix}"


def _show_table(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "what", "found", "to mend it", title="kexue doctor")
    for check in checks:
        mark = {"ok": "✓", "note": "!", "problem": "✗"}[check.state]
        cells = (check.name, check.value, check.fix)
        table.add_row(f"[{_COLOURS[check.state]}]{mark}[/]", *map(escape, cells))
    Console().print(table)
