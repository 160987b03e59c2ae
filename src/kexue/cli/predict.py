"""`kexue predict`: entities or labels of a text, a file or standard input."""

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

import typer

from kexue._check import invalid
from kexue.cli.errors import readable
from kexue.cli.model_kind import refuse_entity_options, task_of


class _Result(NamedTuple):
    """A record, and what was found in it."""

    record: dict[str, Any]
    found: Any


class _Model(Protocol):
    """What every kind of model can do here."""

    def stream(self, records: list[dict[str, Any]]) -> Iterator[Any]:
        """Find what there is in each record."""

    def written(self, result: _Result) -> dict[str, Any]:
        """Give a record with what was found in it as a JSON object."""

    def show(self, result: _Result) -> None:
        """Print it for people."""


@readable
def predict(
    model: Path = typer.Argument(..., help="Run folder or model folder."),
    texts: list[str] = typer.Argument(None, help="Texts; else --file or standard input."),
    file: Path | None = typer.Option(
        None, help='A text a line, or JSONL with "text" and maybe "pair"; - is standard input.'
    ),
    out: Path | None = typer.Option(None, help="Write JSONL here instead of printing."),
    threshold: float | None = typer.Option(
        None, help="Of entities: least probability; by default the calibrated thresholds, or 0.5."
    ),
    flat: bool | None = typer.Option(
        None, "--flat/--nested", help="Whether entities may overlap; as trained by default."
    ),
    batch_size: int = typer.Option(32, help="Windows at a time."),
    as_json: bool = typer.Option(False, "--json", help="Print JSONL also on a terminal."),
) -> None:
    """Find the entities, or the label, of texts of any length.

    A terminal sees coloured text, a pipe sees one JSON object a line.
    """
    from kexue.cli.reading import read_texts

    if not texts and file is None and sys.stdin.isatty():
        raise typer.BadParameter("Give a text, --file FILE, or texts on standard input.")
    from kexue.models.messages import quiet

    quiet()
    if task_of(model) == "classification":
        refuse_entity_options(threshold, flat)
        worker: _Model = _Labels(model, batch_size=batch_size)
    else:
        worker = _Entities(model, threshold=threshold, flat=flat, batch_size=batch_size)
    results = _results(worker, read_texts(texts or [], file, sys.stdin), batch_size)
    if out is not None:
        _write(out, worker, results)
    elif as_json or not sys.stdout.isatty():
        _lines(sys.stdout, worker, results)
    else:
        for result in results:
            worker.show(result)


class _Entities:
    """Entities of texts."""

    def __init__(self, model: Path, **options: Any) -> None:
        from kexue.tasks.ner import EntityRecognizer

        self.recognizer = EntityRecognizer.from_pretrained(model)
        self.options = options

    def stream(self, records: list[dict[str, Any]]) -> Iterator[Any]:
        return self.recognizer.stream([record["text"] for record in records], **self.options)

    def written(self, result: _Result) -> dict[str, Any]:
        return {**result.record, "entities": [entity.to_dict() for entity in result.found]}

    def show(self, result: _Result) -> None:
        from kexue.cli.show import show_entities

        show_entities(result.record["text"], result.found, self.recognizer.labels)


class _Labels:
    """Labels of texts or of pairs of texts."""

    def __init__(self, model: Path, *, batch_size: int) -> None:
        from kexue.tasks.classification import TextClassifier

        self.classifier = TextClassifier.from_pretrained(model)
        self.batch_size = batch_size

    def stream(self, records: list[dict[str, Any]]) -> Iterator[Any]:
        given = [self._text(record) for record in records]
        return self.classifier.stream(given, batch_size=self.batch_size)

    def _text(self, record: dict[str, Any]) -> str | tuple[str, str]:
        if not self.classifier.model.config.pairs:
            return record["text"]
        pair = record.get("pair")
        if not isinstance(pair, str):
            fix = 'This classifier wants pairs: write {"text": "...", "pair": "..."} a line.'
            raise invalid("pair", pair, "the second text of each pair", fix)
        return record["text"], pair

    def written(self, result: _Result) -> dict[str, Any]:
        gold = {"gold": result.record["label"]} if "label" in result.record else {}
        return {**result.record, **gold, **result.found.to_dict()}

    def show(self, result: _Result) -> None:
        from kexue.cli.show_labels import show_label

        text = self._text(result.record)
        show_label([text] if isinstance(text, str) else text, result.found)


def _results(worker: _Model, given: Iterator[dict[str, Any]], batch_size: int) -> Iterator[_Result]:
    """Work through the texts a stretch at a time, so that a file of any size will do."""
    while stretch := list(islice(given, 64 * batch_size)):
        for record, found in zip(stretch, worker.stream(stretch), strict=True):
            yield _Result(record, found)


def _lines(stream: TextIO, worker: _Model, results: Iterator[_Result]) -> None:
    for result in results:
        stream.write(json.dumps(worker.written(result), ensure_ascii=False) + "\n")
    stream.flush()


def _write(path: Path, worker: _Model, results: Iterator[_Result]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            _lines(stream, worker, results)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
