"""Write records as brat standoff: a .txt and an .ann file each."""

import re
from typing import Any

from kexue.data.explaining import shorten
from kexue.data.jsonl import refuse
from kexue.data.records import Entity, Event, FormatError, Record, Relation

_LOST = frozenset({"label", "pair", "question", "answers", "choices", "summary"})
_NAME = re.compile(r"(?!\.)[^\s:]+")
_FILE = re.compile(r"[^/\\\x00-\x1f:*?\"<>|]+")


def file_name(record: Record, number: int, taken: set[str]) -> str:
    """Name the files of a record: its `id` where it is fit for one, else a number.

    Args:
        record: the record.
        number: its number in the corpus, from 1.
        taken: names given already; the new one is added.

    Returns:
        A relative path without suffix.

    Raises:
        FormatError: the id is no name for a file, or was used before.

    Example:
        >>> file_name(Record(text="a"), 7, set())
        'record-00007'
    """
    given: Any = (record.model_extra or {}).get("id")
    name = f"record-{number:05d}" if given is None else given
    parts = name.split("/") if isinstance(name, str) else [""]
    if not all(_FILE.fullmatch(p) and not p.startswith(".") and p == p.strip() for p in parts):
        fix = "Give names of files, or leave them out: --drop id."
        raise FormatError(f"the id {shorten(given)} is no name for a file", fix)
    # file systems that do not tell A from a would lose one of the two
    if name.casefold() in taken:
        raise FormatError(f"the id {name!r} was used before", "Make ids unique, or --drop id.")
    taken.add(name.casefold())
    return name


def encode(record: Record) -> tuple[str, str]:
    r"""Write one record as the content of its two files.

    Args:
        record: the record.

    Returns:
        The text, and the lines of annotations.

    Raises:
        FormatError: a label with white space or a colon, an event without trigger or with an
            argument that is no entity, or a field that brat has no place for.

    Example:
        >>> encode(Record(text="北京", entities=[dict(start=0, end=2, label="place")]))
        ('北京', 'T1\tplace 0 2\t北京\n')
    """
    refuse(record, _LOST | (set(record.model_extra or {}) - {"id"}), frozenset({"brat"}))
    if "\x00" in record.text or record.text.startswith("\ufeff"):
        fix = "Delete it from the text, or write jsonl."
        raise FormatError("the text has a NUL or begins with a byte order mark", fix)
    writer = _Lines(record)
    for number, entity in enumerate(record.entities, 1):
        writer.text_bound(entity.label, entity.start, entity.end)
        writer.remarks(f"T{number}", entity)
    for number, relation in enumerate(record.relations, 1):
        label = _name(relation.label)
        ends = f"Arg1:T{relation.head + 1} Arg2:T{relation.tail + 1}"
        writer.lines.append(f"R{number}\t{label} {ends}")
        writer.remarks(f"R{number}", relation)
    for number, event in enumerate(record.events, 1):
        writer.event(number, event)
    return record.text, "".join(line + "\n" for line in writer.lines)


def _name(label: str) -> str:
    if not _NAME.fullmatch(label):
        raise FormatError(
            f"{label!r} cannot be a name in brat", "Rename it without space and colon."
        )
    return label


class _Lines:
    """The lines of an .ann file while they are written."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.lines: list[str] = []
        self.bound = 0
        self.remark = 0

    def text_bound(self, label: str, start: int, end: int) -> str:
        self.bound += 1
        surface = self.record.text[start:end].replace("\r", " ").replace("\n", " ")
        self.lines.append(f"T{self.bound}\t{_name(label)} {start} {end}\t{surface}")
        return f"T{self.bound}"

    def event(self, number: int, event: Event) -> None:
        first = event.arguments[0] if event.arguments else None
        if first is None or first.role != "trigger":
            fix = "Put the argument with the role 'trigger' first, or write jsonl."
            raise FormatError(f"the event {event.type!r} has no trigger, which brat needs", fix)
        if any(argument.model_extra for argument in event.arguments):
            raise FormatError(
                "arguments have further keys, which have no place here", "Write jsonl."
            )
        index = {(e.start, e.end): f"T{n}" for n, e in enumerate(self.record.entities, 1)}
        name = self.text_bound(event.type, first.start, first.end)
        roles = [f"{_name(event.type)}:{name}"]
        for argument in event.arguments[1:]:
            if (argument.start, argument.end) not in index:
                span = f"[{argument.start}, {argument.end})"
                fix = "Add it as an entity, or write jsonl."
                raise FormatError(f"{argument.role} {span} is no entity, which brat needs", fix)
            roles.append(f"{_name(argument.role)}:{index[argument.start, argument.end]}")
        self.lines.append(f"E{number}\t{' '.join(roles)}")
        self.remarks(f"E{number}", event)

    def remarks(self, target: str, owner: Entity | Relation | Event) -> None:
        """Write attributes, references and notes where reading left them."""
        extra = dict(owner.model_extra or {})
        given = extra.pop("brat", [])
        if extra:
            raise FormatError(f"brat has no place for {', '.join(extra)}", "Write jsonl.")
        for each in given if isinstance(given, list) else [None]:
            if not _is_remark(each):
                fix = 'Write ["A", "Name", "value"], or --drop entities.brat.'
                raise FormatError(f"brat is {shorten(each)}, no remark", fix)
            self.remark += 1
            kind, name, rest = each
            gap = "\t" if kind in "N#" else " "
            line = f"{kind}{self.remark}\t{name} {target}{gap}{rest}"
            self.lines.append(line if rest else line.rstrip())


def _is_remark(given: object) -> bool:
    """Whether a remark has a form that reading gives back: kind, name, rest on one line."""
    return (
        isinstance(given, list)
        and len(given) == 3
        and all(isinstance(part, str) and not {"\n", "\r", "\x00"} & set(part) for part in given)
        and given[0] in {"A", "M", "N", "#"}
        and _NAME.fullmatch(given[1]) is not None
    )
