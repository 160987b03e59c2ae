"""Hierarchical decomposition: a table of n learned positions serves n^2 of them.

    u_j = (p_j - alpha p_0) / (1 - alpha)                   p_0 ... p_(n-1) the trained rows
    q_t = alpha u_a + (1 - alpha) u_b                       t = a n + b, 0 <= b < n
        = p_b + alpha / (1 - alpha) (p_a - p_0)             the same, as it is computed

The first n positions are the trained ones, bit for bit; behind them each stretch of n repeats the
table, moved by a direction of its own. With alpha = 1/2 positions a n + b and b n + a would be the
same; below 1/2 the place within a stretch counts more than the stretch.

Post: https://kexue.fm/archives/7947
Axes: n trained positions, D width of the table, L positions, "..." any batch axes
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kexue._check import invalid


def hierarchical_table(table: Tensor, length: int, *, alpha: float = 0.4) -> Tensor:
    """Lengthen a table of learned positions.

    Args:
        table: [n, D] trained rows, the first of them position 0. A table that begins with rows of
            other use, such as the first two of RoBERTa, is passed without them.
        length: L, positions that the new table shall have, at most n^2.
        alpha: weight of the stretch against the place in it, between 0 and 1 but not 1/2.

    Returns:
        [L, D] in the dtype of `table`; the first n rows are those of `table`, bit for bit.

    Raises:
        ValueError: if `length` is not between 1 and n^2, or `alpha` is not allowed.

    Example:
        >>> hierarchical_table(torch.tensor([[0.0], [1.0], [2.0]]), 9, alpha=0.25).flatten()
        tensor([0.0000, 1.0000, 2.0000, 0.3333, 1.3333, 2.3333, 0.6667, 1.6667, 2.6667])
    """
    shift = _shift(alpha)
    trained = len(table)
    if not 0 < length <= trained**2:
        raise invalid("length", length, f"1 to {trained**2}, the square of the {trained} rows")
    stretches = -(-length // trained)
    wide = table.to(torch.promote_types(table.dtype, torch.float32))
    moved = wide + shift * (wide[1:stretches, None] - wide[0])  # [stretches - 1, n, D]
    return torch.cat((table, moved.flatten(0, 1).to(table.dtype)))[:length]


def hierarchical_rows(table: Tensor, positions: Tensor, *, alpha: float = 0.4) -> Tensor:
    """Look positions up in the lengthened table without building it.

    For a model whose parameters stay the n trained rows: all positions made of a row share its
    gradient, so that fine-tuning on long texts trains the table of short ones.

    Args:
        table: [n, D] trained rows, the first of them position 0.
        positions: [...] whole numbers from 0 to n^2 - 1.
        alpha: weight of the stretch against the place in it, between 0 and 1 but not 1/2.

    Returns:
        [..., D] in the dtype of `table`.

    Raises:
        ValueError: if a position is negative or n^2 or more, or `alpha` is not allowed.

    Example:
        >>> table = torch.tensor([[0.0], [1.0], [2.0]])
        >>> hierarchical_rows(table, torch.tensor([[1, 4], [7, 8]]), alpha=0.25).squeeze(-1)
        tensor([[1.0000, 1.3333],
                [1.6667, 2.6667]])
    """
    shift = _shift(alpha)
    trained = len(table)
    outside = positions[(positions < 0) | (positions >= trained**2)]
    if outside.numel():
        raise invalid(
            "positions",
            outside[0].item(),
            f"0 to {trained**2 - 1}: {trained} rows give their square in positions",
        )
    wide = table.to(torch.promote_types(table.dtype, torch.float32))
    stretch = F.embedding(positions // trained, wide) - wide[0]
    return (F.embedding(positions % trained, wide) + shift * stretch).to(table.dtype)


def _shift(alpha: float) -> float:
    """The factor on p_a - p_0, for an alpha that keeps all positions apart."""
    if not 0 < alpha < 1 or alpha == 0.5:
        raise invalid(
            "alpha",
            alpha,
            "between 0 and 1 but not 0.5",
            "At 0.5 position a n + b is the same as b n + a; 0.4 is a good choice.",
        )
    return alpha / (1 - alpha)
