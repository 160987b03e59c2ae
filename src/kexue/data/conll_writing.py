"""Write records as CoNLL files; what tags and lines cannot hold is refused by record."""

from collections.abc import Iterable, Iterator
from typing import Any

from kexue.data.conll import flat, guess_joiner, is_comment
from kexue.data.explaining import shorten
from kexue.data.jsonl import refuse
from kexue.data.records import Entity, FormatError, Record

# first, middle, last and single token of an entity
SCHEMES = {"bio": "BIIB", "bioes": "BIES", "bmes": "BMES"}
_LOST = frozenset(
    {"relations", "events", "label", "pair", "question", "answers", "choices", "summary"}
)
_KEPT = frozenset({"columns", "comments"})


def choose_joiner(records: Iterable[Record]) -> str:
    """Decide between characters and words as tokens, as reading will decide.

    Args:
        records: the records to be written.

    Returns:
        `""` (a token a character) where a third of the letters are Chinese or Japanese, else one
        space.

    Example:
        >>> choose_joiner([Record(text="我在北京")]), choose_joiner([Record(text="Hello there")])
        ('', ' ')
    """
    return guess_joiner(word for record in records for word in record.text.split(" "))


def encode(record: Record, scheme: str, joiner: str) -> Iterator[str]:
    r"""Write one record as tagged lines, the blank line after it included.

    Args:
        record: the record.
        scheme: `bio`, `bioes` or `bmes`.
        joiner: `""` for a token a character, `" "` for a token a word.

    Yields:
        Lines without their ends.

    Raises:
        FormatError: nested entities, an entity that cuts a token, an empty text, a line break or
            a tab in the text, or anything else that has no column.

    Example:
        >>> record = Record(text="北京", entities=[dict(start=0, end=2, label="p")])
        >>> list(encode(record, "bmes", ""))
        ['北\tB-p', '京\tE-p', '']
    """
    refuse(record, _LOST | (set(record.model_extra or {}) - _KEPT), frozenset())
    words = list(record.text) or [""] if joiner == "" else record.text.split(joiner)
    _check_words(words, record.text)
    tags = _tags(record, words, SCHEMES[scheme], len(joiner))
    columns = _columns(record, len(words))
    yield from _comments(record)
    for word, middle, tag in zip(words, columns, tags, strict=True):
        yield "\t".join([word, *middle, tag])
    yield ""


def _check_words(words: list[str], text: str) -> None:
    for word in words:
        if not word:
            fix = "Write jsonl, or read and write with joiner '' (a token a character)."
            raise FormatError(f"{shorten(text)} is empty or has two spaces in a row", fix)
        if {"\n", "\x00", "\t"} & set(word) or word.startswith("\ufeff"):
            fix = "Write jsonl or brat, which hold it."
            raise FormatError(f"the text has {shorten(word)}, which a column cannot hold", fix)
    if words[0].startswith("-DOCSTART-"):
        raise FormatError("-DOCSTART- would be read as a mark, not as a token", "Write jsonl.")


def _tags(record: Record, words: list[str], letters: str, gap: int) -> list[str]:
    tags = ["O"] * len(words)
    starts, ends, at = {}, {}, 0
    for index, word in enumerate(words):
        starts[at], ends[at + len(word)] = index, index
        at += len(word) + gap
    for entity in flat(record.entities):
        _check_entity(entity, record.text, starts, ends)
        first, last = starts[entity.start], ends[entity.end]
        for index in range(first, last + 1):
            tags[index] = f"{letters[1]}-{entity.label}"
        tags[last] = f"{letters[2]}-{entity.label}"
        tags[first] = f"{letters[3 if first == last else 0]}-{entity.label}"
    return tags


def _check_entity(entity: Entity, text: str, starts: dict[int, int], ends: dict[int, int]) -> None:
    if entity.start not in starts or entity.end not in ends:
        shown = shorten(text[entity.start : entity.end], 30)
        fix = "Write with joiner '' (a token a character), or put spaces around it in the text."
        raise FormatError(f"{shown} [{entity.start}, {entity.end}) cuts a token", fix)
    if {"\t", "\n", "\x00"} & set(entity.label) or entity.label.endswith("\r"):
        raise FormatError(f"the label {entity.label!r} breaks a line or a column", "Rename it.")


def _columns(record: Record, length: int) -> list[list[str]]:
    """The columns between token and tag, kept from reading."""
    given: Any = (record.model_extra or {}).get("columns")
    if given is None:
        return [[]] * length
    wellformed = isinstance(given, list) and len(given) == length
    if not wellformed or not all(isinstance(row, list) and _cells(row) for row in given):
        fix = "Give one list of strings a token, or leave it out: --drop columns."
        raise FormatError(f"columns is {shorten(given)}, the text has {length} tokens", fix)
    return given


def _cells(row: list[Any]) -> bool:
    return all(isinstance(cell, str) and not {"\t", "\n", "\x00"} & set(cell) for cell in row)


def _is_line(comment: str) -> bool:
    """Whether reading gives a comment back as it is: its own line, nothing lost at its end."""
    return is_comment(comment) and not comment.endswith("\r")


def _comments(record: Record) -> list[str]:
    given: Any = (record.model_extra or {}).get("comments", [])
    if not (isinstance(given, list) and _cells(given) and all(map(_is_line, given))):
        fix = "Give a list of lines like '# key = value', or leave it out: --drop comments."
        raise FormatError(f"comments is {shorten(given)}", fix)
    return given
