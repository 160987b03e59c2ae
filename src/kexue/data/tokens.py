"""Token JSONL, as in GUM: a list of tokens a line, spans of token indices, ends inclusive.

    {"tokens": ["Lake", "Como", "is", "deep"], "entities": [[0, 1, "place"]], "genre": "guide"}

The text is the tokens joined by single spaces; every other key is kept, and writing gives the same
object back.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from kexue.data.explaining import shorten
from kexue.data.jsonl import join, refuse
from kexue.data.records import Entity, FormatError, Record

_LOST = frozenset({"tokens"})


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    tokens: list[str]
    entities: list[list[int | str]] | None = None


def decode(item: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Read one line of tokens.

    Args:
        item: the parsed line.
        notes: not used.

    Returns:
        The record as an object of the schema.

    Raises:
        FormatError: a token with a space or without a character, or a span that is no pair of
            tokens.

    Example:
        >>> decode({"tokens": ["Lake", "Como"], "entities": [[0, 1, "place"]]}, [])
        {'text': 'Lake Como', 'entities': [{'start': 0, 'end': 9, 'label': 'place'}]}
    """
    line = _Line.model_validate(item)
    for index, token in enumerate(line.tokens):
        if not token or " " in token:
            fix = "Tokens are joined by single spaces: split or drop it."
            raise FormatError(f"tokens[{index}] is {shorten(token)}", fix)
    text = " ".join(line.tokens)
    if line.entities is None:
        return join(line.model_extra, text=text)
    starts = [0]
    for token in line.tokens:
        starts.append(starts[-1] + len(token) + 1)
    entities = [_characters(index, span, starts) for index, span in enumerate(line.entities)]
    return join(line.model_extra, text=text, entities=entities)


def _characters(index: int, span: list[int | str], starts: list[int]) -> dict[str, Any]:
    """Turn a span of tokens into a span of characters."""
    if [type(part) for part in span] != [int, int, str]:
        fix = "Write [first token, last token, label]."
        raise FormatError(f"entities[{index}] is {shorten(span)}", fix)
    first, last, label = span
    if not 0 <= first <= last < len(starts) - 1:  # type: ignore[operator]
        fix = "Token indices count from 0 and the last one is inclusive."
        raise FormatError(f"entities[{index}] is {span}, there are {len(starts) - 1} tokens", fix)
    return {"start": starts[first], "end": starts[last + 1] - 1, "label": label}  # type: ignore


def encode(record: Record) -> dict[str, Any]:
    """Write one record as a line of tokens: its text is split at single spaces.

    Args:
        record: the record.

    Returns:
        The object.

    Raises:
        FormatError: two spaces in a row, or a span that does not begin and end with a token.

    Example:
        >>> encode(Record(text="Lake Como", entities=[dict(start=5, end=9, label="name")]))
        {'tokens': ['Lake', 'Como'], 'entities': [[1, 1, 'name']]}
    """
    refuse(record, _LOST, frozenset())
    words = record.text.split(" ") if record.text else []
    if "" in words:
        fix = "Write jsonl, or reduce the spaces to single ones."
        raise FormatError("the text has a space at an edge or two in a row", fix)
    starts, ends, at = {}, {}, 0
    for index, token in enumerate(words):
        starts[at], ends[at + len(token)] = index, index
        at += len(token) + 1
    item = record.to_dict()
    del item["text"]
    found: dict[str, Any] = {"tokens": words}
    if "entities" in item:
        spans = [_tokens(entity, record.text, starts, ends) for entity in record.entities]
        found["entities"] = spans
    return {**found, **{key: value for key, value in item.items() if key not in found}}


def _tokens(entity: Entity, text: str, starts: dict[int, int], ends: dict[int, int]) -> list[Any]:
    """Turn a span of characters into a span of tokens."""
    if entity.start not in starts or entity.end not in ends:
        shown = shorten(text[entity.start : entity.end], 30)
        fix = "Write jsonl, or put spaces around the entity in the text."
        raise FormatError(f"{shown} [{entity.start}, {entity.end}) cuts a token", fix)
    return [starts[entity.start], ends[entity.end], entity.label]
