"""A user's mistake is one readable message on standard error, never a traceback."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

from kexue.cli.data_output import echo, showable

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def readable_errors(as_json: bool = False) -> Iterator[None]:
    """Say what is wrong, and end with 1; KEXUE_TRACEBACK=1 shows where it was found.

    Args:
        as_json: also print the error as a JSON object on standard output.

    Raises:
        Exit: with code 1, in place of the error.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if os.environ.get("KEXUE_TRACEBACK"):
            raise
        typer.secho(showable(f"error: {error}"), fg="red", err=True)
        if as_json:
            found = {"reason": getattr(error, "reason", str(error))}
            if hasattr(error, "path"):
                found |= {"path": str(error.path), "line": error.line, "fix": error.fix}
            echo({"error": found})
        raise typer.Exit(1) from None


def readable(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that its errors are readable.

    Args:
        command: the function of a typer command; its `as_json` decides about JSON.

    Returns:
        The same command.
    """

    @wraps(command)
    def wrapped(*args: P.args, **options: P.kwargs) -> R:
        with readable_errors(bool(options.get("as_json"))):
            return command(*args, **options)

    return wrapped
