"""What commands read: labelled files, and texts from arguments, files or standard input."""

from collections.abc import Iterator, Sequence
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
        with file.open(encoding="utf-8-sig", errors="strict") as lines:
            yield from _objects(lines, str(file))
        return
    yield from _objects(stdin, "standard input")


def _objects(lines: Iterator[str] | TextIO, name: str) -> Iterator[dict[str, Any]]:
    import json

    number = 0
    try:
        for number, line in enumerate(lines, 1):
            text = line.rstrip("\r\n")
            if not text.lstrip().startswith("{"):
                yield {"text": text}
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = {"text": text}
            if not isinstance(value.get("text"), str):
                raise ValueError(
                    f'{name}:{number}: a JSON object without a text. Write {{"text": "..."}}.'
                )
            yield value
    except UnicodeDecodeError:
        raise ValueError(f"{name}:{number + 1}: not UTF-8. Convert the file to UTF-8.") from None
