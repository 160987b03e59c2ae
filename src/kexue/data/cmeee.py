"""CMeEE: one JSON list of texts with nested entities, ends inclusive.

    [{"text": "头痛", "entities": [
        {"start_idx": 0, "end_idx": 1, "type": "sym", "entity": "头痛"}]}]

`entity`, the surface, stands in the second release only; it is compared, and written anew.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from kexue.data.explaining import compare_surface
from kexue.data.jsonl import join, refuse
from kexue.data.records import Record

_TAKEN = frozenset({"start_idx", "end_idx", "type", "entity"})


class _Entity(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    start_idx: int
    end_idx: int
    type: str
    entity: str | None = None


class _Item(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    text: str
    entities: list[_Entity] | None = None


def decode(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Read one text of a CMeEE list.

    Args:
        item: the parsed item.
        notes: receives surfaces that do not stand at their offsets.

    Returns:
        The record as an object of the schema.

    Example:
        >>> span = {"start_idx": 0, "end_idx": 1, "type": "sym"}
        >>> decode({"text": "头痛", "entities": [span]}, [])["entities"]
        [{'start': 0, 'end': 2, 'label': 'sym'}]
    """
    parsed = _Item.model_validate(item)
    if parsed.entities is None:
        return join(parsed.model_extra, text=parsed.text)
    entities = []
    for each in parsed.entities:
        start, end = each.start_idx, each.end_idx + 1
        entities.append(join(each.model_extra, start=start, end=end, label=each.type))
        if each.entity is not None:
            notes += compare_surface(parsed.text, start, end, each.type, each.entity)
    return join(parsed.model_extra, text=parsed.text, entities=entities)


def encode(record: Record) -> dict[str, Any]:
    """Write one record as a text of a CMeEE list.

    Args:
        record: the record; further keys, its own and its entities', are kept.

    Returns:
        The object.

    Raises:
        FormatError: an entity has a further key with a name of this format.

    Example:
        >>> encode(Record(text="头痛", entities=[dict(start=0, end=2, label="sym")]))["entities"]
        [{'start_idx': 0, 'end_idx': 1, 'type': 'sym', 'entity': '头痛'}]
    """
    for entity in record.entities:
        if _TAKEN & (entity.model_extra or {}).keys():
            refuse(record, frozenset(), frozenset(entity.model_extra or {}) - _TAKEN)
    item = record.to_dict()
    if "entities" in item:
        item["entities"] = [
            {
                "start_idx": entity.start,
                "end_idx": entity.end - 1,
                "type": entity.label,
                "entity": record.text[entity.start : entity.end],
                **(entity.model_extra or {}),
            }
            for entity in record.entities
        ]
    return item
