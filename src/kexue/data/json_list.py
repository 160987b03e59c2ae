"""Files that are one JSON list, item by item: a broken item costs itself, not the file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kexue.data.records import FormatError
from kexue.data.source import parse_json, read_whole

_SPACE = re.compile(r"[ \t\r\n]*")
_NEXT = re.compile(r"(?:[,\n\[][ \t\r\n]*|(?<=\}))(?=\{)")
_SAMPLE = 40  # lines that decide between a list and one object a line


def is_list(head: list[bytes]) -> bool:
    """Tell a JSON list from one object a line, even where the first line is damaged.

    Lines that are objects by themselves, at least half of them, make a file of lines. Else a list
    begins with a bracket, or half of its lines are objects, most of them with a comma behind.

    Args:
        head: the first lines of the file.

    Returns:
        Whether the file is one list.

    Example:
        >>> is_list([b"[", b'{"text": "a"},', b'{"text": "b"}', b"]"])
        True
        >>> is_list([b'["text": "a"}', b'{"text": "b"}'])
        False
    """
    lines = [line.strip() for line in head[:_SAMPLE] if line.strip()]
    alone = sum(map(_is_object, lines))
    if not lines or 2 * alone >= len(lines):
        return False
    items = sum(line.startswith(b"{") and line.endswith(b",") for line in lines)
    return lines[0].startswith(b"[") or (items > alone and 2 * (items + alone) >= len(lines))


def _is_object(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return False
    try:
        text = line.decode("utf-8")
        return parse_json(text)[1] == len(text)
    except ValueError:
        return False


def json_list(path: Path) -> Iterator[tuple[int, object]]:
    """Read the items of a JSON list.

    The text is held in memory, the items are built one by one. After an item that is no JSON,
    reading goes on at the next thing that looks like a record. A comma that is missing between two
    items costs nothing and is passed over.

    Args:
        path: a plain, gzip or xz file.

    Yields:
        The line on which the item begins and the item, or a `FormatError` in its place.
    """
    # bytes that are not UTF-8 become lone surrogates, which make their own item a fault
    text = read_whole(path).decode("utf-8", "surrogateescape")
    line, counted = 1, 0
    at: int | None = 0
    opened = False
    while at is not None:
        at = _space(text, at)
        line, counted = line + text.count("\n", counted, at), at
        try:
            step = _step(text, at, opened)
        except FormatError as fault:
            yield line, fault
            item_here = text.startswith("{", at)
            keep = item_here and not opened
            step = _Step(at if keep else _resume(text, at + item_here), opened=True)
        if step.has_item:
            yield line, step.item
        at, opened = step.to, step.opened


class _Step(NamedTuple):
    """Where reading goes on, None at the end of the list, and the item that was read."""

    to: int | None
    opened: bool
    item: object = None
    has_item: bool = False


def _step(text: str, at: int, opened: bool) -> _Step:
    """Read what stands at a position: the bracket, an item with what follows it, or the end."""
    mark = text[at : at + 1]
    if not opened:
        if mark != "[":
            raise FormatError("the list does not begin with [", "Add it.")
        return _Step(at + 1, opened=True)
    if mark == "]":
        if _space(text, at + 1) < len(text):
            raise FormatError("there is more text after the list", "Delete it, or add a comma.")
        return _Step(None, opened=True)
    if mark == "":
        raise FormatError("the list is not closed", "Add ] at the end; is the file cut off?")
    if mark == ",":
        raise FormatError("there are two commas in a row", "Delete one.")
    if mark == "[":
        raise FormatError("there is a list in the list", "Delete the bracket.")
    item, end = parse_json(text, at)
    end = _space(text, end)
    # where the comma is missing, the next step finds an item all the same
    return _Step(end + (text[end : end + 1] == ","), opened=True, item=item, has_item=True)


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _resume(text: str, at: int) -> int | None:
    """Find where the next record begins after a broken one."""
    for found in _NEXT.finditer(text, at):
        try:
            value, _ = parse_json(text, found.end())
        except FormatError:
            continue
        if _looks_like_record(value):
            return found.end()
    return None


def _looks_like_record(value: object) -> bool:
    return isinstance(value, dict) and (
        isinstance(value.get("data"), dict)
        or (("text" in value or "tokens" in value) and "start" not in value)
    )
