"""Label Studio: the JSON export (a list of tasks) and JSON-MIN, end exclusive.

    [{"id": 1, "data": {"text": "我在北京"}, "annotations": [{"result": [
        {"id": "a", "type": "labels", "value": {"start": 2, "end": 4, "labels": ["place"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "labels": ["in"]}]}]}]

Of several annotations of a task the first that was not cancelled is read, and the others are noted.
A task without one is a text that nobody labelled: it is read without entities and noted. Of the
data of a task the other keys are kept beside the text, the keys of the task itself under
`label_studio`. Region ids are handles for the relations: they are not kept, and are written anew.

Offsets are compared with the text that the export repeats. Where they fit only when counted as
JavaScript counts (a character beyond U+FFFF is two), they are converted.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kexue.data.explaining import compare_surface, shorten
from kexue.data.jsonl import join
from kexue.data.records import FormatError, Record

_SEVERAL = "choices"  # the name of the tag tells a list of one class from a class
_OPEN = ConfigDict(strict=True, extra="allow")


class _Value(BaseModel):
    model_config = _OPEN

    start: int | None = None
    end: int | None = None
    text: str | None = None
    labels: list[str] = []
    choices: list[str] | None = None


class _Result(BaseModel):
    model_config = _OPEN

    id: str | int | None = None
    type: str = "labels"
    from_name: str | None = None
    value: _Value = _Value()
    from_id: str | int | None = None
    to_id: str | int | None = None
    labels: list[str] = []


class _Annotation(BaseModel):
    model_config = _OPEN

    result: list[_Result]
    was_cancelled: bool = False


class _Task(BaseModel):
    model_config = _OPEN

    data: dict[str, Any]
    annotations: list[_Annotation] = []


class _Span(BaseModel):
    model_config = ConfigDict(strict=True)

    start: int
    end: int
    text: str | None = None
    labels: list[str] = Field(min_length=1)


def decode(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Read one task of an export, or one row of JSON-MIN.

    Args:
        item: the parsed item.
        notes: receives what is left out and texts that do not stand at their offsets.

    Returns:
        The record as an object of the schema.

    Raises:
        FormatError: no text, a region without offsets or labels, or a relation without its regions.

    Example:
        >>> value = {"start": 0, "end": 2, "labels": ["place"]}
        >>> done = {"result": [{"id": "a", "value": value}]}
        >>> decode({"data": {"text": "北京"}, "annotations": [done]}, [])
        {'text': '北京', 'entities': [{'start': 0, 'end': 2, 'label': 'place'}]}
    """
    if "data" not in item:
        return _decode_min(item, notes)
    task = _Task.model_validate(item)
    key, text = _text(task.data)
    rest = {name: value for name, value in task.data.items() if name != key}
    if key != "text":
        notes.append(f"the text is taken from data.{key}")
    own = task.model_extra or {}
    if own:
        rest = join({"label_studio": own}, **rest)
    done = [each for each in task.annotations if not each.was_cancelled]
    if not done:
        notes.append("nobody has labelled this task; it is read without entities")
        return join(rest, text=text)
    if len(done) > 1:
        notes.append(f"the task has {len(done)} annotations; the first is read")
    return join(rest, text=text, **_annotation(done[0], text, notes))


def _text(data: dict[str, Any]) -> tuple[str, str]:
    """Find the text among the data of a task."""
    strings = [key for key, value in data.items() if isinstance(value, str)]
    key = "text" if "text" in strings else (strings[0] if len(strings) == 1 else None)
    if key is None:
        fix = 'Name the field of the text "text".'
        raise FormatError(f"data has no text; its strings are {shorten(strings)}", fix)
    return key, data[key]


def _annotation(given: _Annotation, text: str, notes: list[str]) -> dict[str, Any]:
    """Read regions, relations and choices of one annotation."""
    entities: list[dict[str, Any]] = []
    index: dict[str | int | None, int] = {}
    found: dict[str, Any] = {"entities": entities}
    for result in given.result:
        if result.type == "choices":
            chosen = result.value.choices or []
            several = len(chosen) != 1 or result.from_name == _SEVERAL
            found["label"] = chosen if several else chosen[0]
        elif result.type == "labels":
            index[result.id] = len(entities)
            entities.extend(_region(result.value.model_dump(), text, notes))
        elif result.type != "relation":
            notes.append(f"a result of type {result.type!r} is left out")
    relations = [_relation(r, index) for r in given.result if r.type == "relation"]
    if relations:
        found["relations"] = [relation for group in relations for relation in group]
    return found


