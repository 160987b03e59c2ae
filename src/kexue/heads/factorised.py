"""The loss of EfficientGlobalPointer without a score tensor of [types, l, l].

    s_a(i, j) = e_ij + a_i + c_j, so for each type
    sum_ij e^s = sum_i e^(a_i) (sum_j e^(e_ij) e^(c_j)):

one exponential a cell for all types together, then matrix products whose width is the number of
types. Each factor is shifted by its maximum. Rows that hold a positive are summed again, without
it, so nothing is subtracted; so are the rows whose shifted sum comes near the smallest float32.
Rows are taken in strips that begin at the diagonal. The gradient is formed beside the value:
backward only scales it.

Post: https://kexue.fm/archives/8877 (the scores), https://kexue.fm/archives/7359 (the loss)
Axes: b texts of a block, l tokens, T types, d head size, R rows done again, P positives
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from kexue.losses.multilabel import positive_part

_STRIP = 128
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
    values = (query[text, first] * key[text, last]).sum(1)
    values = values + start[text, first, kind] + end[text, last, kind]
    positive, slope = positive_part(values, text * types + kind, count * types)

    top = end.amax(1, keepdim=True)
    columns = (end - top).exp()
    strips = [_strip(query, key, begin) for begin in range(0, length, _STRIP)]
    sums = torch.cat([raised @ columns[:, begin:] for begin, raised, _ in strips], 1)
    shift = start + top + torch.cat([peak for _, _, peak in strips], 1)
    weak = ((sums < _TRUST) & (shift > _MATTERS)).nonzero()
    rows, owner = torch.cat((spans[:, [0, 2, 1]], weak)).unique(dim=0, return_inverse=True)
    place = tuple(rows.unbind(1))
    direct = _direct(factors, rows)
    direct[owner[: len(spans)], last] = -torch.inf
    logs = shift + sums.log()
    logs[place] = start[place] + direct.logsumexp(1)
    total = torch.cat((logs, logs.new_zeros(count, 1, types)), 1).logsumexp(1)
    loss = total.sum(1) + positive.view(count, types).sum(1)

    weight = (shift - total[:, None]).exp_()
    weight[place] = 0
    by_query, by_key = torch.empty_like(query), torch.zeros_like(key)
    by_start, by_end = (logs - total[:, None]).exp_(), torch.zeros_like(end)
    for begin, raised, _ in strips:
        part = slice(begin, begin + _STRIP)
        by_end[:, begin:] += raised.mT @ weight[:, part]
        by_cell = (weight[:, part] @ columns[:, begin:].mT).mul_(raised)
        by_query[:, part] = by_cell @ key[:, begin:]
        by_key[:, begin:] += by_cell.mT @ query[:, part]
    by_end.mul_(columns)
    share = (direct + (start[place] - total[place[0], place[2]])[:, None]).exp_()
    share[owner[: len(spans)], last] = slope
    by_start.index_put_((text, first, kind), slope, accumulate=True)
    by_end.mT.index_put_((place[0], place[2]), share, accumulate=True)
    for number, (picked, shares) in enumerate(_by_text(rows, share, count)):
        by_query[number].index_add_(0, picked, shares @ key[number])
        by_key[number] += shares.mT @ query[number, picked]
    return loss, Factors(by_query, by_key, by_start, by_end)


def _strip(query: Tensor, key: Tensor, begin: int) -> tuple[int, Tensor, Tensor]:
    """Raise e^(e_ij - peak_i) for some rows, from the diagonal on: most of j < i is not formed."""
    cells = query[:, begin : begin + _STRIP] @ key[:, begin:].mT
    height = cells.shape[1]
    below = torch.ones(height, height, dtype=torch.bool, device=cells.device).tril_(-1)
    cells[:, :, :height].masked_fill_(below, -torch.inf)
    peak = cells.amax(2, keepdim=True)
    return begin, cells.sub_(peak).exp_(), peak


def _by_text(rows: Tensor, values: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Split (text, row, type) and what belongs to them by text; the rows are sorted."""
    sizes = torch.bincount(rows[:, 0], minlength=count).tolist()
    return zip(rows[:, 1].split(sizes), values.split(sizes), strict=True)


def _direct(factors: Factors, rows: Tensor) -> Tensor:
    """Score the cells of each (text, row, type) one by one, less a_i; -inf below the diagonal."""
    text, row, kind = rows.unbind(1)
    parts = _by_text(rows, factors.query[text, row], len(factors.query))
    scores = [chosen @ key.mT for (_, chosen), key in zip(parts, factors.key, strict=True)]
    scored = torch.cat(scores) + factors.end[text, :, kind]
    below = torch.arange(scored.shape[1], device=row.device) < row[:, None]
    return scored.masked_fill_(below, -torch.inf)
