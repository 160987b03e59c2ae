"""Pairs of texts of any length for an encoder of limited length.

A pair that fits goes through as one. Of a longer pair the shorter text stands whole beside each
part of the longer one, if it takes no more than half the room. If not, both are cut into parts of
half the room, and part k of one stands beside part k of the other; the one that has fewer parts
begins again. Every token of both texts is in some window.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from kexue._check import invalid
from kexue.data.windows import Window


def cut_pairs(
    pairs: Sequence[tuple[str, str]], tokenizer: Any, *, window: int, batch: int = 1000
) -> Iterator[Window]:
    """Tokenise pairs of texts and cut them into windows.

    Args:
        pairs: the pairs.
        tokenizer: a fast tokenizer of `transformers`.
        window: most tokens of a window, special tokens included.
        batch: pairs that are tokenised at once.

    Yields:
        The windows in the order of the pairs, every pair has at least one. `starts` and `ends` of a
        token count characters of the text of the pair that it is from.

    Raises:
        ValueError: if the tokenizer is not a fast one, or the window has no room for two texts.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import PreTrainedTokenizerFast
        >>> base = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
        >>> base.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=base)
        >>> [w.input_ids for w in cut_pairs([("a a a", "b")], tokenizer, window=3)]
        [[1, 1, 2], [1, 2]]
    """
    if not getattr(tokenizer, "is_fast", False):
        given = type(tokenizer).__name__
        raise invalid("tokenizer", given, "a fast tokenizer, which knows where its tokens are")
    room = window - tokenizer.num_special_tokens_to_add(pair=True)
    if room < 2:
        raise invalid("window", window, f"{window - room + 2} or more for pairs of texts")
    for begin in range(0, len(pairs), batch):
        part = list(pairs[begin : begin + batch])
        coded = tokenizer(
            [one for one, _ in part],
            [two for _, two in part],
            truncation=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        segments = coded.get("token_type_ids")
        for row in range(len(part)):
            kinds = None if segments is None else segments[row]
            columns = (coded["input_ids"][row], coded["offset_mapping"][row], kinds)
            sides = coded.sequence_ids(row)
            for places in _windows(sides, room):
                yield _window(begin + row, places, columns, sides)


def _windows(sides: Sequence[int | None], room: int) -> Iterator[list[int]]:
    """List the places of each window's tokens, special tokens in all of them."""
    texts = [[place for place, side in enumerate(sides) if side == k] for k in (0, 1)]
    special = [place for place, side in enumerate(sides) if side is None]
    lengths = [len(text) for text in texts]
    if sum(lengths) <= room:
        yield list(range(len(sides)))
        return
    half = min(*lengths, room // 2)
    # Half the room for the shorter text, or less if that is all it needs; the rest for the other.
    sizes = [half, room - half] if lengths[0] <= lengths[1] else [room - half, half]
    parts = [list(_parts(text, max(size, 1))) for text, size in zip(texts, sizes, strict=True)]
    for number in range(max(map(len, parts))):
        chosen = [own[number % len(own)] for own in parts if own]
        yield sorted(special + [place for part in chosen for place in part])


def _parts(places: Sequence[int], size: int) -> Iterator[list[int]]:
    remaining = iter(places)
    while part := list(islice(remaining, size)):
        yield part


def _window(
    number: int,
    places: Sequence[int],
    columns: tuple[Sequence[int], Sequence[tuple[int, int]], Sequence[int] | None],
    sides: Sequence[int | None],
) -> Window:
    ids, offsets, kinds = columns
    return Window(
        number,
        [ids[place] for place in places],
        [sides[place] is not None for place in places],
        [offsets[place][0] for place in places],
        [offsets[place][1] for place in places],
        None if kinds is None else [kinds[place] for place in places],
    )
