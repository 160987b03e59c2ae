"""The multi-label loss of GlobalPointer scores, one cached block of score matrices at a time.

    s_a(i, j) = <q_a,i, k_a,j>, summed over i <= j

Score matrices exist only for the block being worked on; value and gradient are formed together from
one exponential a cell. Rows are taken in strips that begin at the diagonal, so that most of the
lower triangle is never computed.

Post: https://kexue.fm/archives/8373 (the scores), https://kexue.fm/archives/7359 (the loss)
Axes: M matrices (one for each text and type), l tokens, d head size, P positives
"""

import torch
from torch import Tensor

from kexue.losses.multilabel import positive_part

_STRIP = 128


def matrix_loss(
    query: Tensor, key: Tensor, valid: Tensor, spans: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the multi-label softmax loss of a block of score matrices, and its gradient.

    Args:
        query: [M, l, d] float32 or float64, already divided by sqrt(d).
        key: [M, l, d].
        valid: [M, l] which tokens exist; those that do come first.
        spans: [P, 3] positives (matrix, start, end).

    Returns:
        [M] losses and the derivatives by query and key.

    Example:
        >>> zero = torch.zeros(1, 2, 1)
        >>> valid = torch.ones(1, 2, dtype=torch.bool)
        >>> matrix_loss(zero, zero, valid, torch.tensor([[0, 0, 0]]))[0]  # log 3 + log 2
        tensor([1.7918])
    """
    matrix, first, last = spans.unbind(1)
    values = (query[matrix, first] * key[matrix, last]).sum(1)
    loss, slope = positive_part(values, matrix, len(query))
    # Rows of padding end in columns of padding, so that hiding the columns hides both.
    off = None if valid.all() else ~valid[:, None]
    strips = []
    top = query.new_zeros(len(query))
    for begin in range(0, query.shape[1], _STRIP):
        cells = query[:, begin : begin + _STRIP] @ key[:, begin:].transpose(1, 2)
        height = cells.shape[1]
        below = torch.ones(height, height, dtype=torch.bool, device=cells.device).tril_(-1)
        cells[:, :, :height].masked_fill_(below, -torch.inf)
        if off is not None:
            cells.masked_fill_(off[:, :, begin:], -torch.inf)
        held = (first >= begin) & (first < begin + height)
        place = matrix[held], first[held] - begin, last[held] - begin
        cells[place] = -torch.inf
        top = torch.maximum(top, cells.amax((1, 2)))
        strips.append((begin, cells, place, slope[held]))
    total = (-top).exp()
    for _, cells, _, _ in strips:
        total += cells.sub_(top[:, None, None]).exp_().sum((1, 2))
    loss += top + total.log()
    by_query, by_key = torch.empty_like(query), torch.zeros_like(key)
    for begin, cells, place, part in strips:
        cells.mul_(total.reciprocal()[:, None, None])
        cells[place] = part
        by_query[:, begin : begin + _STRIP] = cells @ key[:, begin:]
        by_key[:, begin:] += cells.transpose(1, 2) @ query[:, begin : begin + _STRIP]
    return loss, by_query, by_key
