"""Chunks of a batch for a budget of tokens: texts of nearly equal length, without their padding.

A batch is padded to its longest text. Sorted by falling length and cut where

    texts of the chunk * longest text of the chunk <= budget,

each chunk needs padding to its own longest text alone. Of all ways to cut, the one is taken that
computes the fewest tokens, where one more chunk counts as an eighth of the budget: a text that is
much longer than the rest goes alone, and texts of one length fill their chunks. The longest texts
come first, so that a chunk that does not fit into memory is met at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kexue._check import invalid

Inputs = Tensor | Mapping[str, Tensor]
MASK = "attention_mask"
# What one more chunk costs, as a share of the budget
_OVERHEAD = 1 / 8


class Chunk(NamedTuple):
    """Some rows of a batch.

    Attributes:
        rows: which ones, a slice or [b] indices.
        length: tokens of the longest text among them, None where nothing is trimmed.

    Example:
        >>> Chunk(slice(0, 2), None).length is None
        True
    """

    rows: slice | Tensor
    length: int | None


def count_rows(inputs: Inputs) -> int:
    """Count the rows of a batch.

    Args:
        inputs: a tensor [B, ...] or a mapping of names to such tensors, as tokenizers give it.

    Returns:
        B.

    Raises:
        ValueError: if there are no rows, the tensors differ in their number, or something else
            than tensors was given.

    Example:
        >>> count_rows({"input_ids": torch.ones(3, 5), "attention_mask": torch.ones(3, 5)})
        3
    """
    named = dict(inputs) if isinstance(inputs, Mapping) else {"inputs": inputs}
    counts = {}
    for name, x in named.items():
        if not isinstance(x, Tensor) or x.ndim == 0:
            given = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise invalid(name, given, "a tensor whose first axis is the text")
        counts[name] = len(x)
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise invalid("the rows of the inputs", counts, "one number, 1 or more, for all tensors")
    return next(iter(counts.values()))


def text_lengths(inputs: Inputs) -> Tensor:
    """Count the tokens of each text up to its last one that is no padding.

    Args:
        inputs: a mapping with "attention_mask" [B, L], not 0 where a token is.

    Returns:
        [B] integers on the CPU, at least 1. Padding on the left counts: without it the texts would
        stand elsewhere.

    Raises:
        ValueError: if there is no such mask.

    Example:
        >>> text_lengths({"attention_mask": torch.tensor([[1, 1, 0], [0, 1, 1]])})
        tensor([2, 3])
    """
    mask = inputs.get(MASK) if isinstance(inputs, Mapping) else None
    if mask is None or mask.ndim != 2:
        given = list(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
        fix = "Use chunk_size where there are no lengths to go by."
        raise invalid("inputs", given, f"a mapping with {MASK!r} [B, L] for a token budget", fix)
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return ((mask != 0) * places).amax(-1).clamp_min(1).cpu()


def plan_chunks(
    inputs: Inputs, *, chunk_size: int | None = None, tokens_per_chunk: int | None = None
) -> list[Chunk]:
    """Cut a batch into chunks.

    Args:
        inputs: a tensor [B, ...] or a mapping of names to such tensors.
        chunk_size: rows per chunk at most.
        tokens_per_chunk: texts times longest text per chunk at most; a text that is longer makes
            a chunk of its own. Needs the attention mask, and sorts by length; with `chunk_size`
            alone rows stay in their order.

    Returns:
        The chunks, in which every row occurs once; the longest texts first under a budget.

    Raises:
        ValueError: if neither rule was given or one is not positive.

    Example:
        >>> mask = torch.tensor([[1, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]])
        >>> for rows, length in plan_chunks({"attention_mask": mask}, tokens_per_chunk=8):
        ...     print(rows.tolist(), length)
        [1, 3] 3
        [0, 2] 1
    """
    total = count_rows(inputs)
    rules = {"chunk_size": chunk_size, "tokens_per_chunk": tokens_per_chunk}
    if chunk_size is None and tokens_per_chunk is None:
        raise invalid("chunk_size", None, "a number of rows, or tokens_per_chunk instead")
    for name, given in rules.items():
        if given is not None and given < 1:
            raise invalid(name, given, "1 or more")
    if tokens_per_chunk is None:
        return [Chunk(slice(i, i + chunk_size), None) for i in range(0, total, chunk_size)]
    lengths, order = text_lengths(inputs).sort(descending=True, stable=True)
    sizes = _best_sizes(lengths.numpy(), tokens_per_chunk, chunk_size or total)
    starts = np.cumsum([0, *sizes[:-1]])
    longest = lengths[starts].tolist()
    return [Chunk(*pair) for pair in zip(order.split(sizes), longest, strict=True)]


def _best_sizes(lengths: np.ndarray, budget: int, most: int) -> list[int]:
    """Cut falling lengths into chunks; finds the best cut of each rest, beginning at the end."""
    total = len(lengths)
    cost, size = np.zeros(total + 1), np.ones(total, dtype=int)
    counts = np.arange(1, total + 1)
    for start in range(total - 1, -1, -1):
        longest = lengths[start]
        reach = min(most, max(1, budget // longest), total - start)
        tokens = longest * counts[:reach] + cost[start + 1 : start + 1 + reach]
        # Of equal ones the fullest
        size[start] = reach - tokens[::-1].argmin()
        cost[start] = tokens[size[start] - 1] + _OVERHEAD * budget
    sizes, start = [], 0
    while start < total:
        sizes.append(int(size[start]))
        start += sizes[-1]
    return sizes


def take_chunk(inputs: Inputs, chunk: Chunk) -> Tensor | dict[str, Tensor]:
    """Take the rows of a chunk out of a batch, without padding that none of them needs.

    Args:
        inputs: what the chunk was planned for.
        chunk: which rows.

    Returns:
        What came in, with the rows of the chunk. Where the chunk has a length, each tensor whose
        first two axes are those of the attention mask is cut to it.

    Example:
        >>> ids = torch.tensor([[5, 0, 0], [6, 7, 8]])
        >>> batch = {"input_ids": ids, "attention_mask": ids > 0}
        >>> take_chunk(batch, Chunk(torch.tensor([0]), 1))
        {'input_ids': tensor([[5]]), 'attention_mask': tensor([[True]])}
    """
    rows, length = chunk
    if not isinstance(inputs, Mapping):
        return inputs[rows]
    if length is None:
        return {name: x[rows] for name, x in inputs.items()}
    shape = inputs[MASK].shape
    return {
        name: (x[:, :length] if x.shape[:2] == shape else x)[rows] for name, x in inputs.items()
    }
