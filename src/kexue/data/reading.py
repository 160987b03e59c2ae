"""Read a labelled file of any of the formats into records."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kexue._check import invalid
from kexue.data import (
    brat,
    cluener,
    cmeee,
    conll,
    doccano,
    jsonl,
    label_studio,
    span_lists,
    tokens,
)
from kexue.data.explaining import explain, shorten
from kexue.data.guess import FORMATS, guess_format, head_lines
from kexue.data.json_list import is_list, json_list
from kexue.data.records import Corpus, DataError, Event, FormatError, Record
from kexue.data.source import json_lines

_DECODE = {
    "jsonl": jsonl.decode,
    "cluener": cluener.decode,
    "cmeee": cmeee.decode,
    "doccano": doccano.decode,
    "doccano-label": doccano.decode,
    "doccano-labels": doccano.decode,
    "label-studio": label_studio.decode,
    "spans": span_lists.decode,
    "tokens": tokens.decode,
}


@dataclass
class _Unit:
    """What stands at one place of a file: an object of the schema, or what is wrong with it."""

    line: int
    value: dict[str, Any] | FormatError
    notes: list[str] = field(default_factory=list)
    source: str | None = None


def read(
    path: str | Path,
    *,
    format: str | None = None,
    skip_bad: bool = False,
    lenient: bool = False,
    joiner: str | None = None,
    shift_end: int = 0,
) -> Corpus:
    """Read a file, or a brat folder, into records.

    A span that ends after its text makes its record a bad one, as does anything the schema does not
    allow: the whole record is refused rather than one span dropped without a word.

    Args:
        path: the file, plain or compressed with gzip or xz; or a brat folder.
        format: one of `FORMATS`; None tells it from content and name.
        skip_bad: leave bad records out and count them in `skipped`, instead of raising.
        lenient: keep records whose spans end after the text, for `check` and `repair`.
        joiner: what stands between the tokens of a CoNLL file; None decides by the tokens.
        shift_end: added to the end of every span; 1 for a file whose ends turn out to be inclusive.

    Returns:
        The records with the line of each.

    Raises:
        DataError: the file cannot be read, is empty, or has a bad record; with path, line and fix.
        ValueError: the format has no such name.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = Path(folder.name, "a.jsonl")
        >>> line = '{"text": "Lake Como", "label": {"place": {"Como": [[5, 8]]}}}'
        >>> written = file.write_text(line)
        >>> corpus = read(file)
        >>> corpus.format, corpus.records[0].entities
        ('cluener', [Entity(start=5, end=9, label='place')])
        >>> folder.cleanup()
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise invalid("format", format, ", ".join(FORMATS))
    if joiner not in (None, "", " "):
        raise invalid("joiner", joiner, "None, '' or ' '")
    corpus = Corpus([], [], path, format or guess_format(path))
    for unit in _units(path, corpus.format, joiner):
        try:
            _add(corpus, _shifted(unit, shift_end), lenient)
        except DataError as error:
            if not skip_bad:
                raise
            # a new one: what was raised keeps the frames it passed through, and the bad record
            corpus.skipped.append(DataError(*error.args))
    if not corpus.records and not corpus.skipped:
        fix = "Write one record a line, or check the path."
        raise DataError(path, None, "the file has no records", fix)
    return corpus


def _add(corpus: Corpus, unit: _Unit, lenient: bool) -> None:
    """Add the record of one place to the corpus, or say what is wrong with it."""
    source = unit.source or str(corpus.path)
    for note in unit.notes:
        fix = "Compare the record with its source; the rest of it is read as it stands."
        corpus.notes.append(DataError(source, unit.line, note, fix))
    try:
        record = _record(unit.value, lenient)
    except FormatError as fault:
        raise DataError(source, unit.line, fault.reason, fault.fix) from None
    corpus.records.append(record)
    corpus.lines.append(unit.line)
    if unit.source is not None:
        corpus.sources.append(unit.source)