def _region(value: dict[str, Any], text: str, notes: list[str]) -> list[dict[str, Any]]:
    """Read one region: an entity for each of its labels."""
    span = _Span.model_validate(value)
    start, end = span.start, span.end
    if span.text is not None and not _same(text[start:end], span.text):
        units = text.encode("utf-16-le")[2 * start : 2 * end]
        if start >= 0 and _same(units.decode("utf-16-le", "replace"), span.text):
            before = text.encode("utf-16-le")[: 2 * start].decode("utf-16-le", "replace")
            start, end = len(before), len(before) + len(units.decode("utf-16-le"))
        else:
            notes += compare_surface(text, start, end, span.labels[0], span.text)
    return [{"start": start, "end": end, "label": label} for label in span.labels]


def _same(found: str, given: str) -> bool:
    """Some versions export a line break as backslash and n."""
    return found == given or found.replace("\n", "\\n") == given


def _relation(result: _Result, index: dict[str | int | None, int]) -> list[dict[str, Any]]:
    if result.from_id not in index or result.to_id not in index:
        ends = f"{result.from_id!r} and {result.to_id!r}"
        fix = "Relations go between the ids of two regions of the same annotation."
        raise FormatError(f"a relation is between {ends}, one of which is not there", fix)
    ends_ = {"head": index[result.from_id], "tail": index[result.to_id]}
    return [{**ends_, "label": label} for label in result.labels or ["related"]]


def _decode_min(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Read one row of JSON-MIN: the data of the task, the regions under the name of their tag."""
    key, text = _text({"text": item["text"]} if isinstance(item.get("text"), str) else item)
    names = [name for name, value in item.items() if _are_regions(value)]
    if len(names) > 1:
        fix = "Export as JSON, or delete one of the two."
        raise FormatError(f"regions stand under {' and '.join(names)}", fix)
    rest = {name: value for name, value in item.items() if name not in {key, *names}}
    if not names:
        return join(rest, text=text)
    spans = [each for value in item[names[0]] for each in _region(value, text, notes)]
    return join(rest, text=text, entities=spans)


def _are_regions(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, dict) and {"start", "end", "labels"} <= v.keys() for v in value)
    )


def encode(record: Record) -> dict[str, Any]:
    """Write one record as a task with one annotation, ready to import.

    Args:
        record: the record; further keys stand beside the text in `data`.

    Returns:
        The task.

    Raises:
        FormatError: entities or relations with further keys, or a label that is no choice.

    Example:
        >>> encode(Record(text="北京"))
        {'data': {'text': '北京'}}
    """
    parts = [*record.entities, *record.relations]
    if any(part.model_extra for part in parts) or isinstance(record.label, int | float):
        names = sorted({name for part in parts for name in part.model_extra or {}})
        fix = "Write jsonl, or leave them out by name: --drop " + ",".join(names or ["label"]) + "."
        raise FormatError(
            f"this format has no place for {', '.join(names) or 'a number as label'}", fix
        )
    data = record.to_dict()
    given = {"entities", "relations", "label"} & data.keys()
    for name in given:
        del data[name]
    task = data.pop("label_studio", {})
    if not isinstance(task, dict) or {"data", "annotations"} & task.keys():
        fix = "Leave it out: --drop label_studio."
        raise FormatError(f"label_studio is {shorten(task)}, not the further keys of a task", fix)
    if not given:
        return {**task, "data": data}
    return {**task, "data": data, "annotations": [{"result": _results(record)}]}


def _results(record: Record) -> list[dict[str, Any]]:
    """Write entities, relations and the class of a record as results."""
    results: list[dict[str, Any]] = [
        {
            "id": f"r{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": entity.start,
                "end": entity.end,
                "text": record.text[entity.start : entity.end],
                "labels": [entity.label],
            },
        }
        for number, entity in enumerate(record.entities)
    ]
    for relation in record.relations:
        ends = {"from_id": f"r{relation.head}", "to_id": f"r{relation.tail}"}
        results.append(
            {"type": "relation", **ends, "direction": "right", "labels": [relation.label]}
        )
    if record.label is not None:
        one = isinstance(record.label, str)
        chosen = [record.label] if one else record.label
        place = {"from_name": "choice" if one else _SEVERAL, "to_name": "text"}
        results.append({**place, "type": "choices", "value": {"choices": chosen}})
    return results
