"""Find what is wrong with labelled data before a model learns it.

| kind | severity | what |
|---|---|---|
| unreadable | error | a record that cannot be read |
| out-of-range | error | a span that ends after its text |
| off-by-one | error | the ends of the whole corpus are one character off (`off_by_one.py`) |
| white-space | error | a span that begins or ends with white space |
| too-long | error | an entity longer than the window: no model with that window can find it |
| noted | warning | what was odd in reading, such as a surface that is not at its offsets |
| crossing | warning | two entities that overlap while neither contains the other |
| duplicate-span | warning | the same label twice on the same span |
| duplicate-record | warning | a record that stands twice in one file |
| two-readings | warning | a text that stands twice in one file, with different labels |
| unalignable | warning | an entity that does not begin and end with a token |
| one-split-label | warning | a label that one of the files does not have |
| leak | warning | a text that stands in two files |
| windowed | info | texts longer than the window, which will be read in windows |
"""

from collections.abc import Iterator, Sequence

from kexue.data.alignment import Bounds, FastTokenizer, offsets, token_span
from kexue.data.explaining import shorten
from kexue.data.findings import Finding
from kexue.data.off_by_one import find_shift
from kexue.data.overlap import crossing_pairs
from kexue.data.reading import spans_past_the_end
from kexue.data.records import Corpus, Entity, Record


def check(
    corpora: Sequence[Corpus],
    *,
    tokenizer: FastTokenizer | None = None,
    window: int | None = None,
) -> list[Finding]:
    """Check corpora, each for itself and, as splits of one data set, against each other.

    Args:
        corpora: what `read` gave, best with `skip_bad=True, lenient=True`, so that everything that
            is wrong is found at once.
        tokenizer: a fast tokenizer of Hugging Face; without one alignment is not checked.
        window: tokens that the model reads at once; without a tokenizer, characters.

    Returns:
        The findings, file by file in the order of the lines.

    Example:
        >>> from pathlib import Path
        >>> record = Record(text="在北京 ", entities=[dict(start=1, end=4, label="place")])
        >>> print(check([Corpus([record], [1], Path("a.jsonl"), "jsonl")])[0])
        a.jsonl:1: error: white-space: place [1, 4) '北京 ' ... Trim it, or run with --fix.
    """
    found: list[Finding] = []
    for corpus in corpora:
        own = [*_reading(corpus), *_records(corpus), *_repeated(corpus)]
        own += _tokens(corpus, tokenizer, window)
        found += _corpus_wide(corpus)
        found += sorted(own, key=lambda f: (f.path, f.line or 0))
    if len(corpora) > 1:
        found += [*_labels(corpora), *_leaks(corpora)]
    return found


def _reading(corpus: Corpus) -> Iterator[Finding]:
    for error in corpus.skipped:
        args = (str(error.path), error.line, "unreadable", error.reason, error.fix)
        yield Finding(*args, severity="error")
    for note in corpus.notes:
        args = (str(note.path), note.line, "noted", note.reason, note.fix)
        yield Finding(*args, severity="warning")


def _corpus_wide(corpus: Corpus) -> Iterator[Finding]:
    shift = find_shift(corpus)
    if shift.by:
        kind = "inclusive, but are read as exclusive" if shift.by > 0 else "one character late"
        message = f"the ends are {kind}: {shift.votes} spans say so, {shift.against} do not"
        fix = f"Run with --fix, or read with shift_end={shift.by}."
        yield Finding(str(corpus.path), None, "off-by-one", message, fix, "error")


def _show(record: Record, entity: Entity) -> str:
    surface = shorten(record.text[entity.start : entity.end], 30)
    return f"{entity.label} [{entity.start}, {entity.end}) {surface}"


def _records(corpus: Corpus) -> Iterator[Finding]:
    for at, record in enumerate(corpus.records):
        place = corpus.place(at)
        size = len(record.text)
        for owner, start, end in spans_past_the_end(record):
            message = f"{owner} [{start}, {end}) ends after the text, which has {size} characters"
            fix = "Correct the offsets, or run with --fix to clip the end."
            yield Finding(*place, "out-of-range", message, fix, "error")
        yield from _edges(record, place)
        yield from _pairs(record, place)


def _edges(record: Record, place: tuple[str, int]) -> Iterator[Finding]:
    for entity in record.entities:
        surface = record.text[entity.start : entity.end]
        if surface != surface.strip():
            message = f"{_show(record, entity)} begins or ends with white space"
            fix = "Trim it, or run with --fix."
            yield Finding(*place, "white-space", message, fix, "error")


