"""Score tables in JSON, each score with its line.

{"BERT": {"RTE": 70.1}}                    an object of models
[{"model": "BERT", "RTE": 70.1}]           a list of objects
{"model": "BERT", "RTE": 70.1}             an object a line

What a model lacks need not be named.
"""

import re
from bisect import bisect
from pathlib import Path
from typing import NamedTuple

from kexue.data.explaining import shorten
from kexue.data.records import DataError, FormatError
from kexue.data.source import parse_json

_SPACE = re.compile(r"[ \t\r\n]*")
_FIX = 'Write {"model": {"task": 92.4}}, or a list of {"model": "...", "task": 92.4}.'


class Member(NamedTuple):
    """A key of an object, its value and where it stands.

    Attributes:
        line: the line (1-based).
        key: the key.
        value: the value, or the members of an object.

    Example:
        >>> Member(2, "RTE", 70.1).value
        70.1
    """

    line: int
    key: str
    value: object


class JsonRow(NamedTuple):
    """The scores of a model.

    Attributes:
        line: the line (1-based) on which they begin.
        name: of the model, None where it stands among the members.
        members: tasks and scores.

    Example:
        >>> JsonRow(1, "BERT", [Member(1, "RTE", 70.1)]).name
        'BERT'
    """

    line: int
    name: str | None
    members: list[Member]


def json_rows(path: Path, lines: list[str]) -> list[JsonRow]:
    """Read the rows of a table in JSON.

    Args:
        path: of the file, for errors.
        lines: of the file.

    Returns:
        A row for each model.

    Raises:
        DataError: the text is no JSON, or no table.

    Example:
        >>> json_rows(Path("a.json"), ['{"BERT":', '  {"RTE": 70.1}}'])
        [JsonRow(line=1, name='BERT', members=[Member(line=2, key='RTE', value=70.1)])]
    """
    text = _Text(path, "\n".join(lines))
    at = text.space(0)
    if text.starts(at, "["):
        rows, end = text.items(at)
        text.expect_end(end)
        return rows
    rows = []
    while at < len(text.text):
        members, at = text.members(at, 2)
        rows.append(JsonRow(members[0].line if members else text.line(at - 1), None, members))
        at = text.space(at)
    models = rows[0].members if len(rows) == 1 else []
    return [_model(path, each) for each in models] if any(map(_has_scores, models)) else rows


def _has_scores(member: Member) -> bool:
    return isinstance(member.value, tuple)


def _model(path: Path, member: Member) -> JsonRow:
    if not _has_scores(member):
        reason = f"{member.key!r} has {shorten(member.value)} and not an object of scores"
        raise DataError(path, member.line, reason, _FIX)
    return JsonRow(member.line, member.key, list(member.value))


class _Text:
    """A text of JSON, of which the upper levels are read piece by piece, for their lines."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.breaks = [match.start() for match in re.finditer("\n", text)]

    def line(self, at: int) -> int:
        return bisect(self.breaks, at - 1) + 1

    def fail(self, at: int, reason: str, fix: str) -> DataError:
        return DataError(self.path, self.line(at), reason, fix)

    def space(self, at: int) -> int:
        return _SPACE.match(self.text, at).end()

    def starts(self, at: int, mark: str) -> bool:
        return self.text.startswith(mark, at)

    def value(self, at: int) -> tuple[object, int]:
        try:
            return parse_json(self.text, at)
        except FormatError as fault:
            raise self.fail(at, fault.reason, fault.fix) from None

    def expect_end(self, at: int) -> None:
        if self.space(at) < len(self.text):
            raise self.fail(self.space(at), "there is more text after the table", "Delete it.")

    def next(self, at: int, close: str) -> tuple[int, bool]:
        """Go past a comma, or past the closing bracket, which ends a list or an object."""
        at = self.space(at)
        if self.starts(at, close):
            return at + 1, True
        if self.starts(at, ","):
            return self.space(at + 1), False
        raise self.fail(min(at, len(self.text) - 1), f"not JSON (no comma or {close})", "Add it.")

    def items(self, at: int) -> tuple[list[JsonRow], int]:
        """Read a list of objects."""
        rows, at = [], self.space(at + 1)
        if self.starts(at, "]"):
            return rows, at + 1
        ended = False
        while not ended:
            line = self.line(at)
            members, at = self.members(at, 1)
            rows.append(JsonRow(line, None, members))
            at, ended = self.next(at, "]")
        return rows, at

    def members(self, at: int, depth: int) -> tuple[list[Member], int]:
        """Read an object; objects in it, down to a depth, become tuples of members."""
        if not self.starts(at, "{"):
            found = shorten(self.text[at : at + 60]) if at < len(self.text) else "the end"
            raise self.fail(min(at, len(self.text) - 1), f"{found} begins no JSON object", _FIX)
        members: list[Member] = []
        at = self.space(at + 1)
        if self.starts(at, "}"):
            return members, at + 1
        ended = False
        while not ended:
            begin = at
            key, at = self.value(at)
            at = self.space(at)
            if not isinstance(key, str) or not self.starts(at, ":"):
                raise self.fail(begin, "not JSON (no key with a colon)", 'Write "task": 92.4.')
            if any(key == member.key for member in members):
                raise self.fail(begin, f"the key {key!r} stands twice", "Keep one of the two.")
            at = self.space(at + 1)
            deeper = depth > 1 and self.starts(at, "{")
            value, at = self.members(at, depth - 1) if deeper else self.value(at)
            members.append(Member(self.line(begin), key, tuple(value) if deeper else value))
            at, ended = self.next(at, "}")
        return members, at
