"""From bytes on disk to numbered lines and JSON values, every damage named by its line."""

import gzip
import json
import lzma
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from kexue.data.records import DataError, FormatError

MAX_LINE = 8 * 2**20  # bytes: a record this long is a broken file, not a text
MAX_DEPTH = 100
BOM = b"\xef\xbb\xbf"
_DAMAGED = (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error, OSError)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; gzip and xz are recognised by their first bytes.

    Args:
        path: a plain, gzip or xz file.

    Yields:
        A stream of the content, decompressed.

    Raises:
        DataError: the file is missing, a folder, or cannot be opened.
    """
    with _open(path) as raw:
        head = raw.peek(6)
        if head.startswith(b"\x1f\x8b\x08"):
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream
        elif head.startswith(b"\xfd7zXZ\x00"):
            with lzma.LZMAFile(raw) as stream:
                yield stream
        else:
            yield raw


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(path, None, "there is no such file", "Check the path.") from None
    except IsADirectoryError:
        fix = "Name a file, or a folder with .txt and .ann files (brat)."
        raise DataError(path, None, "this is a folder", fix) from None
    except (OSError, ValueError) as error:
        fix = "Check the path and the permissions."
        raise DataError(path, None, f"the file cannot be opened ({error})", fix) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes | FormatError]]:
    """Stream the lines of a file; a line that cannot be had is a fault in its place.

    Args:
        path: a plain, gzip or xz file.

    Yields:
        Line number (1-based) and the line without its end, a byte order mark at the start of the
        file taken off.
    """
    number = 0
    with open_bytes(path) as stream:
        while True:
            number += 1
            try:
                line = stream.readline(MAX_LINE + 1)
                if not line:
                    return
                if len(line) > MAX_LINE and not line.endswith(b"\n"):
                    _skip_line(stream)
                    yield number, _too_long()
                    continue
            except _DAMAGED as error:
                fix = "What comes before this line was read; fetch or compress the file again."
                yield number, FormatError(f"the file breaks off here ({error})", fix)
                return
            if number == 1:
                line = line.removeprefix(BOM)
            yield number, line.removesuffix(b"\n").removesuffix(b"\r")


def _skip_line(stream: BinaryIO) -> None:
    """Read on to the end of an over-long line without keeping it."""
    while True:
        part = stream.readline(2**20)
        if not part or part.endswith(b"\n"):
            return


def _too_long() -> FormatError:
    fix = "Split the text; is a line break missing?"
    return FormatError(f"the line is longer than {MAX_LINE // 2**20} MiB", fix)


def read_whole(path: Path) -> bytes:
    """Read a whole file, for formats that are one JSON value or one document.

    Args:
        path: a plain, gzip or xz file.

    Returns:
        Its content, a byte order mark at the start taken off.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open_bytes(path) as stream:
            return stream.read().removeprefix(BOM)
    except _DAMAGED as error:
        fix = "Fetch or compress the file again."
        raise DataError(path, None, f"the file is damaged ({error})", fix) from None


def decode(raw: bytes) -> str:
    r"""Decode a line as UTF-8.

    Args:
        raw: the bytes.

    Returns:
        The text.

    Raises:
        FormatError: bytes that are not UTF-8, a NUL, or a byte order mark at the start.

    Example:
        >>> decode("北京".encode("gb18030"))
        Traceback (most recent call last):
        kexue.data.records.FormatError: byte 1 (0xb1) is not UTF-8. Save ...
    """
    if b"\x00" in raw:
        fix = "Save the file as UTF-8 (iconv -f utf-16 -t utf-8), or delete the byte."
        raise FormatError(f"byte {raw.index(0) + 1} is a NUL", fix)
    if raw.startswith(BOM):
        fix = "Delete the bytes EF BB BF; only the start of a file may carry them."
        raise FormatError("the line begins with a byte order mark", fix)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} (0x{raw[error.start]:02x}) is not UTF-8"
        fix = "Save the file as UTF-8, for example: iconv -f gb18030 -t utf-8."
        raise FormatError(reason, fix) from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object, refusing a key that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise FormatError(f"the key {twice!r} stands twice in one object", "Keep one of the two.")
    return found


def _constant(name: str) -> float:
    raise FormatError(f"{name} is not a JSON number", "Write null or a number.")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise FormatError(f"the number {digits[:20]} is too large", "Write a smaller number.")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
_SPACE = re.compile(r"[ \t\r\n]*")


def parse_json(text: str, start: int = 0) -> tuple[object, int]:
    """Parse the JSON value that begins at a position of a text.

    Args:
        text: the text.
        start: where the value begins.

    Returns:
        The value and the position after it.

    Raises:
        FormatError: no JSON, a key twice, NaN or Infinity, half a surrogate pair, or brackets
            nested too deep.

    Example:
        >>> parse_json('{"a": 1}')
        ({'a': 1}, 8)
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        at = error.pos - start + 1
        fix = "Mend the line; a line break inside a string is written \\n."
        raise FormatError(f"not JSON ({error.msg} at character {at})", fix) from None
    except RecursionError:
        raise _too_deep() from None
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"a number is too long ({error})", "Write a smaller number.") from None
    source = text if start == 0 and end == len(text) else text[start:end]
    if source.count("[") + source.count("{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise _too_deep()
    if "\\u" in source or not source.isascii():
        _refuse_surrogates(value, source)
    return value, end


def _too_deep() -> FormatError:
    return FormatError(f"brackets are nested more than {MAX_DEPTH} deep", "Flatten the value.")


def _deeper_than(value: object, limit: int) -> bool:
    """Whether lists and objects are nested deeper than the limit, found without recursion."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, list | dict)
        ]
        if not level:
            return False
    return True


def _refuse_surrogates(value: object, source: str) -> None:
    """Half a surrogate pair cannot be encoded again, wherever it came from."""
    escaped = "\\u" in source
    shown = json.dumps(value, ensure_ascii=False) if escaped else source
    try:
        shown.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(shown[error.start])
        if 0xDC80 <= code <= 0xDCFF and not escaped:
            reason = f"byte 0x{code - 0xDC00:02x} is not UTF-8"
            raise FormatError(reason, "Save the file as UTF-8.") from None
        reason = f"\\u{code:04x} is half a surrogate pair"
        raise FormatError(reason, "Write both halves, or the character itself.") from None


def json_lines(path: Path) -> Iterator[tuple[int, object]]:
    """Stream the JSON values of a file with one value a line; blank lines are passed over.

    Args:
        path: a plain, gzip or xz file.

    Yields:
        Line number and value, or a `FormatError` in its place.
    """
    for number, raw in numbered_lines(path):
        if isinstance(raw, FormatError):
            yield number, raw
        elif raw.strip():
            try:
                yield number, _whole_line(decode(raw))
            except FormatError as fault:
                yield number, fault


def _whole_line(line: str) -> object:
    text = line.strip(" \t\r")
    value, end = parse_json(text)
    if end < len(text):
        fix = "Write one object a line."
        raise FormatError(f"not JSON (more text after the value, at character {end + 1})", fix)
    return value
