"""Mend what can be mended without deciding anything, and list every change.

Mended: ends one character off in the whole corpus, spans that end after the text, white space at
the edges of spans, spans and records that stand twice. All the rest is listed as left.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kexue.data.check import check
from kexue.data.conll import file_joiner
from kexue.data.conll_writing import SCHEMES
from kexue.data.findings import Finding
from kexue.data.off_by_one import find_shift
from kexue.data.reading import read
from kexue.data.records import Argument, Corpus, Entity, Event, Record
from kexue.data.writing import write, write_text


@dataclass(frozen=True)
class Change:
    """One thing that was mended.

    Args:
        path: the file.
        line: the line of the record, None where the whole file is meant.
        kind: the rule of `check` that asked for it.
        what: what was changed into what.

    Example:
        >>> print(Change("a.jsonl", 3, "white-space", "place [1, 4) becomes [1, 3)"))
        a.jsonl:3: white-space: place [1, 4) becomes [1, 3)
    """

    path: str
    line: int | None
    kind: str
    what: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.kind}: {self.what}"


@dataclass(frozen=True)
class Repair:
    """A mended corpus.

    Args:
        corpus: the mended records.
        changes: everything that was changed.
        left: what could not be mended.

    Example:
        >>> Repair(Corpus([], [], Path("a.jsonl"), "jsonl"), [], []).changes
        []
    """

    corpus: Corpus
    changes: list[Change]
    left: list[Finding]

    def to_dict(self) -> dict[str, Any]:
        """Give the report as a JSON object, without the records.

        Returns:
            A new dict.
        """
        return {
            "path": str(self.corpus.path),
            "format": self.corpus.format,
            "records": len(self.corpus),
            "changes": [asdict(change) for change in self.changes],
            "left": [finding.to_dict() for finding in self.left],
        }


def repair(corpus: Corpus) -> Repair:
    """Mend the records of a corpus; one that is off by one must be read anew first.

    Args:
        corpus: what `read` gave with `skip_bad=True, lenient=True`.

    Returns:
        New records with the list of changes; the given ones stay as they are.

    Example:
        >>> record = Record(text="在北京 ", entities=[dict(start=1, end=4, label="place")])
        >>> mended = repair(Corpus([record], [1], Path("a.jsonl"), "jsonl"))
        >>> mended.corpus.records[0].entities
        [Entity(start=1, end=3, label='place')]
        >>> print(mended.changes[0])
        a.jsonl:1: white-space: place [1, 4) becomes [1, 3)
    """
    records: list[Record] = []
    kept: list[int] = []
    changes: list[Change] = []
    seen: dict[str, str] = {}
    for at, record in enumerate(corpus.records):
        place = corpus.place(at)
        mended = _record(record, lambda kind, what, p=place: changes.append(Change(*p, kind, what)))
        where = ":".join(map(str, place))
        before = seen.setdefault(json.dumps(mended.to_dict(), sort_keys=True, default=repr), where)
        # a line may hold several records of a list, so the place alone does not tell
        if before != where:
            changes.append(Change(*place, "duplicate-record", f"left out, it stands at {before}"))
            continue
        records.append(mended)
        kept.append(at)
    lines = [corpus.lines[at] for at in kept]
    sources = [corpus.sources[at] for at in kept] if corpus.sources else []
    result = Corpus(
        records, lines, corpus.path, corpus.format, corpus.skipped, corpus.notes, sources
    )
    return Repair(result, changes, check([result]))


Note = Callable[[str, str], None]


def _record(record: Record, note: Note) -> Record:
    """Mend the spans of one record; relations follow their entities."""
    index: dict[int, int | None] = {}
    seen: dict[tuple[int, int, str], int] = {}
    entities: list[Entity] = []
    for at, entity in enumerate(record.entities):
        mended = _span(entity, record.text, entity.label, note)
        key = (mended.start, mended.end, mended.label) if mended else None
        if mended is None:
            index[at] = None
        elif key in seen and entities[seen[key]] == mended:
            note("duplicate-span", f"{mended.label} [{mended.start}, {mended.end}) kept once")
            index[at] = seen[key]
        else:
            index[at] = seen[key] = len(entities)  # type: ignore[index]
            entities.append(mended)
    if entities == record.entities and not record.events:
        return record
    update: dict[str, Any] = {"entities": entities, "relations": _relations(record, index, note)}
    update["events"] = [_event(event, record.text, note) for event in record.events]
    changed = {key: value for key, value in update.items() if value != getattr(record, key)}
    return record.model_copy(update=changed) if changed else record


def _relations(record: Record, index: dict[int, int | None], note: Note) -> list[Any]:
    found = []
    for relation in record.relations:
        head, tail = index[relation.head], index[relation.tail]
        if head is None or tail is None:
            note("out-of-range", f"relation {relation.label} left out with its entity")
        else:
            found.append(relation.model_copy(update={"head": head, "tail": tail}))
    return found


def _event(event: Event, text: str, note: Note) -> Event:
    spans = [_span(a, text, f"{event.type}.{a.role}", note) for a in event.arguments]
    return event.model_copy(update={"arguments": [span for span in spans if span is not None]})


def _span(span: Entity | Argument, text: str, name: str, note: Note) -> Any:
    """Clip and trim a span; None where nothing of it is left."""
    start, end = span.start, min(span.end, len(text))
    kind = "white-space" if end == span.end else "out-of-range"
    surface = text[start:end]
    if not surface.strip():
        note(kind, f"{name} [{span.start}, {span.end}) left out, nothing of it is in the text")
        return None
    start, end = start + len(surface) - len(surface.lstrip()), start + len(surface.rstrip())
    if (start, end) == (span.start, span.end):
        return span
    note(kind, f"{name} [{span.start}, {span.end}) becomes [{start}, {end})")
    return span.model_copy(update={"start": start, "end": end})


def repair_file(
    path: str | Path, *, format: str | None = None, joiner: str | None = None
) -> tuple[Repair, Path, Path]:
    """Mend a file: the mended one and a report appear beside it, the file itself stays.

    Args:
        path: the file or brat folder.
        format: its format; None tells it from the content.
        joiner: what stands between the tokens of a CoNLL file.

    Returns:
        The repair, the path of the mended file (`a.jsonl` becomes `a.fixed.jsonl`) and of the
        report (`a.fixed.report.json`).

    Raises:
        DataError: the file cannot be read at all, or cannot be written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = Path(folder.name, "a.jsonl")
        >>> spans = [{"start": 0, "end": 9, "label": "place"}]
        >>> written = file.write_text(json.dumps({"text": "Como", "entities": spans}))
        >>> mended, fixed, report = repair_file(file)
        >>> fixed.name, read(fixed).records[0].entities
        ('a.fixed.jsonl', [Entity(start=0, end=4, label='place')])
        >>> folder.cleanup()
    """
    corpus = read(path, format=format, joiner=joiner, skip_bad=True, lenient=True)
    shift = find_shift(corpus)
    first: list[Change] = []
    if shift.by:
        options = {"format": corpus.format, "joiner": joiner, "shift_end": shift.by}
        corpus = read(path, skip_bad=True, lenient=True, **options)  # type: ignore[arg-type]
        # the notes were about the ends that have just been moved
        corpus.notes.clear()
        what = f"every end moved by {shift.by:+d}: {shift.votes} spans say so, {shift.against} not"
        first.append(Change(str(corpus.path), None, "off-by-one", what))
    mended = repair(corpus)
    mended = Repair(mended.corpus, [*first, *mended.changes], mended.left)
    fixed, report = _targets(corpus.path, corpus.format)
    if joiner is None and corpus.format in SCHEMES:
        joiner = file_joiner(corpus.path)
    write(mended.corpus, fixed, format=corpus.format, joiner=joiner)
    write_text(json.dumps(mended.to_dict(), ensure_ascii=False, indent=1) + "\n", report)
    return mended, fixed, report


def _targets(path: Path, format: str) -> tuple[Path, Path]:
    """Put `.fixed` before the endings: `train.jsonl.gz` becomes `train.fixed.jsonl.gz`."""
    stem, dot, endings = path.name.partition(".") if not path.is_dir() else (path.name, "", "")
    if format == "brat" and dot:
        endings = "ann"
    fixed = path.with_name(f"{stem}.fixed{dot}{endings}")
    return fixed, path.with_name(f"{stem}.fixed.report.json")