def _shifted(unit: _Unit, by: int) -> _Unit:
    """Move the ends of entities and arguments, before the schema looks at them."""
    if by and isinstance(unit.value, dict):
        events = unit.value.get("events")
        groups = [unit.value.get("entities")]
        groups += [e.get("arguments") for e in _listed(events) if isinstance(e, dict)]
        for span in chain.from_iterable(map(_listed, groups)):
            if isinstance(span, dict) and type(span.get("end")) is int:
                span["end"] += by
    return unit


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _record(value: dict[str, Any] | FormatError, lenient: bool) -> Record:
    if isinstance(value, FormatError):
        raise value
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        raise explain(error) from None
    if not lenient:
        for owner, start, end in spans_past_the_end(record):
            size = len(record.text)
            fix = f"Offsets count characters from 0 and end is exclusive, at most {size} here."
            reason = f"{owner} [{start}, {end}) ends after the text, which has {size} characters"
            raise FormatError(reason, fix)
    return record


def spans_past_the_end(record: Record) -> Iterator[tuple[str, int, int]]:
    """Find the spans of a record that end after its text.

    Args:
        record: the record.

    Yields:
        What the span is (an entity's label, or an event's role), its start and its end.

    Example:
        >>> record = Record(text="北京", entities=[dict(start=0, end=3, label="p")])
        >>> list(spans_past_the_end(record))
        [('p', 0, 3)]
    """
    size = len(record.text)
    for entity in record.entities:
        if entity.end > size:
            yield entity.label, entity.start, entity.end
    for event in record.events:
        yield from _arguments_past(event, size)


def _arguments_past(event: Event, size: int) -> Iterator[tuple[str, int, int]]:
    for argument in event.arguments:
        if argument.end > size:
            yield f"{event.type}.{argument.role}", argument.start, argument.end


def _units(path: Path, name: str, joiner: str | None) -> Iterator[_Unit]:
    if name == "brat":
        return _brat_units(path)
    if name in ("bio", "bioes", "bmes"):
        return _conll_units(path, joiner)
    items = json_list(path) if is_list(head_lines(path)) else json_lines(path)
    return _json_units(items, name)


def _json_units(items: Iterable[tuple[int, object]], name: str) -> Iterator[_Unit]:
    for line, item in items:
        unit = _Unit(line, FormatError("", ""))
        if isinstance(item, FormatError):
            unit.value = item
        elif not isinstance(item, dict):
            fix = 'Write one object a line: {"text": ...}.'
            unit.value = FormatError(f"{shorten(item)} is no JSON object", fix)
        else:
            unit.value = _decoded(item, name, unit.notes)
        yield unit


def _decoded(item: dict[str, Any], name: str, notes: list[str]) -> dict[str, Any] | FormatError:
    try:
        return _DECODE[name](item, notes)
    except ValidationError as error:
        return explain(error)
    except FormatError as fault:
        return fault


def _conll_units(path: Path, joiner: str | None) -> Iterator[_Unit]:
    # the joiner is decided by all tokens, so sentences wait for the last one
    found = list(conll.blocks(path))
    if joiner is None:
        words = (
            w for _, block in found if not isinstance(block, FormatError) for w in block["tokens"]
        )
        joiner = conll.guess_joiner(words)
    for line, block in found:
        unit = _Unit(line, FormatError("", ""))
        unit.value = (
            block if isinstance(block, FormatError) else conll.decode(block, joiner, unit.notes)
        )
        yield unit


def _brat_units(path: Path) -> Iterator[_Unit]:
    folder = path.is_dir()
    for name, line, document in brat.documents(path):
        base = path / name if folder else path.with_suffix("")
        unit = _Unit(line, FormatError("", ""), source=f"{base}.ann")
        if isinstance(document, FormatError):
            unit.value = document
        else:
            _read_document(unit, document, name)
        yield unit


def _read_document(unit: _Unit, document: brat.Document, name: str) -> None:
    try:
        unit.value = brat.decode(document, unit.notes)
        if not name.rpartition("/")[2].startswith("record-"):
            unit.value["id"] = name
    except DataError as error:
        unit.line, unit.value = error.line or 1, FormatError(error.reason, error.fix)
