"""Texts with their line numbers: one a line, or in the field "text" of JSON lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kexue.data.records import DataError, FormatError
from kexue.data.source import decode, numbered_lines, parse_json

_FIX = 'Write {"text": "..."} a line.'


class TextLine(NamedTuple):
    """A text and where it stands.

    Attributes:
        number: of its line, from 1.
        text: the text.

    Example:
        >>> TextLine(1, "北京").text
        '北京'
    """

    number: int
    text: str


def text_lines(path: str | Path) -> Iterator[TextLine]:
    r"""Stream the texts of a file; blank lines are passed over.

    A line that is a JSON object is read for its "text". In a file called .jsonl every line must be
    one; in other files a line that only looks like one is a text.

    Args:
        path: the file, plain or compressed with gzip or xz.

    Yields:
        The texts that are not blank.

    Raises:
        DataError: the file cannot be read, or a line is broken; with path, line and fix.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     _ = file.write_text('一\n\n{"text": "二"}\n', encoding="utf-8")
        ...     [(line.number, line.text) for line in text_lines(file)]
        [(1, '一'), (3, '二')]
    """
    path = Path(path)
    name = path.name.lower().removesuffix(".gz").removesuffix(".xz")
    strict = name.endswith(".jsonl")
    for number, raw in numbered_lines(path):
        try:
            if isinstance(raw, FormatError):
                raise raw
            text = _text(decode(raw), strict)
        except FormatError as fault:
            raise DataError(path, number, fault.reason, fault.fix) from None
        if text.strip():
            yield TextLine(number, text)


def _text(line: str, strict: bool) -> str:
    stripped = line.strip()
    if not stripped or not (strict or stripped.startswith("{")):
        return line
    try:
        value, end = parse_json(stripped)
    except FormatError:
        if strict:
            raise
        return line
    if end < len(stripped):
        if strict:
            raise FormatError("there is more after the JSON value", _FIX)
        return line
    text = value.get("text") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise FormatError("there is no text", _FIX)
    return text
