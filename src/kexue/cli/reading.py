"""What commands read: labelled files, and texts from arguments, files or standard input."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import typer


def read_records(path: Path, *, format: str | None, skip_bad: bool) -> Any:
    """Read a labelled file; say on standard error what was left out.

    Args:
        path: the file.
        format: its format; guessed by default.
        skip_bad: leave broken records out instead of stopping at the first.

    Returns:
        The corpus.
    """
    from kexue.data import read

    corpus = read(path, format=format, skip_bad=skip_bad)
    if corpus.skipped:
        typer.echo(f"{path}: {len(corpus.skipped)} broken records left out, the first:", err=True)
        typer.echo(f"  {corpus.skipped[0]}", err=True)
    if not corpus.records:
        raise ValueError(f"{path}: there are no records in it.")
    return corpus


def read_texts(texts: Sequence[str], file: Path | None, stdin: TextIO) -> Iterator[dict[str, Any]]:
    """Read texts to work on, each as a JSON object with a `text`.

    Args:
        texts: given on the command line.
        file: a text a line, or JSONL with a `text` in each object; "-" is standard input.
        stdin: standard input, read where neither texts nor a file are given.

    Yields:
        The objects; other keys of a JSONL line are kept.
    """
    if texts:
        for text in texts:
            yield {"text": text}
        return
    if file is not None and str(file) != "-":
        if not file.is_file():
            raise ValueError(f"{file}: there is no such file. Put a text itself between quotes.")
        with file.open("rb") as lines:
            yield from _objects(lines, str(file))
        return
    yield from _objects(getattr(stdin, "buffer", stdin), "standard input")


def _objects(lines: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise ValueError(f"{name}:{number}: not UTF-8. Convert the file to UTF-8.") from None
        yield _object(text, f"{name}:{number}")


def _object(text: str, place: str) -> dict[str, Any]:
    """Read a line: a JSON object if it is one, else a text."""
    value: Any = None
    if text.lstrip().startswith("{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        return {"text": text}
    if not isinstance(value.get("text"), str):
        raise ValueError(f'{place}: a JSON object without a text. Write {{"text": "..."}}.')
    return value
