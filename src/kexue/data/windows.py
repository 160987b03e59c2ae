"""Texts of any length for an encoder of limited length, in character coordinates throughout.

A text is cut into windows of at most `window` tokens; neighbours share `overlap` tokens. Gold
spans go into every window that holds them whole. Of the windows that hold a predicted span, the one
where the span lies furthest from a cut decides whether it stands. A text that fits into one window
is treated exactly as if there were no windows.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kexue._check import invalid

CharacterSpan = tuple[int, int, str]


@dataclass(frozen=True)
class Window:
    """Some consecutive tokens of a text.

    Attributes:
        text: which text it belongs to.
        input_ids: token ids, special tokens included.
        keep: True for the tokens of the text, False for special tokens.
        starts: first character of each token in the text.
        ends: character after the last one of each token.
        token_type_ids: segment ids where the tokenizer gives them, else None.

    Example:
        >>> Window(0, [2, 9, 3], [False, True, False], [0, 0, 0], [0, 4, 0]).ends[1]
        4
    """

    text: int
    input_ids: list[int]
    keep: list[bool]
    starts: list[int]
    ends: list[int]
    token_type_ids: list[int] | None = None

    @property
    def first(self) -> int:
        """First character that the window sees."""
        return min((s for s, keep in zip(self.starts, self.keep, strict=True) if keep), default=0)

    @property
    def last(self) -> int:
        """Character after the last one that the window sees."""
        return max((e for e, keep in zip(self.ends, self.keep, strict=True) if keep), default=0)


def cut_windows(
    texts: Sequence[str], tokenizer: Any, *, window: int, overlap: int, batch: int = 1000
) -> Iterator[Window]:
    """Tokenise texts and cut them into windows.

    Args:
        texts: the texts.
        tokenizer: a fast tokenizer of `transformers`.
        window: most tokens of a window, special tokens included.
        overlap: tokens that neighbouring windows share.
        batch: texts that are tokenised at once.

    Yields:
        The windows in the order of the texts; every text has at least one.

    Raises:
        ValueError: if the tokenizer is not a fast one, or the overlap leaves no room to move on.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import PreTrainedTokenizerFast
        >>> base = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
        >>> base.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=base)
        >>> [w.starts for w in cut_windows(["a a a"], tokenizer, window=2, overlap=1)]
        [[0, 2], [2, 4]]
    """
    if not getattr(tokenizer, "is_fast", False):
        raise invalid(
            "tokenizer",
            type(tokenizer).__name__,
            "a fast tokenizer, which knows where its tokens are in the text",
            "Load it with AutoTokenizer.from_pretrained(folder, use_fast=True).",
        )
    room = window - tokenizer.num_special_tokens_to_add()
    if not 0 <= overlap < room:
        raise invalid(
            "overlap", overlap, f"0 to {room - 1} for a window of {window}", "Try window // 4."
        )
    for begin in range(0, len(texts), batch):
        part = list(texts[begin : begin + batch])
        coded = tokenizer(
            part,
            truncation=True,
            max_length=window,
            stride=overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        segments = coded.get("token_type_ids")
        for row, text in enumerate(coded["overflow_to_sample_mapping"]):
            starts, ends, keep = _tight(
                part[text], coded["offset_mapping"][row], coded["special_tokens_mask"][row]
            )
            kinds = None if segments is None else segments[row]
            yield Window(begin + text, coded["input_ids"][row], keep, starts, ends, kinds)


def _tight(
    text: str, offsets: Iterable[tuple[int, int]], special: Iterable[int]
) -> tuple[list[int], list[int], list[bool]]:
    """Take white space off the edges of tokens; a token of nothing else is not kept."""
    starts, ends, keep = [], [], []
    for (given, end), is_special in zip(offsets, special, strict=True):
        start = given
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1  # noqa: PLW2901
        starts.append(start)
        ends.append(end)
        keep.append(start < end and not is_special)
    return starts, ends, keep


def token_spans(
    window: Window, spans: Iterable[CharacterSpan]
) -> dict[CharacterSpan, tuple[int, int]]:
    """Find the tokens of character spans in a window.

    Args:
        window: from `cut_windows`.
        spans: (start, end, label) in characters of the text, end exclusive.

    Returns:
        For each span that begins with a token and ends with one, its first and last token, both
        included. The others are not in this window, or do not align.

    Example:
        >>> window = Window(0, [2, 9, 8, 3], [False, True, True, False], [0, 0, 5, 0], [0, 4, 8, 0])
        >>> token_spans(window, [(0, 8, "name"), (1, 4, "name")])
        {(0, 8, 'name'): (1, 2)}
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for place, keep in enumerate(window.keep):
        if keep:
            first.setdefault(window.starts[place], place)
            last[window.ends[place]] = place
    return {
        span: (first[span[0]], last[span[1]])
        for span in spans
        if span[0] in first and span[1] in last and first[span[0]] <= last[span[1]]
    }


def merge_windows(
    found: Sequence[tuple[Window, Sequence[tuple[int, int, str, float]]]], length: int
) -> list[tuple[int, int, str, float]]:
    """Merge what was found in the windows of one text.

    Args:
        found: the windows of the text in order, each with its spans (start, end, label, score) in
            characters of the text.
        length: characters of the text.

    Returns:
        Spans by start, end and label. A span counts if the window decides for it in which it lies
        furthest from a cut; the ends of the text are not cuts.

    Example:
        >>> left = Window(0, [1], [True], [0], [6])
        >>> right = Window(0, [1], [True], [3], [10])
        >>> merge_windows([(left, [(4, 6, "x", 0.9)]), (right, [(6, 9, "x", 0.8)])], 10)
        [(6, 9, 'x', 0.8)]
    """
    left = [window.first for window, _ in found]
    right = [window.last for window, _ in found]
    left[0], right[-1] = -length, 2 * length
    merged: dict[tuple[int, int, str], float] = {}
    for place, (_, spans) in enumerate(found):
        for start, end, label, score in spans:
            if _decides(place, start, end, left, right):
                merged.setdefault((start, end, label), score)
    return [(*span, score) for span, score in sorted(merged.items())]


def _decides(place: int, start: int, end: int, left: list[int], right: list[int]) -> bool:
    """Whether no other window sees more around the span; of equals the earlier one decides."""

    def room(other: int) -> int:
        return min(start - left[other], right[other] - end)

    before, after = place - 1, place + 1
    while before >= 0 and right[before] >= end:
        if room(before) >= room(place):
            return False
        before -= 1
    while after < len(left) and left[after] <= start:
        if room(after) > room(place):
            return False
        after += 1
    return True