def _pairs(record: Record, place: tuple[str, int]) -> Iterator[Finding]:
    pairs = list(crossing_pairs(record.entities))
    if pairs:
        one, other = pairs[0]
        message = f"{_show(record, one)} and {_show(record, other)} cross"
        if len(pairs) > 1:
            message += f", as do {len(pairs) - 1} more pairs"
        fix = "Look whether one should contain the other."
        yield Finding(*place, "crossing", message, fix, "warning")
    seen: set[tuple[int, int, str]] = set()
    for entity in record.entities:
        key = (entity.start, entity.end, entity.label)
        if key in seen:
            fix = "Delete one, or run with --fix."
            message = f"{_show(record, entity)} stands twice"
            yield Finding(*place, "duplicate-span", message, fix, "warning")
        seen.add(key)


def reading_of(record: Record) -> frozenset[object]:
    """Give the labels of a record in a form that does not depend on their order.

    Args:
        record: the record.

    Returns:
        What two records with the same text must share to be the same.

    Example:
        >>> reading_of(Record(text="a")) == reading_of(Record(text="a", label="b"))
        False
    """
    spans = {(e.start, e.end, e.label) for e in record.entities}
    rest = {key: repr(value) for key, value in record if key in Record.model_fields}
    return frozenset(spans | {(key, value) for key, value in rest.items() if key != "entities"})


def _repeated(corpus: Corpus) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for at, record in enumerate(corpus.records):
        before = first.setdefault(record.text, at)
        if before == at:
            continue
        where = ":".join(map(str, corpus.place(before)))
        if reading_of(corpus.records[before]) == reading_of(record):
            message, kind = f"the same record stands at {where}", "duplicate-record"
            same = corpus.records[before] == record
            fix = "Delete one, or run with --fix." if same else "Delete one; further keys differ."
        else:
            message, kind = f"the same text stands with other labels at {where}", "two-readings"
            fix = "Decide which labels are right."
        yield Finding(*corpus.place(at), kind, message, fix, "warning")


def _tokens(
    corpus: Corpus, tokenizer: FastTokenizer | None, window: int | None
) -> Iterator[Finding]:
    if tokenizer is None and window is None:
        return
    records = corpus.records
    bounds = (
        offsets(records, tokenizer)
        if tokenizer
        else (_characters(len(record.text)) for record in records)
    )
    long = 0
    for at, (record, tokens) in enumerate(zip(records, bounds, strict=True)):
        long += window is not None and len(tokens[0]) > window
        for entity in record.entities:
            yield from _entity(record, entity, tokens, window, corpus.place(at))
    if long:
        message = f"{long} texts are longer than the window of {window}"
        fix = "Nothing to do: they are read in overlapping windows."
        yield Finding(str(corpus.path), None, "windowed", message, fix, "info")


def _characters(length: int) -> Bounds:
    return list(range(length)), list(range(1, length + 1))


def _entity(
    record: Record,
    entity: Entity,
    tokens: Bounds,
    window: int | None,
    place: tuple[str, int],
) -> Iterator[Finding]:
    exact, (first, after) = token_span(tokens, entity.start, min(entity.end, len(record.text)))
    if not exact:
        message = f"{_show(record, entity)} does not begin and end with a token"
        fix = "Correct the offsets, or take a tokenizer that splits there (a token a character)."
        yield Finding(*place, "unalignable", message, fix, "warning")
    if window is not None and after - first > window:
        message = f"{_show(record, entity)} has {after - first} tokens, the window {window}"
        yield Finding(
            *place, "too-long", message, "Widen the window, or split the entity.", "error"
        )


def _labels(corpora: Sequence[Corpus]) -> Iterator[Finding]:
    places: list[dict[str, list[int]]] = []
    for corpus in corpora:
        found: dict[str, list[int]] = {}
        for at, record in enumerate(corpus.records):
            for entity in record.entities:
                found.setdefault(entity.label, []).append(at)
        places.append(found)
    for label in sorted(set().union(*places)):
        having = [index for index, found in enumerate(places) if label in found]
        missing = [str(corpora[i].path) for i in range(len(corpora)) if i not in having]
        if missing:
            corpus, found_at = corpora[having[0]], places[having[0]][label]
            message = f"the label {label!r} ({len(found_at)} times) is not in {', '.join(missing)}"
            fix = "Move some of its records, or rename it."
            yield Finding(*corpus.place(found_at[0]), "one-split-label", message, fix, "warning")


def _leaks(corpora: Sequence[Corpus]) -> Iterator[Finding]:
    first: dict[str, tuple[int, int]] = {}
    for index, corpus in enumerate(corpora):
        for at, record in enumerate(corpus.records):
            before, line = first.setdefault(record.text, (index, at))
            if before != index:
                where = ":".join(map(str, corpora[before].place(line)))
                message = f"the text stands at {where} too: {shorten(record.text, 40)}"
                fix = "Delete it here, or the scores will flatter."
                yield Finding(*corpus.place(at), "leak", message, fix, "warning")
