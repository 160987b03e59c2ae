"""Ragged texts without padding: the kept tokens of a batch, end to end, and blocks of equal length.

A span head works on the kept tokens alone: special tokens and padding are neither projected nor
scored. Texts of similar length share a block, so that short texts need few kernel calls and long
ones never share a padded square.

Post: https://kexue.fm/archives/8373
Axes: B texts, L padded length, N kept tokens in all, b texts of a block, l longest text of a block,
    P spans
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kexue._check import invalid

Spans = Sequence[Sequence[tuple[int, int, int]]] | Tensor

# Cells of score matrix in a block: small enough for a core's cache, large enough for a GPU.
_CPU_CELLS = 2**18
_GPU_CELLS = 2**27


class Packing(NamedTuple):
    """Where the kept tokens of a [B, L] batch are.

    Attributes:
        index: [N] place of each kept token in the flattened [B * L] batch.
        positions: [N] place of each kept token in its text, 0 to L - 1.
        rank: [B * L] number of kept tokens up to and including each place, less one.
        starts: [B + 1] first kept token of each text in the packed order.
        lengths: kept tokens of each text.
    """

    index: Tensor
    positions: Tensor
    rank: Tensor
    starts: Tensor
    lengths: list[int]


class Block(NamedTuple):
    """A few texts of similar length: `index` [b, l] into the packed tokens, `valid` [b, l]."""

    texts: Tensor
    index: Tensor
    valid: Tensor


def pack(mask: Tensor) -> Packing:
    """Find the kept tokens of a batch.

    Args:
        mask: [B, L], True for the tokens that may begin or end a span.

    Returns:
        Their places.

    Raises:
        ValueError: if the mask is not a boolean matrix.

    Example:
        >>> pack(torch.tensor([[False, True, True], [True, False, False]])).lengths
        [2, 1]
    """
    if mask.dtype != torch.bool or mask.dim() != 2:
        raise invalid(
            "mask",
            f"{mask.dtype} {tuple(mask.shape)}",
            "a boolean [B, L] tensor, True = keep",
            "Use attention_mask.bool().",
        )
    flat = mask.flatten()
    index = flat.nonzero().flatten()
    counts = mask.sum(1)
    starts = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    return Packing(index, index % mask.shape[1], flat.cumsum(0) - 1, starts, counts.tolist())


def blocks(packing: Packing, *, matrices: int = 1) -> Iterator[Block]:
    """Cut a batch into blocks of similar length; texts without a kept token are left out.

    Args:
        packing: from `pack`.
        matrices: score matrices [l, l] that are worked on at once for each text.

    Yields:
        The blocks, shortest texts first.

    Example:
        >>> packing = pack(torch.tensor([[True, True, True], [True, False, False]]))
        >>> [block.texts.tolist() for block in blocks(packing)]
        [[1, 0]]
    """
    device = packing.index.device
    cells = _CPU_CELLS if device.type == "cpu" else _GPU_CELLS
    order = sorted((n, text) for text, n in enumerate(packing.lengths) if n)
    group: list[int] = []
    for place, (n, text) in enumerate(order):
        group.append(text)
        longer = order[place + 1][0] if place + 1 < len(order) else n
        if place + 1 == len(order) or (len(group) + 1) * matrices * longer**2 > cells:
            texts = torch.tensor(group, device=device)
            steps = torch.arange(n, device=device)
            valid = steps < (packing.starts[texts + 1] - packing.starts[texts])[:, None]
            index = (packing.starts[texts][:, None] + steps).masked_fill(~valid, 0)
            yield Block(texts, index, valid)
            group = []


def span_table(spans: Spans, packing: Packing, mask: Tensor, num_types: int) -> Tensor:
    """Check gold spans and express them in packed places.

    Args:
        spans: for each text its (type, start, end), token places with both ends included; or the
            same as an integer tensor [B, K, 3] padded with -1.
        packing: from `pack(mask)`.
        mask: [B, L].
        num_types: number of entity types.

    Returns:
        [P, 4] rows (text, type, start, end), start and end counted over the kept tokens of the
        text; each span once, sorted.

    Raises:
        ValueError: if a span names an unknown type, ends before it starts, or touches a token that
            the mask leaves out.

    Example:
        >>> mask = torch.tensor([[False, True, True]])
        >>> span_table([[(0, 1, 2)]], pack(mask), mask, 1)
        tensor([[0, 0, 0, 1]])
    """
    texts, length = mask.shape
    if isinstance(spans, Tensor):
        text, slot = (spans[..., 0] >= 0).nonzero(as_tuple=True)
        table = torch.cat((text[:, None], spans[text, slot]), 1)
    else:
        rows = [(text, *span) for text, found in enumerate(spans) for span in found]
        table = torch.tensor(rows, dtype=torch.long, device=mask.device).reshape(-1, 4)
    if len(spans) != texts:
        raise invalid("spans", f"{len(spans)} lists", f"one list for each of the {texts} texts")
    table = table.unique(dim=0)
    text, kind, start, end = table.unbind(1)
    inside = (kind >= 0) & (kind < num_types) & (start >= 0) & (start <= end) & (end < length)
    safe = table[:, 2:].clamp(0, length - 1) + text[:, None] * length
    good = inside & mask.flatten()[safe].all(1)
    if not good.all():
        shown = table[~good][0].tolist()
        raise invalid(
            "spans",
            f"(type, start, end) = {tuple(shown[1:])} in text {shown[0]}",
            f"types 0 to {num_types - 1}, 0 <= start <= end < {length}, on tokens that mask keeps",
            "Ends are inclusive token places.",
        )
    places = packing.rank[safe] - packing.starts[text][:, None]
    return torch.cat((table[:, :2], places), 1)
