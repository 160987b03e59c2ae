"""doccano JSONL in its three generations, end exclusive.

    doccano-labels  {"text": "我在北京", "labels": [[2, 4, "place"]]}
    doccano-label   {"text": "我在北京", "label": [[2, 4, "place"]]}
    doccano         {"text": "我在北京",
                     "entities": [{"id": 1, "start_offset": 2, "end_offset": 4, "label": "place"}],
                     "relations": [{"id": 1, "from_id": 1, "to_id": 2, "type": "in"}]}

Reading takes any of the three, line by line. The ids are handles for the relations: they are not
kept, and are written anew from 1. `label` with plain strings is the class of the text.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from kexue.data.explaining import shorten
from kexue.data.jsonl import join, refuse
from kexue.data.records import FormatError, Record

_HANDLES = frozenset({"id", "start_offset", "end_offset"})
_Spans = list[list[int | str]]


class _Entity(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    id: int | None = None
    start_offset: int
    end_offset: int
    label: str


class _Relation(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    id: int | None = None
    from_id: int
    to_id: int
    type: str


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    text: str
    label: _Spans | list[str] | str | None = None
    labels: _Spans | None = None
    entities: list[_Entity] | None = None
    relations: list[_Relation] | None = None


def decode(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Read one line of a doccano export of any generation.

    Args:
        item: the parsed line.
        notes: not used.

    Returns:
        The record as an object of the schema.

    Raises:
        FormatError: a span that is not [start, end, label], spans in two forms at once, or a
            relation between ids that are not there.

    Example:
        >>> decode({"text": "北京", "label": [[0, 2, "place"]]}, [])["entities"]
        [{'start': 0, 'end': 2, 'label': 'place'}]
    """
    line = _Line.model_validate(item)
    classes = line.label if line.label and not isinstance(line.label[0], list) else None
    spans = [s for s in (line.labels, None if classes else line.label) if s is not None]
    if len(spans) + (line.entities is not None) > 1:
        fix = "Keep one of label, labels and entities."
        raise FormatError("spans are given in two forms at once", fix)
    entities = _entities(line.entities)
    if spans:
        entities = [_from_list(index, span) for index, span in enumerate(spans[0])]
    relations = _relations(line)
    return join(
        line.model_extra, text=line.text, entities=entities, relations=relations, label=classes
    )


def _from_list(index: int, span: list[int | str] | str) -> dict[str, Any]:
    if [type(part) for part in span] != [int, int, str]:
        raise FormatError(f"span {index} is {shorten(span)}", 'Write [start, end, "label"].')
    return {"start": span[0], "end": span[1], "label": span[2]}


def _entities(given: list[_Entity] | None) -> list[dict[str, Any]] | None:
    if given is None:
        return None
    return [
        join(e.model_extra, start=e.start_offset, end=e.end_offset, label=e.label) for e in given
    ]


def _relations(line: _Line) -> list[dict[str, Any]] | None:
    """Turn ids into indices."""
    if line.relations is None:
        return None
    given = [e.id for e in line.entities or [] if e.id is not None]
    if len(set(given)) < len(given):
        raise FormatError("an entity id stands twice", "Give each entity its own id.")
    index = {e.id: position for position, e in enumerate(line.entities or [])}
    found = []
    for number, relation in enumerate(line.relations):
        if relation.from_id not in index or relation.to_id not in index:
            ends = f"{relation.from_id} and {relation.to_id}"
            fix = "Relations go between the ids of two entities of the same line."
            raise FormatError(
                f"relations[{number}] is between {ends}, one of which is not there", fix
            )
        head, tail = index[relation.from_id], index[relation.to_id]
        found.append(join(relation.model_extra, head=head, tail=tail, label=relation.type))
    return found


def encode(record: Record) -> dict[str, Any]:
    """Write one record in the third generation, with ids and relations.

    Args:
        record: the record; further keys, its own and its entities', are kept.

    Returns:
        The object.

    Raises:
        FormatError: it has a key that means something else in this format.

    Example:
        >>> encode(Record(text="北京", entities=[dict(start=0, end=2, label="place")]))["entities"]
        [{'id': 1, 'start_offset': 0, 'end_offset': 2, 'label': 'place'}]
    """
    item = _base(record)
    _refuse_handles(record)
    if "entities" in item:
        item["entities"] = [
            {
                "id": number,
                "start_offset": entity.start,
                "end_offset": entity.end,
                "label": entity.label,
                **(entity.model_extra or {}),
            }
            for number, entity in enumerate(record.entities, 1)
        ]
    if "relations" in item:
        item["relations"] = [
            {
                "id": number,
                "from_id": relation.head + 1,
                "to_id": relation.tail + 1,
                "type": relation.label,
                **(relation.model_extra or {}),
            }
            for number, relation in enumerate(record.relations, 1)
        ]
    return item


def encode_label(record: Record) -> dict[str, Any]:
    """Write one record in the second generation, spans under `label`.

    Args:
        record: the record.

    Returns:
        The object.

    Raises:
        FormatError: it has relations, a class, or entities with further keys.

    Example:
        >>> encode_label(Record(text="北京", entities=[dict(start=0, end=2, label="place")]))
        {'text': '北京', 'label': [[0, 2, 'place']]}
    """
    return _lists(record, "label")


def encode_labels(record: Record) -> dict[str, Any]:
    """Write one record in the first generation, spans under `labels`.

    Args:
        record: the record.

    Returns:
        The object.

    Raises:
        FormatError: it has relations, a class, or entities with further keys.

    Example:
        >>> encode_labels(Record(text="北京", entities=[dict(start=0, end=2, label="place")]))
        {'text': '北京', 'labels': [[0, 2, 'place']]}
    """
    return _lists(record, "labels")


def _lists(record: Record, name: str) -> dict[str, Any]:
    refuse(record, frozenset({"relations", "label"}), frozenset())
    item = _base(record)
    item.pop("relations", None)
    item.pop("label", None)
    if "entities" in item:
        item.pop("entities")
        item[name] = [[e.start, e.end, e.label] for e in record.entities]
    return item


def _base(record: Record) -> dict[str, Any]:
    """The record as an object, unless a key would be read back as something else."""
    refuse(record, frozenset({"labels"}), None)
    if isinstance(record.label, int | float) or record.label in ("", []):
        raise FormatError(f"doccano has no place for the label {record.label!r}", "Write jsonl.")
    return record.to_dict()


def _refuse_handles(record: Record) -> None:
    for each in record.entities:
        if _HANDLES & (each.model_extra or {}).keys():
            refuse(record, frozenset(), frozenset(each.model_extra or {}) - _HANDLES)
    if any({"id", "from_id", "to_id", "type"} & set(r.model_extra or {}) for r in record.relations):
        raise FormatError("a relation has a key with a name of this format", "Write jsonl.")
