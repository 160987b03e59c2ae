r"""Read texts, or pairs of texts, that have one label each.

    jsonl  {"text": ..., "label": ...} a line, with a "pair" where there is one, or one JSON list
    tsv    text TAB label, or text TAB pair TAB label, or a first line that names the columns
    csv    the same with commas and quotation marks

Each is a `Record` with `text`, `pair` and `label`; a label is a name, also where it is written as a
number. Everything else is kept.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kexue._check import invalid
from kexue.data.explaining import explain, shorten
from kexue.data.guess import head_lines
from kexue.data.json_list import is_list, json_list
from kexue.data.pair_lines import split_fields
from kexue.data.records import Corpus, DataError, FormatError, Record
from kexue.data.source import decode, json_lines, numbered_lines

LABELLED_TEXT_FORMATS = ("jsonl", "tsv", "csv")

# What the columns of the usual sets are called; the first of them that is there counts.
_NAMES = {
    "text": (
        *("text", "sentence", "review", "content", "text_a", "text1"),
        *("sentence1", "sentence_a", "question1", "query1"),
    ),
    "pair": ("pair", "text_b", "text2", "sentence2", "sentence_b", "question2", "query2"),
    "label": ("label", "category", "class", "sentiment"),
}
_WITHOUT_HEADER = {2: ("text", "label"), 3: ("text", "pair", "label")}


def read_labelled_texts(
    path: str | Path,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
) -> Corpus:
    r"""Read texts with a label each.

    Args:
        path: the file, plain or compressed with gzip or xz.
        format: one of `LABELLED_TEXT_FORMATS`; None tells it from the content.
        columns: which columns or keys hold "text", "pair" and "label", where their names do not
            tell; a column "pair" that is not there is an error only if it is named here.
        skip_bad: leave bad texts out and count them in `skipped`, instead of raising.

    Returns:
        The texts as records, with the line of each; every `label` is a string.

    Raises:
        DataError: the file cannot be read, is empty, or has a bad text; with path, line and fix.
        ValueError: the format or a column has no such name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.tsv")
        ...     _ = file.write_text("花开了\t1\n下雨了\t0\n", encoding="utf-8")
        ...     [record.to_dict() for record in read_labelled_texts(file)]
        [{'text': '花开了', 'label': '1'}, {'text': '下雨了', 'label': '0'}]
    """
    path, columns = Path(path), dict(columns or {})
    if format is not None and format not in LABELLED_TEXT_FORMATS:
        raise invalid("format", format, ", ".join(LABELLED_TEXT_FORMATS))
    for name in columns.keys() - _NAMES.keys():
        raise invalid("columns", name, "text, pair and label", "Write label=NAME, for example.")
    corpus = Corpus([], [], path, format or _guess_format(path))
    for line, item in _items(path, corpus.format, columns):
        try:
            record = _record(item, columns, corpus.records[:1])
        except FormatError as fault:
            error = DataError(path, line, fault.reason, fault.fix)
            if not skip_bad:
                raise error from None
            corpus.skipped.append(error)
            continue
        corpus.records.append(record)
        corpus.lines.append(line)
    if not corpus.records and not corpus.skipped:
        raise _empty(path)
    return corpus


def _empty(path: Path) -> DataError:
    fix = "Write one text and its label a line, or check the path."
    return DataError(path, None, "the file has no texts", fix)


def _guess_format(path: Path) -> str:
    """Tell the format from the first lines."""
    lines = [raw.strip(b" \r") for raw in head_lines(path) if raw.strip()]
    if not lines:
        raise _empty(path)
    if is_list(lines) or lines[0].startswith(b"{"):
        return "jsonl"
    for name, separator in (("tsv", b"\t"), ("csv", b",")):
        if 2 * sum(separator in line for line in lines) > len(lines):
            return name
    fix = 'Write a tab between text and label, or {"text": "...", "label": "..."} a line.'
    raise DataError(path, None, "its lines have no two columns", fix)


def _items(
    path: Path, name: str, columns: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, Any] | FormatError]]:
    """Give what stands on each line by column, or what is wrong with the line."""
    if name != "jsonl":
        yield from _rows(path, "\t" if name == "tsv" else ",", columns)
        return
    for line, item in json_list(path) if is_list(head_lines(path)) else json_lines(path):
        if not isinstance(item, dict | FormatError):
            fix = 'Write one object a line: {"text": "...", "label": "..."}.'
            yield line, FormatError(f"{shorten(item)} is no JSON object", fix)
        else:
            yield line, item


def _rows(
    path: Path, separator: str, columns: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, Any] | FormatError]]:
    names: tuple[str, ...] | None = None
    for line, raw in numbered_lines(path):
        if not isinstance(raw, FormatError) and not raw.strip():
            continue
        try:
            if isinstance(raw, FormatError):
                raise raw
            fields = split_fields(decode(raw), separator)
            if names is None:
                names = _header(fields, columns)
                if names is not None:
                    continue
                names = _names_of(len(fields))
            _check_count(fields, names)
            yield line, dict(zip(names, fields, strict=True))
        except FormatError as fault:
            yield line, fault


def _header(fields: list[str], columns: Mapping[str, str]) -> tuple[str, ...] | None:
    """Read a first line as names of columns; None where it is a text like the others."""
    names = tuple(field.strip() for field in fields)
    for name in columns.values():
        if name not in names:
            fix = "The first line of the file has to name its columns."
            raise FormatError(f"there is no column {name!r} among {shorten(list(names))}", fix)
    item = dict.fromkeys(names)
    if _key(item, "text", columns) is None or _key(item, "label", columns) is None:
        return None
    for name in names:
        if names.count(name) > 1:
            raise FormatError(f"the column {name!r} stands twice", "Rename one of the two.")
    return names


def _names_of(count: int) -> tuple[str, ...]:
    """Name the columns of a file without a header."""
    if count not in _WITHOUT_HEADER:
        fix = "Write text and label, or text, pair and label, or name the columns in a first line."
        raise FormatError(f"the line has {count} field{'s'[: count != 1]}, not 2 or 3", fix)
    return _WITHOUT_HEADER[count]


def _check_count(fields: list[str], names: tuple[str, ...]) -> None:
    if len(fields) != len(names):
        count = len(fields)
        fix = "Mend the line; is a separator missing, or one too many?"
        wanted = f"{len(names)} ({', '.join(names)})"
        raise FormatError(f"the line has {count} field{'s'[: count != 1]}, not {wanted}", fix)


def _key(item: Mapping[str, Any], what: str, columns: Mapping[str, str]) -> str | None:
    """Find the column that holds "text", "pair" or "label", whatever its capitals."""
    if what in columns:
        return columns[what] if columns[what] in item else None
    known = {name.lower(): name for name in item}
    return next((known[name] for name in _NAMES[what] if name in known), None)


def _record(
    item: dict[str, Any] | FormatError, columns: Mapping[str, str], before: list[Record]
) -> Record:
    """Check one text against the schema and against the first one."""
    if isinstance(item, FormatError):
        raise item
    keys = {what: _key(item, what, columns) for what in _NAMES}
    found: dict[str, Any] = {"text": _text(item, keys["text"], "text")}
    if keys["pair"] is not None and item[keys["pair"]] is not None:
        found["pair"] = _text(item, keys["pair"], "second text")
    elif "pair" in columns:
        raise FormatError(f"there is no {columns['pair']!r}", "A pair needs two texts.")
    found["label"] = _label(item, keys["label"])
    # A column of such a name that is not the one that was named is kept under another name.
    rest = {f"{key}_" if key in _NAMES else key: value for key, value in item.items()}
    for key in filter(None, keys.values()):
        rest.pop(f"{key}_" if key in _NAMES else key)
    try:
        record = Record.model_validate({**rest, **found})
    except ValidationError as error:
        raise explain(error) from None
    if before and (record.pair is None) != (before[0].pair is None):
        fix = "Texts and pairs of texts need a file and a model each."
        kinds = ("a pair", "one text") if record.pair is not None else ("one text", "a pair")
        raise FormatError(f"this is {kinds[0]}, and the first of the file is {kinds[1]}", fix)
    return record


def _text(item: Mapping[str, Any], key: str | None, what: str) -> str:
    if key is None:
        fix = 'Write {"text": "...", "label": "..."}, or say which column it is: text=NAME.'
        raise FormatError(f"there is no {what} among {shorten(list(item))}", fix)
    value = item[key]
    if not isinstance(value, str) or not value.strip():
        given = "empty" if isinstance(value, str) else f"{shorten(value)}, not a string"
        raise FormatError(f"the {what} is {given}", "Leave the line out, or mend it.")
    return value


def _label(item: Mapping[str, Any], key: str | None) -> str:
    value = None if key is None else item[key]
    if value is None:
        fix = 'Add a "label", or say which column it is: label=NAME.'
        raise FormatError(f"there is no label among {shorten(list(item))}", fix)
    if isinstance(value, bool) or not isinstance(value, str | int):
        fix = "Give each text one label, a name or a whole number."
        raise FormatError(f"the label is {shorten(value)}, not one name", fix)
    label = str(value).strip()
    if not label:
        raise FormatError("the label is empty", "Leave the line out, or mend it.")
    return label
