"""From scores to spans: the cells above a threshold, without a Python loop over cells.

Post: https://kexue.fm/archives/8373
Axes: b texts of a block, l tokens, T types, d head size, M found cells
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kexue.heads.factorised import Factors
from kexue.heads.flat import best_flat

# Candidates are found with a rounded sum and then scored exactly; this covers the rounding.
_SLACK = 1e-3


class ScoredSpan(NamedTuple):
    """A span of a text.

    Args:
        type: the number of its type.
        start: its first token.
        end: its last token, included.
        score: its logit; for a CRF its probability.

    Example:
        >>> ScoredSpan(0, 2, 3, 0.5).end
        3
    """

    type: int
    start: int
    end: int
    score: float


class Found(NamedTuple):
    """M found cells, a tensor [M] each."""

    text: Tensor
    kind: Tensor
    start: Tensor
    end: Tensor
    score: Tensor


def found_in_factors(factors: Factors, valid: Tensor, threshold: Tensor) -> Found:
    """Find the cells of e_ij + a_i + c_j above the threshold of their type.

    A cell is looked at for each type only if e_ij and the largest a_i and c_j could reach a
    threshold, and a row only if one of its cells could.

    Args:
        factors: of a block, from EfficientGlobalPointer.
        valid: [b, l] which tokens exist.
        threshold: [T].

    Returns:
        The cells.

    Example:
        >>> one = torch.ones(1, 2, 1)
        >>> found = found_in_factors(
        ...     Factors(one, one, one, one), torch.ones(1, 2).bool(), torch.tensor([2.5])
        ... )
        >>> torch.stack((found.start, found.end), 1).tolist()
        [[0, 0], [0, 1], [1, 1]]
    """
    query, key, start, end = factors
    best_start = (start - threshold).amax(2, keepdim=True).masked_fill(~valid[..., None], 0)
    best_end = end.amax(2, keepdim=True).masked_fill(~valid[..., None], 0)
    one = torch.ones_like(best_end)
    bound = torch.cat((query, best_start, one), 2) @ torch.cat((key, one, best_end), 2).mT
    text, row = ((bound.amax(2) > -_SLACK) & valid).nonzero(as_tuple=True)
    column = torch.arange(valid.shape[1], device=row.device)
    likely = (bound[text, row] > -_SLACK) & valid[text] & (column >= row[:, None])
    at, last = likely.nonzero(as_tuple=True)
    text, first = text[at], row[at]
    shared = (query[text, first] * key[text, last]).sum(1, keepdim=True)
    score = shared + start[text, first] + end[text, last]
    cell, kind = (score > threshold).nonzero(as_tuple=True)
    return Found(text[cell], kind, first[cell], last[cell], score[cell, kind])


def found_in_matrices(query: Tensor, key: Tensor, valid: Tensor, threshold: Tensor) -> Found:
    """Find the cells of <q_a,i, k_a,j> above the threshold of their type.

    Args:
        query: [b, T, l, d], already divided by sqrt(d).
        key: [b, T, l, d].
        valid: [b, l] which tokens exist.
        threshold: [T].

    Returns:
        The cells.

    Example:
        >>> one = torch.ones(1, 1, 2, 1)
        >>> valid = torch.ones(1, 2, dtype=torch.bool)
        >>> found_in_matrices(one, one, valid, torch.tensor([0.5])).score.tolist()
        [1.0, 1.0, 1.0]
    """
    score = query @ key.mT
    rows = (score.amax(3) > threshold[:, None]) & valid[:, None]
    text, kind, row = rows.nonzero(as_tuple=True)
    column = torch.arange(valid.shape[1], device=row.device)
    scores = score[text, kind, row]
    above = (scores > threshold[kind, None]) & valid[text] & (column >= row[:, None])
    at, last = above.nonzero(as_tuple=True)
    return Found(text[at], kind[at], row[at], last, scores[at, last])


def group_by_text(
    found: Sequence[Found], texts: int, threshold: Tensor, *, flat: bool, limit: int | None
) -> list[list[ScoredSpan]]:
    """Sort found cells into one list of spans for each text.

    Args:
        found: cells of each block, their text counted over the batch.
        texts: number of texts.
        threshold: [T].
        flat: keep the best set of non-overlapping spans.
        limit: most spans to keep for a text, or None.

    Returns:
        For each text its spans, by start, end, type.

    Example:
        >>> cell = Found(*(torch.tensor([x]) for x in (1, 0, 2, 3)), torch.tensor([0.5]))
        >>> group_by_text([cell], 2, torch.zeros(1), flat=False, limit=None)
        [[], [ScoredSpan(type=0, start=2, end=3, score=0.5)]]
    """
    grouped: list[list[ScoredSpan]] = [[] for _ in range(texts)]
    limits = threshold.tolist()
    for cells in found:
        columns = (column.tolist() for column in cells)
        for text, kind, start, end, score in zip(*columns, strict=True):
            grouped[text].append(ScoredSpan(kind, start, end, score))

    def margin(span: ScoredSpan) -> float:
        return span.score - limits[span.type]

    for text, spans in enumerate(grouped):
        kept = spans
        if limit is not None and len(kept) > limit:
            kept = sorted(kept, key=margin, reverse=True)[:limit]
        if flat:
            chosen = best_flat([(s.type, s.start, s.end, margin(s)) for s in kept])
            names = {(kind, start, end) for kind, start, end, _ in chosen}
            kept = [s for s in kept if s[:3] in names]
        grouped[text] = sorted(kept, key=lambda s: (s.start, s.end, s.type))
    return grouped
