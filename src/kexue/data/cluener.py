"""CLUENER: one object a line, entities grouped by type and surface, ends inclusive.

    {"text": "叶老桂在京", "label": {"name": {"叶老桂": [[0, 2]]}, "address": {"京": [[4, 4]]}}}

A surface that is not what stands at its offsets is read by its offsets and noted. The format groups
entities, so their order in a record comes back as the order of the groups; it has no relations.
"""

from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, ConfigDict

from kexue.data.explaining import compare_surface
from kexue.data.jsonl import join, refuse
from kexue.data.records import Record

_Pair = Annotated[list[int], Len(2, 2)]
_LOST = frozenset({"label", "relations"})


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    text: str
    label: dict[str, dict[str, list[_Pair]]] | None = None


def decode(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Read one CLUENER line.

    Args:
        item: the parsed line.
        notes: receives surfaces that do not stand at their offsets.

    Returns:
        The record as an object of the schema.

    Example:
        >>> decode({"text": "叶老桂", "label": {"name": {"叶老桂": [[0, 2]]}}}, [])["entities"]
        [{'start': 0, 'end': 3, 'label': 'name'}]
    """
    line = _Line.model_validate(item)
    if line.label is None:
        return join(line.model_extra, text=line.text)
    entities = []
    for label, surfaces in line.label.items():
        for surface, spans in surfaces.items():
            for start, last in spans:
                entities.append({"start": start, "end": last + 1, "label": label})
                notes += compare_surface(line.text, start, last + 1, label, surface)
    return join(line.model_extra, text=line.text, entities=entities)


def encode(record: Record) -> dict[str, Any]:
    """Write one record as a CLUENER line.

    Args:
        record: the record; its extra keys are kept beside `text` and `label`.

    Returns:
        The object.

    Raises:
        FormatError: it has a class label, relations, or entities with further keys.

    Example:
        >>> encode(Record(text="京", entities=[dict(start=0, end=1, label="a")]))
        {'text': '京', 'label': {'a': {'京': [[0, 0]]}}}
    """
    refuse(record, _LOST, frozenset())
    item = record.to_dict()
    for name in ("entities", "relations", "label"):
        item.pop(name, None)
    if "entities" in record.model_fields_set or record.entities:
        groups: dict[str, dict[str, list[list[int]]]] = {}
        for entity in record.entities:
            surface = record.text[entity.start : entity.end]
            spans = groups.setdefault(entity.label, {}).setdefault(surface, [])
            spans.append([entity.start, entity.end - 1])
        item["label"] = groups
    return item
