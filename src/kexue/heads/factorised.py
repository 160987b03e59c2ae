"""The loss of EfficientGlobalPointer without a score tensor of [types, l, l].

    s_a(i, j) = e_ij + a_i + c_j, so for each type
    sum_ij e^s = sum_i e^(a_i) (sum_j e^(e_ij) e^(c_j)):

one exponential a cell for all types together, then matrix products whose width is the number of
types. Each factor is shifted by its maximum. Rows that hold a positive are summed again, without
it, so nothing is subtracted; so are the rows whose shifted sum comes near the smallest float32.
The gradient is formed beside the value: backward only scales it.

Post: https://kexue.fm/archives/8877 (the scores), https://kexue.fm/archives/7359 (the loss)
Axes: b texts of a block, l tokens, T types, d head size, R rows done again, P positives
"""

from typing import NamedTuple

import torch
from torch import Tensor

from kexue.losses.multilabel import positive_part

# A shifted row sum is trusted above this: what float32 flushes to zero is 1e-7 of it or less.
_TRUST = 1e-28
# Below this exponent an untrusted row adds less than 1e-10 to a sum that is at least 1.
_MATTERS = 40.0


class Factors(NamedTuple):
    """The factors of a block: `query`, `key` [b, l, d], `start`, `end` [b, l, T], -inf off text."""

    query: Tensor
    key: Tensor
    start: Tensor
    end: Tensor


class _Rows(NamedTuple):
    """Rows (text, row, type) summed without the factorisation, and their [R, l] scores less a_i."""

    text: Tensor
    row: Tensor
    kind: Tensor
    scores: Tensor


def factorised_loss(factors: Factors, spans: Tensor) -> tuple[Tensor, Factors]:
    """Compute the multi-label softmax loss of a block, and its gradient.

    Args:
        factors: float32 or float64 factors of s_a(i, j); query already divided by sqrt(d).
        spans: [P, 4] gold spans (text of the block, type, start, end).

    Returns:
        [b] losses summed over types, and the derivatives by the factors.

    Example:
        >>> zero = torch.zeros(1, 2, 1)
        >>> loss, slope = factorised_loss(Factors(zero, zero, zero, zero), torch.tensor([[0] * 4]))
        >>> loss  # two negatives and one positive at score 0: log 3 + log 2
        tensor([1.7918])
    """
    query, key, start, end = factors
    count, length, types = start.shape
    text, kind, first, last = spans.unbind(1)
    cells = query @ key.transpose(1, 2)
    below = torch.ones(length, length, dtype=torch.bool, device=cells.device).tril_(-1)
    cells.masked_fill_(below, -torch.inf)
    values = cells[text, first, last] + start[text, first, kind] + end[text, last, kind]
    rows = _rows_with_positives(cells, end, spans)

    peak = cells.amax(2, keepdim=True)
    top = end.amax(1, keepdim=True)
    raised = cells.sub_(peak).exp_()
    columns = (end - top).exp()
    sums = raised @ columns
    shift = start + peak + top
    weak = (sums < _TRUST) & (shift > _MATTERS)
    if weak.any():
        rows = _with_weak_rows(factors, rows, weak)
    logs = shift + sums.log()
    place = rows.text, rows.row, rows.kind
    logs[place] = start[place] + rows.scores.logsumexp(1)
    total = torch.cat((logs, logs.new_zeros(count, 1, types)), 1).logsumexp(1)
    positive, slope = positive_part(values, text * types + kind, count * types)
    loss = total.sum(1) + positive.view(count, types).sum(1)

    weight = (shift - total[:, None]).exp_()
    weight[place] = 0
    by_start = (logs - total[:, None]).exp_()
    by_end = (raised.transpose(1, 2) @ weight).mul_(columns)
    by_cell = (weight @ columns.transpose(1, 2)).mul_(raised)
    share = (rows.scores + (start[place] - total[rows.text, rows.kind])[:, None]).exp_()
    by_cell.index_put_((rows.text, rows.row), share, accumulate=True)
    by_end.transpose(1, 2).index_put_((rows.text, rows.kind), share, accumulate=True)
    by_cell.index_put_((text, first, last), slope, accumulate=True)
    by_start.index_put_((text, first, kind), slope, accumulate=True)
    by_end.index_put_((text, last, kind), slope, accumulate=True)
    return loss, Factors(by_cell @ key, by_cell.transpose(1, 2) @ query, by_start, by_end)


def _rows_with_positives(cells: Tensor, end: Tensor, spans: Tensor) -> _Rows:
    """Copy the rows that hold a positive, each (text, row, type) once, with the positives out."""
    triples, owner = spans[:, [0, 2, 1]].unique(dim=0, return_inverse=True)
    text, row, kind = triples.unbind(1)
    scores = cells[text, row] + end[text, :, kind]
    scores[owner, spans[:, 3]] = -torch.inf
    return _Rows(text, row, kind, scores)


def _with_weak_rows(factors: Factors, rows: _Rows, weak: Tensor) -> _Rows:
    """Add the rows that the shifted product could not represent, scored directly."""
    weak = weak.clone()
    weak[rows.text, rows.row, rows.kind] = False
    text, row, kind = weak.nonzero(as_tuple=True)
    scores = torch.einsum("rd,rld->rl", factors.query[text, row], factors.key[text])
    scores += factors.end[text, :, kind]
    scores.masked_fill_(torch.arange(weak.shape[1], device=row.device) < row[:, None], -torch.inf)
    pairs = zip(rows, (text, row, kind, scores), strict=True)
    return _Rows(*(torch.cat(pair) for pair in pairs))
