"""From one line, or one JSON object, to a pair of texts with a score.

A text file has three fields a line (text, second text, score), or a first line that names its
columns, as SICK, PAWS-X and GLUE have. Tabs separate fields that are taken as they stand, quotes
included; commas separate fields that may be quoted. A record never goes over a line break.
"""

import math
import re
from typing import Any, NamedTuple

from kexue.data.explaining import shorten
from kexue.data.jsonl import join
from kexue.data.records import FormatError

_TEXTS = (
    *(("text", "pair"), ("text1", "text2"), ("text_a", "text_b"), ("sentence1", "sentence2")),
    *(("sentence_a", "sentence_b"), ("question1", "question2"), ("query1", "query2")),
)
_SCORES = ("label", "score", "similarity", "similarity_score", "relatedness_score", "is_duplicate")
_COMMA_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",]*))(,|\Z)')
_NUMBER = re.compile(r"[+-]?(?:\d+(\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class Columns(NamedTuple):
    """What the fields of a line are.

    Attributes:
        names: of the columns, in their order.
        open: whether more fields may follow; they are kept as `sources`.
    """

    names: tuple[str, ...]
    open: bool = False


COLUMNS = {
    "tsv": Columns(("text", "pair", "label")),
    "csv": Columns(("text", "pair", "label")),
    "parallel": Columns(("text", "pair"), open=True),
    "sts-benchmark": Columns(
        ("genre", "file", "year", "index", "label", "text", "pair"), open=True
    ),
}


def split_fields(line: str, separator: str) -> list[str]:
    r"""Split a line into its fields.

    Args:
        line: the line, without its end.
        separator: a tab, where quotes are characters like others, or a comma, where a field may
            stand between quotation marks and has to where one is in it.

    Returns:
        The fields.

    Raises:
        FormatError: a quotation mark that is not closed, or one in the wrong place.

    Example:
        >>> split_fields('"a, b",c,1', ","), split_fields('"a\tb', "\t")
        (['a, b', 'c', '1'], ['"a', 'b'])
    """
    if separator == "\t":
        return line.split("\t")
    fields, at, more = [], 0, True
    while more:
        match = _COMMA_FIELD.match(line, at)
        if match is None:
            fix = 'Put the field between quotation marks, and write " inside it twice.'
            reason = f"a quotation mark in field {len(fields) + 1} is not closed, or out of place"
            raise FormatError(reason, fix)
        fields.append(match[2] if match[1] is None else match[1].replace('""', '"'))
        at, more = match.end(), match[3] == ","
    return fields


def header(fields: list[str], *, scored: bool = True) -> Columns | None:
    """Read the first line of a file as the names of its columns.

    Args:
        fields: of the first line.
        scored: whether one of the columns has to be a score.

    Returns:
        The columns; None where no two texts and no score are among the names, and the line is a
        pair like the others.

    Raises:
        FormatError: a name that stands twice.

    Example:
        >>> header(["id", "sentence1", "sentence2", "score"]).names
        ('id', 'sentence1', 'sentence2', 'score')
        >>> header(["A man plays.", "A man is playing.", "4.5"]) is None
        True
    """
    names = tuple(field.strip() for field in fields)
    if _texts(names) is None or (scored and _score(names) is None):
        return None
    for name in names:
        if names.count(name) > 1:
            raise FormatError(f"the column {name!r} stands twice", "Rename one of the two.")
    return Columns(names)


def decode_fields(fields: list[str], columns: Columns, *, scored: bool = True) -> dict[str, Any]:
    """Turn the fields of a line into a record.

    Args:
        fields: of one line.
        columns: what they are.
        scored: whether one of them is a score.

    Returns:
        The object in the form of the schema: `text`, `pair` and, with a score, `label`; what is in
        other columns under their names.

    Raises:
        FormatError: another number of fields, an empty text, or a score that is no number.

    Example:
        >>> decode_fields(["花", "花儿", "4"], COLUMNS["tsv"])
        {'text': '花', 'pair': '花儿', 'label': 4}
    """
    names, count = columns.names, len(fields)
    if count < len(names) or (count > len(names) and not columns.open):
        wanted = f"{len(names)}{' or more' if columns.open else ''} ({', '.join(names)})"
        fix = "Mend the line; is a separator missing, or one too many?"
        raise FormatError(f"the line has {count} field{'s'[: count != 1]}, not {wanted}", fix)
    item: dict[str, Any] = dict(zip(names, fields, strict=False))
    sources = [field for field in fields[len(names) :] if field.strip()]
    if sources:
        item["sources"] = sources
    return decode_object(item, scored=scored)


def decode_object(item: dict[str, Any], *, scored: bool = True) -> dict[str, Any]:
    """Turn an object with two texts and a score into a record.

    Args:
        item: the object; the texts are `text` and `pair`, or have other usual names such as
            `sentence1` and `sentence2`; the score is `label`, `score` or `similarity`.
        scored: whether there has to be a score.

    Returns:
        The object in the form of the schema; further keys are kept.

    Raises:
        FormatError: a text or the score is missing, empty, or of the wrong kind.

    Example:
        >>> decode_object({"sentence1": "a", "sentence2": "b", "score": "0.5", "id": 7})
        {'text': 'a', 'pair': 'b', 'label': 0.5, 'id': 7}
    """
    names = tuple(item)
    texts, score = _texts(names), _score(names) if scored else None
    if texts is None or (scored and score is None):
        missing = "two texts" if texts is None else "score"
        fix = 'Write {"text": "...", "pair": "...", "label": 1}.'
        if texts is not None:
            fix = 'Add a "label", or read the pairs without one: format "parallel".'
        raise FormatError(f"there is no {missing} among the keys {shorten(list(names))}", fix)
    values = [item[name] for name in texts]
    for which, value in zip(("first", "second"), values, strict=True):
        if not isinstance(value, str) or not value.strip():
            given = "empty" if isinstance(value, str) else f"{shorten(value)}, not a string"
            raise FormatError(f"the {which} text is {given}", "A pair needs two texts.")
    label = parse_score(item[score]) if score is not None else None
    rest = {name: item[name] for name in names if name not in (*texts, score)}
    return join(rest, text=values[0], pair=values[1], label=label)


def parse_score(value: object) -> int | float:
    """Read a score: a JSON number, or its digits.

    Args:
        value: what stands in its place.

    Returns:
        An integer where it is written as one, else a float.

    Raises:
        FormatError: no finite number.

    Example:
        >>> parse_score("4.250"), parse_score(" 1"), parse_score(0.5)
        (4.25, 1, 0.5)
    """
    text = value.strip() if isinstance(value, str) else ""
    fix = "Write a number, with a point before the decimals."
    if isinstance(value, bool) or not (isinstance(value, int | float) or _NUMBER.fullmatch(text)):
        raise FormatError(f"the score is {shorten(value)}, not a number", fix)
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FormatError(f"the score {shorten(value)} is not a finite number", fix)
    whole = isinstance(value, int) or (text and text.lstrip("+-").isdigit())
    return int(number) if whole and abs(number) < 2**53 else number


def is_score(field: str) -> bool:
    """Tell whether a field is the score of a pair.

    Args:
        field: the text of the field.

    Returns:
        Whether `parse_score` takes it.

    Example:
        >>> is_score("3.5"), is_score("three")
        (True, False)
    """
    try:
        parse_score(field)
    except FormatError:
        return False
    return True


def _texts(names: tuple[str, ...]) -> tuple[str, str] | None:
    """Find the names of the two texts, whatever their capitals."""
    known = {name.lower(): name for name in names}
    return next(((known[a], known[b]) for a, b in _TEXTS if a in known and b in known), None)


def _score(names: tuple[str, ...]) -> str | None:
    known = {name.lower(): name for name in names}
    return next((known[name] for name in _SCORES if name in known), None)
