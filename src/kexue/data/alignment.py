"""Which spans of characters a tokenizer can express as spans of tokens."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from kexue.data.records import Record

_BATCH = 256


class FastTokenizer(Protocol):
    """What is asked of a tokenizer: to be called like a fast one of Hugging Face."""

    def __call__(self, text: list[str], **options: Any) -> Any:
        """Encode texts; the result has `offset_mapping`."""


Bounds = tuple[list[int], list[int]]


def offsets(records: Sequence[Record], tokenizer: FastTokenizer) -> Iterator[Bounds]:
    """Find the characters of every token, without special tokens and white space.

    Args:
        records: the records.
        tokenizer: a fast tokenizer of Hugging Face.

    Yields:
        For each record the starts of its tokens, and their ends.
    """
    for at in range(0, len(records), _BATCH):
        texts = [record.text for record in records[at : at + _BATCH]]
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=True,
            truncation=False,
            verbose=False,
        )
        for text, found in zip(texts, encoded["offset_mapping"], strict=True):
            spans = [_strip(text, start, end) for start, end in found if start < end]
            yield [start for start, _ in spans], [end for _, end in spans]


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    """Some tokenizers count the space before a word to the word."""
    piece = text[start:end]
    if not piece.strip():
        return start, end
    return end - len(piece.lstrip()), start + len(piece.rstrip())


def token_span(bounds: Bounds, start: int, end: int) -> tuple[bool, tuple[int, int]]:
    """Find the tokens of a span of characters.

    Args:
        bounds: the starts of all tokens, and their ends.
        start: first character of the span.
        end: character after its last.

    Returns:
        Whether the span begins and ends with a token, and the tokens that it touches, as first and
        one after the last.

    Example:
        >>> bounds = ([0, 4], [3, 8])
        >>> token_span(bounds, 4, 8), token_span(bounds, 2, 8)
        ((True, (1, 2)), (False, (0, 2)))
    """
    starts, ends = bounds
    first, after = bisect_right(ends, start), bisect_left(starts, end)
    if first >= after:
        return False, (0, 0)
    return starts[first] == start and ends[after - 1] == end, (first, after)
