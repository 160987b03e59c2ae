"""Span lists: one object a line with spans as lists, relations by name (and the older spaCy form).

    {"text": "我在北京", "entities": [[0, 1, "person", "T1"], [2, 4, "place", "T2"]],
     "relations": [["T1", "located", "T2"]]}

Ends are exclusive. The names are handles for the relations: they are not kept, and are written anew
as T1, T2 and so on where there are relations or the field stands in the record.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from kexue.data.explaining import shorten
from kexue.data.jsonl import join, refuse
from kexue.data.records import FormatError, Record


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    text: str
    entities: list[list[int | str]] | None = None
    relations: list[list[str]] | None = None


def decode(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Read one line of span lists.

    Args:
        item: the parsed line.
        notes: not used.

    Returns:
        The record as an object of the schema.

    Raises:
        FormatError: a span that is not [start, end, label] or [start, end, label, name], or a
            relation between names that are not there.

    Example:
        >>> decode({"text": "北京", "entities": [[0, 2, "place"]]}, [])["entities"]
        [{'start': 0, 'end': 2, 'label': 'place'}]
    """
    line = _Line.model_validate(item)
    entities: list[dict[str, Any]] | None = None if line.entities is None else []
    names: dict[str, int] = {}
    for index, span in enumerate(line.entities or []):
        if [type(part) for part in span] not in ([int, int, str], [int, int, str, str]):
            fix = 'Write [start, end, "label"] or [start, end, "label", "T1"].'
            raise FormatError(f"entities[{index}] is {shorten(span)}", fix)
        entities.append({"start": span[0], "end": span[1], "label": span[2]})  # type: ignore
        if len(span) == 4:
            if span[3] in names:
                raise FormatError(f"the name {span[3]!r} stands twice", "Name each entity once.")
            names[str(span[3])] = index
    relations = None
    if line.relations is not None:
        relations = [_relation(index, each, names) for index, each in enumerate(line.relations)]
    return join(line.model_extra, text=line.text, entities=entities, relations=relations)


def _relation(index: int, parts: list[str], names: dict[str, int]) -> dict[str, Any]:
    if len(parts) != 3 or parts[0] not in names or parts[2] not in names:
        fix = 'Write ["T1", "label", "T2"] with the names of two entities.'
        raise FormatError(f"relations[{index}] is {shorten(parts)}", fix)
    return {"head": names[parts[0]], "tail": names[parts[2]], "label": parts[1]}


def encode(record: Record) -> dict[str, Any]:
    """Write one record as a line of span lists.

    Args:
        record: the record.

    Returns:
        The object.

    Raises:
        FormatError: an entity or a relation has further keys.

    Example:
        >>> encode(Record(text="北京", entities=[dict(start=0, end=2, label="place")]))
        {'text': '北京', 'entities': [[0, 2, 'place']]}
    """
    refuse(record, frozenset(), frozenset())
    if any(relation.model_extra for relation in record.relations):
        raise FormatError("relations have further keys, which have no place here", "Write jsonl.")
    item = record.to_dict()
    named = "relations" in item
    if "entities" in item:
        item["entities"] = [
            [e.start, e.end, e.label, *([f"T{index}"] if named else [])]
            for index, e in enumerate(record.entities, 1)
        ]
    if named:
        item["relations"] = [
            [f"T{r.head + 1}", r.label, f"T{r.tail + 1}"] for r in record.relations
        ]
    return item
