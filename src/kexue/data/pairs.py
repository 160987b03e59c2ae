"""Read pairs of sentences with a score of their similarity, in the formats of the usual sets.

    tsv             text TAB text TAB score, or a first line that names the columns (SICK, PAWS-X)
    csv             the same with commas and quotation marks
    sts-benchmark   genre, file, year, index, score, text, text and sources, between tabs
    semeval         a folder of STS12 to STS16: STS.input.NAME.txt beside STS.gs.NAME.txt
    jsonl           {"text": ..., "pair": ..., "label": 0.5} a line, or one JSON list
    parallel        text TAB text, or objects, of two texts that mean the same, without a score

Each pair is a `Record` with `text`, `pair` and the score as `label`. Everything else is kept.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from kexue._check import invalid
from kexue.data.explaining import explain, shorten
from kexue.data.guess import head_lines
from kexue.data.json_list import is_list, json_list
from kexue.data.pair_lines import (
    COLUMNS,
    decode_fields,
    decode_object,
    header,
    is_score,
    split_fields,
)
from kexue.data.records import Corpus, DataError, FormatError, Record
from kexue.data.semeval import Pair, is_subset, read_subsets
from kexue.data.source import decode, json_lines, numbered_lines

PAIR_FORMATS = ("tsv", "csv", "sts-benchmark", "semeval", "jsonl", "parallel")


def read_pairs(path: str | Path, *, format: str | None = None, skip_bad: bool = False) -> Corpus:
    r"""Read pairs of texts with their scores.

    Args:
        path: the file, plain or compressed with gzip or xz; or a folder of STS12 to STS16.
        format: one of `PAIR_FORMATS`; None tells it from content and name. "parallel", whose pairs
            have no score, has to be named.
        skip_bad: leave bad pairs out and count them in `skipped`, instead of raising.

    Returns:
        The pairs as records, with the line of each. In a folder each names its `subset`; pairs that
        nobody scored are left out and counted in `notes`.

    Raises:
        DataError: the file cannot be read, is empty, or has a bad pair; with path, line and fix.
        ValueError: the format has no such name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.tsv")
        ...     _ = file.write_text("花开了\t花儿开了\t4.5\n", encoding="utf-8")
        ...     read_pairs(file).records[0].to_dict()
        {'text': '花开了', 'label': 4.5, 'pair': '花儿开了'}
    """
    path = Path(path)
    if format is not None and format not in PAIR_FORMATS:
        raise invalid("format", format, ", ".join(PAIR_FORMATS))
    corpus = Corpus([], [], path, format or guess_pair_format(path))
    folder = path.is_dir()
    for place in _pairs(corpus):
        try:
            record = _record(place)
        except DataError as error:
            if not skip_bad:
                raise
            # a new one: what was raised keeps the frames it passed through
            corpus.skipped.append(DataError(*error.args))
            continue
        corpus.records.append(record)
        corpus.lines.append(place.line)
        if folder:
            corpus.sources.append(str(place.path))
    if not corpus.records and not corpus.skipped:
        fix = "Write one pair a line, or check the path."
        raise DataError(path, None, "the file has no pairs", fix)
    return corpus


def split_subsets(corpus: Corpus) -> dict[str, Corpus]:
    """Take the subsets of a corpus apart, for scores that are averaged over them.

    Args:
        corpus: from `read_pairs`.

    Returns:
        Name and records of each subset, in the order of the first records; where there are no
        subsets, the whole under the name of the file.

    Example:
        >>> records = [Record(text="a", pair="b", label=1, subset=s) for s in ("OnWN", "FNWN")]
        >>> corpus = Corpus(records, [1, 1], Path("STS13-en-test"), "semeval")
        >>> [(name, len(part)) for name, part in split_subsets(corpus).items()]
        [('OnWN', 1), ('FNWN', 1)]
    """
    found: dict[str, Corpus] = {}
    for index, record in enumerate(corpus.records):
        name = str((record.model_extra or {}).get("subset", corpus.path.name))
        part = found.setdefault(name, Corpus([], [], corpus.path, corpus.format))
        part.records.append(record)
        part.lines.append(corpus.lines[index])
        if corpus.sources:
            part.sources.append(corpus.sources[index])
    return found


def guess_pair_format(path: str | Path) -> str:
    r"""Tell the format of a file of pairs: each of its first lines has a vote.

    Args:
        path: the file or folder.

    Returns:
        One of `PAIR_FORMATS`, never "parallel".

    Raises:
        DataError: the file cannot be read, is empty, has no scores, or looks like none of them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.csv")
        ...     _ = file.write_text('sentence1,sentence2,score\n"One, two.",One.,3.2\n')
        ...     guess_pair_format(file)
        'csv'
    """
    path = Path(path)
    if path.is_dir() or is_subset(path):
        return "semeval"
    named = f"Name the format, one of: {', '.join(PAIR_FORMATS)}."
    if path.exists() and not path.is_file():
        raise DataError(path, None, "the format of a pipe cannot be guessed", named)
    head = head_lines(path)
    if not any(line.strip() for line in head):
        fix = "Write one pair a line, or check the path."
        raise DataError(path, None, "the file has no pairs", fix)
    found = _most_voted(head)
    if found == "parallel":
        fix = 'Add a score as a third field, or read them without one: format "parallel".'
        raise DataError(path, None, "these pairs have no score", fix)
    if found == "":
        raise DataError(path, None, "the format cannot be told from the content", named)
    return found


def _most_voted(head: list[bytes]) -> str:
    """Tell the format of most lines, "" where no line has one; a header decides alone."""
    lines = [raw.decode("utf-8", "replace") for raw in head if raw.strip()]
    for name, separator in (("tsv", "\t"), ("csv", ",")):
        if lines and _is_header(lines[0], separator):
            return name
    votes = Counter(filter(None, map(_line_format, lines)))
    most = votes.most_common(1)[0][0] if votes else ""
    return "jsonl" if is_list(head) else most


def _is_header(line: str, separator: str) -> bool:
    try:
        fields = split_fields(line, separator)
    except FormatError:
        return False
    try:
        return header(fields) is not None
    except FormatError:
        return True  # one with a fault, which reading will name


def _line_format(line: str) -> str:
    """Tell the format of one line; "" where it is none."""
    if line.lstrip().startswith("{"):
        return "jsonl"
    fields = line.split("\t")
    if len(fields) >= len(COLUMNS["sts-benchmark"].names) and is_score(fields[4]):
        return "sts-benchmark"
    if len(fields) > 1:
        scored = len(fields) == 3 and is_score(fields[2])
        return "tsv" if scored else "parallel" if len(fields) == 2 else ""
    try:
        fields = split_fields(line, ",")
    except FormatError:
        return ""
    return "csv" if len(fields) == 3 and is_score(fields[2]) else ""


def _pairs(corpus: Corpus) -> Iterator[Pair]:
    path = corpus.path
    if corpus.format == "semeval":
        return read_subsets(path, corpus.notes)
    if path.is_dir():
        fix = 'Name a file; only the format "semeval" is a folder.'
        raise DataError(path, None, "this is a folder", fix)
    scored = corpus.format != "parallel"
    head = [] if scored else head_lines(path)
    if corpus.format == "jsonl" or _most_voted(head) == "jsonl":
        return _json_pairs(path, scored)
    return _line_pairs(path, corpus.format, scored)


def _json_pairs(path: Path, scored: bool) -> Iterator[Pair]:
    items = json_list(path) if is_list(head_lines(path)) else json_lines(path)
    for line, item in items:
        if isinstance(item, FormatError):
            yield Pair(path, line, item)
        elif not isinstance(item, dict):
            fix = 'Write one object a line: {"text": "...", "pair": "...", "label": 1}.'
            yield Pair(path, line, FormatError(f"{shorten(item)} is no JSON object", fix))
        else:
            try:
                yield Pair(path, line, decode_object(item, scored=scored))
            except FormatError as fault:
                yield Pair(path, line, fault)


def _line_pairs(path: Path, name: str, scored: bool) -> Iterator[Pair]:
    separator, columns = "," if name == "csv" else "\t", COLUMNS[name]
    first = name != "sts-benchmark"  # which never has a header
    for line, raw in numbered_lines(path):
        if not isinstance(raw, FormatError) and not raw.strip():
            continue
        try:
            if isinstance(raw, FormatError):
                raise raw
            fields = split_fields(decode(raw), separator)
            found = header(fields, scored=scored) if first else None
            first = False
            if found is None:
                yield Pair(path, line, decode_fields(fields, columns, scored=scored))
            columns = found or columns
        except FormatError as fault:
            first = False
            yield Pair(path, line, fault)


def _record(place: Pair) -> Record:
    """Check one pair against the schema, or say where and what is wrong."""
    fault = place.value
    if isinstance(fault, dict):
        try:
            return Record.model_validate(fault)
        except ValidationError as error:
            fault = explain(error)
    raise DataError(place.path, place.line, fault.reason, fault.fix)
