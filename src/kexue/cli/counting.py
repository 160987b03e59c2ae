"""Progress of work that is counted: a bar on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

_PAUSE = 10.0  # seconds between two plain lines


@contextmanager
def counting(
    doing: str, things: str, total: int, *, done: int = 0, as_json: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show how far the work has come and how long it will take.

    Args:
        doing: what is done.
        things: what is counted.
        total: how many there are.
        done: how many were done before.
        as_json: keep standard output free, and write to standard error.

    Yields:
        A function that is told how many more were done.

    Example:
        >>> with counting("reading", "lines", 20, done=10) as count:
        ...     count(10)
        reading: 20 of 20 lines...
    """
    show = _bar if sys.stdout.isatty() and not as_json else _lines
    yield from show(doing, things, total, done, as_json)


def _bar(
    doing: str, things: str, total: int, done: int, as_json: bool
) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn(things))
    with Progress(*columns, Remaining()) as progress:
        task = progress.add_task(doing, total=total, completed=done)
        yield lambda more: progress.advance(task, more)


def _lines(
    doing: str, things: str, total: int, done: int, as_json: bool
) -> Iterator[Callable[[int], None]]:
    before, begun, said = done, time.monotonic(), 0.0

    def count(more: int) -> None:
        nonlocal done, said
        done += more
        now = time.monotonic()
        if now - said < _PAUSE and done < total:
            return
        said = now
        rate = (done - before) / max(now - begun, 1e-9)
        left = f", {(total - done) / rate:,.0f} s left" if rate and done < total else ""
        typer.echo(
            f"{doing}: {done:,} of {total:,} {things}, {rate:,.0f} a second{left}", err=as_json
        )

    yield count
