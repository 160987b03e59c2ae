r"""brat standoff: a .txt file with the text and an .ann file with the annotations, end exclusive.

    T1    place 2 4     北京            an entity            (fields separated by tabs)
    R1    in Arg1:T2 Arg2:T1            a relation
    E1    Sale:T3 Buyer:T1              an event: type and trigger, then roles

A folder is read with everything below it, one record a .txt file; the name of the file is the
record's `id`. Line breaks are characters and count. Attributes (A, M), references (N) and notes (#)
are kept at what they speak of, under `brat`. The numbers of T, R and E are handles: they are not
kept, and are written anew. A trigger becomes the argument with the role `trigger`, not an entity.
A discontinuous span does not fit into the schema and is refused.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kexue.data.explaining import compare_surface, shorten
from kexue.data.records import DataError, FormatError
from kexue.data.source import decode as decode_line
from kexue.data.source import read_whole

_TEXT_BOUND = re.compile(r"T\S+\t(\S+) ([0-9; -]+)(?:\t(.*))?", re.DOTALL)
_RELATION = re.compile(r"R\S+\t(\S+) (\S+?):(\S+) (\S+?):(\S+)\s*")
_EVENT = re.compile(r"E\S+\t(\S+?):(\S+)((?: \S+?:\S+)*)\s*")
_REMARK = re.compile(r"([AMN#])\S*\t(\S+) ([TRE]\S+)(?:[ \t](.*))?", re.DOTALL)
Document = tuple[str, list[tuple[int, str]]]


def documents(path: Path) -> Iterator[tuple[str, int, Document | FormatError]]:
    """Read the documents of a folder, or the one that a .txt or .ann file belongs to.

    Args:
        path: the folder or file.

    Yields:
        The name of the document (its path below the folder, without suffix), the line of a fault,
        and its text with the numbered lines of annotations, or the `FormatError` in its place.

    Raises:
        DataError: the folder has no .txt file, or an .ann file has no .txt file beside it.
    """
    if not path.is_dir():
        yield path.stem, *_document(path.with_suffix(".txt"))
        return
    texts = sorted(path.rglob("*.txt"))
    alone = sorted(set(path.rglob("*.ann")) - {text.with_suffix(".ann") for text in texts})
    if alone:
        fix = "Put the .txt file with the text beside it."
        raise DataError(alone[0], None, "there is no text beside these annotations", fix)
    if not texts:
        fix = "A brat folder has pairs of .txt and .ann files."
        raise DataError(path, None, "the folder has no .txt file", fix)
    for text in texts:
        yield text.relative_to(path).with_suffix("").as_posix(), *_document(text)


def _document(path: Path) -> tuple[int, Document | FormatError]:
    line = 1
    try:
        text = decode_line(read_whole(path))
        annotations = path.with_suffix(".ann")
        raw = read_whole(annotations) if annotations.exists() else b""
        lines = []
        for line, each in enumerate(raw.split(b"\n"), 1):
            if each.strip():
                lines.append((line, decode_line(each.removesuffix(b"\r"))))
    except FormatError as fault:
        return line, fault
    except DataError as error:
        return line, FormatError(error.reason, error.fix)
    return 1, (text, lines)


class _Standoff:
    """The annotations of one document while they are put together."""

    def __init__(self, text: str, notes: list[str]) -> None:
        self.text = text
        self.notes = notes
        self.bound: dict[str, dict[str, Any]] = {}
        self.relations: dict[str, tuple[str, str, str]] = {}
        self.events: dict[str, tuple[str, str, list[tuple[str, str]]]] = {}
        self.remarks: dict[str, list[list[str]]] = {}
        self.lines: dict[str, int] = {}

    def add(self, line: str, number: int) -> None:
        """Take in one line, by its first letter."""
        name = line.split("\t", maxsplit=1)[0]
        self.lines.setdefault(name, number)
        if name in self.bound or name in self.relations or name in self.events:
            raise FormatError(f"{name} stands twice", "Number annotations without repeating.")
        if match := _TEXT_BOUND.fullmatch(line):
            self.bound[name] = self._span(match)
        elif match := _RELATION.fullmatch(line):
            self.relations[name] = (match[1], match[3], match[5])
        elif match := _EVENT.fullmatch(line):
            roles = [tuple(part.split(":", 1)) for part in match[3].split()]
            self.events[name] = (match[1], match[2], roles)  # type: ignore[assignment]
        elif match := _REMARK.fullmatch(line):
            remark = [match[1], match[2], match[4] or ""]
            self.remarks.setdefault(match[3], []).append(remark)
            self.lines.setdefault(f"remark on {match[3]}", number)
        elif name == "*":
            self.notes.append(f"{shorten(line)} is left out; write it as R lines")
        else:
            fix = "Lines begin with T, R, E, A, M, N or #, a number and a tab."
            raise FormatError(f"{shorten(line)} is no annotation", fix)

    def _span(self, match: re.Match[str]) -> dict[str, Any]:
        if ";" in match[2]:
            fix = "Annotate one stretch, or two entities with a relation."
            raise FormatError(f"{match[1]} {match[2]} is a discontinuous span", fix)
        parts = match[2].split(" ")
        if len(parts) != 2 or not all(part.isdigit() and len(part) < 12 for part in parts):
            raise FormatError(
                f"{match[1]} has the offsets {match[2]!r}", "Write start, space, end."
            )
        start, end = int(parts[0]), int(parts[1])
        surface = self.text[start:end].replace("\r", " ").replace("\n", " ")
        given = (match[3] if match[3] is not None else surface).replace("\r", " ")
        if given != surface:
            flat = self.text.replace("\r", " ").replace("\n", " ")
            self.notes += compare_surface(flat, start, end, match[1], given)
        return {"start": start, "end": end, "label": match[1]}

    def record(self) -> dict[str, Any]:
        """Put the record together once all lines are in."""
        triggers = {trigger for _, trigger, _ in self.events.values()}
        index = {name: at for at, name in enumerate(n for n in self.bound if n not in triggers)}
        found: dict[str, Any] = {"text": self.text}
        found["entities"] = [self._with_remarks(name, self.bound[name]) for name in index]
        if self.relations:
            found["relations"] = [self._relation(name, index) for name in self.relations]
        if self.events:
            found["events"] = [self._event(name) for name in self.events]
        if self.remarks:
            target = min(self.remarks)
            reason = f"a remark speaks of {target}, which is not there"
            raise DataError("", self.lines[f"remark on {target}"], reason, "Delete the line.")
        return found

    def _with_remarks(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        remarks = self.remarks.pop(name, None)
        return {**value, "brat": remarks} if remarks else value

    def _relation(self, name: str, index: dict[str, int]) -> dict[str, Any]:
        label, *ends = self.relations[name]
        for end in ends:
            if end not in index:
                fix = "Relations go between two T lines that are no triggers."
                reason = f"{name} speaks of {end}, which is no entity"
                raise DataError("", self.lines[name], reason, fix)
        head, tail = (index[end] for end in ends)
        return self._with_remarks(name, {"head": head, "tail": tail, "label": label})

    def _event(self, name: str) -> dict[str, Any]:
        kind, trigger, roles = self.events[name]
        arguments = []
        for role, target in [("trigger", trigger), *roles]:
            if target not in self.bound:
                fix = "Arguments are T lines; an event as an argument does not fit."
                reason = f"{name} speaks of {target}, which is no T line"
                raise DataError("", self.lines[name], reason, fix)
            span = self.bound[target]
            arguments.append({"start": span["start"], "end": span["end"], "role": role})
        remarks = [r for target in (trigger, name) for r in self.remarks.pop(target, [])]
        event = {"type": kind, "arguments": arguments}
        return {**event, "brat": remarks} if remarks else event


def decode(document: Document, notes: list[str]) -> dict[str, Any]:
    r"""Read one document.

    Args:
        document: its text and the numbered lines of its annotations.
        notes: receives surfaces that do not stand at their offsets, and lines that are left out.

    Returns:
        The record as an object of the schema.

    Raises:
        DataError: without a path, with the line of the .ann file that is wrong.

    Example:
        >>> decode(("我在北京", [(1, "T1\tplace 2 4\t北京")]), [])
        {'text': '我在北京', 'entities': [{'start': 2, 'end': 4, 'label': 'place'}]}
    """
    text, lines = document
    standoff = _Standoff(text, notes)
    for number, line in lines:
        try:
            standoff.add(line, number)
        except FormatError as fault:
            raise DataError("", number, fault.reason, fault.fix) from None
    return standoff.record()
