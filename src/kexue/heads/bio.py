"""BIO tags: the spans of a text as one tag a token, for a flat tagger.

    tag 0 = O;  2 type + 1 = B-type;  2 type + 2 = I-type

A token has one tag, so spans that share a token cannot both be written: of such spans the longest
is kept, then the one that starts first, then the lowest type. Nested entities are lost here, which
is what the span heads exist to avoid. Reading, a span is a B-x and the I-x that follow it; an I-x
that follows neither B-x nor I-x starts nothing.

Post: https://kexue.fm/archives/5542
Axes: N kept tokens of all texts end to end, P spans, K = 2 types + 1 tags
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Runs(NamedTuple):
    """Spans of N tokens, [P] each: `kind`, and the places `first` and `last`, both included."""

    kind: Tensor
    first: Tensor
    last: Tensor


def bio_tags(spans: Runs, length: int) -> Tensor:
    """Write spans as tags.

    Args:
        spans: in any order; none crosses from one text into the next.
        length: N.

    Returns:
        [N] tags.

    Example:
        >>> spans = Runs(torch.tensor([1, 0]), torch.tensor([0, 1]), torch.tensor([1, 3]))
        >>> bio_tags(spans, 5)  # they share token 1, and the second is longer
        tensor([0, 1, 2, 2, 0])
    """
    rows = zip(*(column.tolist() for column in spans), strict=True)
    taken = bytearray(length)
    tags = [0] * length
    for kind, first, last in sorted(rows, key=lambda row: (row[1] - row[2], row[1], row[0])):
        if taken.find(1, first, last + 1) < 0:
            size = last - first + 1
            taken[first : last + 1] = b"\x01" * size
            tags[first : last + 1] = [2 * kind + 1] + [2 * kind + 2] * (size - 1)
    return torch.tensor(tags, dtype=torch.long, device=spans.kind.device)


def read_bio(tags: Tensor, begins_text: Tensor) -> Runs:
    """Read the spans of a tag sequence.

    Args:
        tags: [N].
        begins_text: [N] bool, True for the first token of each text.

    Returns:
        The spans, by place.

    Example:
        >>> tags = torch.tensor([2, 1, 2, 4, 3, 0])  # I-0 B-0 I-0 I-1 B-1 O
        >>> read_bio(tags, torch.tensor([True] + [False] * 5))
        Runs(kind=tensor([0, 1]), first=tensor([1, 4]), last=tensor([2, 4]))
    """
    goes_on = continues(tags, begins_text)
    breaks = (~goes_on).nonzero().flatten()
    until = torch.cat((breaks[1:], breaks.new_tensor([len(tags)]))) - 1
    opens = tags[breaks] % 2 == 1
    first = breaks[opens]
    return Runs(tags[first] // 2, first, until[: len(breaks)][opens])


def continues(tags: Tensor, begins_text: Tensor) -> Tensor:
    """Find the tokens that belong to the same run as the token before them.

    Args:
        tags: [N].
        begins_text: [N] bool.

    Returns:
        [N] bool.

    Example:
        >>> continues(torch.tensor([1, 2, 4]), torch.tensor([True, False, False]))
        tensor([False,  True, False])
    """
    before = tags.roll(1)
    inside = (tags > 0) & (tags % 2 == 0)
    return inside & ((before == tags) | (before == tags - 1)) & ~begins_text


def bio_allowed(num_types: int, *, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Tell which transitions and which first tags occur in valid sequences.

    Args:
        num_types: number of entity types.
        device: where the result shall be.

    Returns:
        [K, K] bool from row to column, False into I-x from anything but B-x and I-x; and [K] bool,
        False for I-x.

    Example:
        >>> bio_allowed(1)[0].int()
        tensor([[1, 1, 0],
                [1, 1, 1],
                [1, 1, 1]], dtype=torch.int32)
    """
    tags = torch.arange(2 * num_types + 1, device=device)
    first = (tags == 0) | (tags % 2 == 1)
    same = (tags[:, None] == tags) | (tags[:, None] == tags - 1)
    return first | same, first
