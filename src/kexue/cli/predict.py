"""`kexue predict`: entities of a text, a file or standard input."""

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import typer

from kexue.cli.errors import readable


@readable
def predict(
    model: Path = typer.Argument(..., help="Run folder or model folder."),
    texts: list[str] = typer.Argument(None, help="Texts; else --file or standard input."),
    file: Path | None = typer.Option(
        None, help='A text a line, or JSONL with "text"; - is standard input.'
    ),
    out: Path | None = typer.Option(None, help="Write JSONL here instead of printing."),
    threshold: float | None = typer.Option(
        None, help="Least probability; by default the calibrated thresholds, or 0.5."
    ),
    flat: bool | None = typer.Option(
        None, "--flat/--nested", help="Whether entities may overlap; as trained by default."
    ),
    batch_size: int = typer.Option(32, help="Windows at a time."),
    as_json: bool = typer.Option(False, "--json", help="Print JSONL also on a terminal."),
) -> None:
    """Find the entities of texts of any length.

    A terminal sees coloured text, a pipe sees one JSON object a line.
    """
    from kexue.cli.reading import read_texts

    if not texts and file is None and sys.stdin.isatty():
        raise typer.BadParameter("Give a text, --file FILE, or texts on standard input.")
    from kexue.models.messages import quiet
    from kexue.tasks.ner import EntityRecognizer

    quiet()
    recognizer = EntityRecognizer.from_pretrained(model)
    given = read_texts(texts or [], file, sys.stdin)
    results = _results(recognizer, given, threshold=threshold, flat=flat, batch_size=batch_size)
    if out is not None:
        _write(out, results)
    elif as_json or not sys.stdout.isatty():
        _lines(sys.stdout, results)
    else:
        from kexue.cli.show import show_entities

        for record, entities in results:
            show_entities(record["text"], entities, recognizer.labels)


def _results(
    recognizer: Any,
    given: Iterator[dict[str, Any]],
    *,
    threshold: float | None,
    flat: bool | None,
    batch_size: int,
) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Work through the texts a stretch at a time, so that a file of any size will do."""
    while stretch := list(islice(given, 64 * batch_size)):
        found = recognizer.stream(
            [record["text"] for record in stretch],
            threshold=threshold,
            flat=flat,
            batch_size=batch_size,
        )
        yield from zip(stretch, found, strict=True)


def _lines(stream: TextIO, results: Iterator[tuple[dict[str, Any], list[Any]]]) -> None:
    for record, entities in results:
        found = {**record, "entities": [entity.to_dict() for entity in entities]}
        stream.write(json.dumps(found, ensure_ascii=False) + "\n")
    stream.flush()


def _write(path: Path, results: Iterator[tuple[dict[str, Any], list[Any]]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            _lines(stream, results)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
