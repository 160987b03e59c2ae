"""The project's own format: one record a line, as in `records.py`.

    {"text": "我在北京工作", "entities": [{"start": 2, "end": 4, "label": "place"}]}

Everything a record can hold is written, so nothing is ever lost in it.
"""

from typing import Any

from kexue.data.records import FormatError, Record


def decode(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Give the item as it is: the schema is the format.

    Args:
        item: one parsed line.
        notes: not used.

    Returns:
        The item.

    Example:
        >>> decode({"text": "a"}, [])
        {'text': 'a'}
    """
    return item


def encode(record: Record) -> dict[str, Any]:
    """Write a record as one JSON object.

    Args:
        record: the record.

    Returns:
        The object.

    Example:
        >>> encode(Record(text="a"))
        {'text': 'a'}
    """
    return record.to_dict()


def refuse(record: Record, keys: frozenset[str], entity_keys: frozenset[str] | None) -> None:
    """Stop before something is lost that the target format has no place for.

    Args:
        record: the record to be written.
        keys: record keys that the target cannot hold.
        entity_keys: keys of entities beside start, end and label that it can hold; None for any.

    Raises:
        FormatError: the record has something there; the message names all of it.

    Example:
        >>> refuse(Record(text="a", summary="b"), frozenset({"summary"}), frozenset())
        Traceback (most recent call last):
        kexue.data.records.FormatError: this format has no place for summary. ...
    """
    # a field that is empty loses nothing, a further key does, whatever its value
    extra = record.model_extra or {}
    lost = [
        key for key, value in record if key in keys and (key in extra or value not in ([], None))
    ]
    if entity_keys is not None:
        inner = {key for e in record.entities for key in e.model_extra or {}} - entity_keys
        lost += [f"entities.{key}" for key in sorted(inner)]
    if lost:
        names = ", ".join(lost)
        fix = f"Write jsonl, or leave it out by name: --drop {','.join(lost)}."
        raise FormatError(f"this format has no place for {names}", fix)


def join(extra: dict[str, Any] | None, **fields: object) -> dict[str, Any]:
    """Put decoded fields beside an item's further keys.

    Args:
        extra: the keys that the format does not know.
        fields: what was decoded, under the names of the schema; None stays out.

    Returns:
        The object in the form of the schema.

    Raises:
        FormatError: a further key has the name of a decoded field.

    Example:
        >>> join({"id": 7}, text="a", entities=None)
        {'text': 'a', 'id': 7}
    """
    given = {key: value for key, value in fields.items() if value is not None}
    clash = given.keys() & (extra or {}).keys()
    if clash:
        name = min(clash)
        fix = f"Rename or delete the key {name!r}."
        raise FormatError(f"{name!r} stands beside annotations that are read as {name!r}", fix)
    return {**given, **(extra or {})}
