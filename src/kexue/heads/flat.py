"""Flat decoding: the best set of spans of which no two share a token.

    maximise sum of score(span) over sets of pairwise disjoint spans

Taking the best span first is not optimal: one span of score 3 can shut out two of score 2. With the
spans sorted by their end, best(k) = max(best(k - 1), score_k + best(last span that ends before
start_k)), the weighted interval scheduling recursion: O(m log m) for m spans.

Post: https://kexue.fm/archives/8373
Axes: m spans
"""

from bisect import bisect_left
from collections.abc import Iterable

Span = tuple[int, int, int, float]


def best_flat(spans: Iterable[Span]) -> list[Span]:
    """Choose the non-overlapping spans with the largest sum of scores.

    Among sets of equal sum the one with fewer spans wins, then the one that covers more tokens,
    then the one whose last spans end earlier, begin earlier and have the lower type. The order in
    which the spans are given does not matter.

    Args:
        spans: (type, start, end, score) of one text, both ends inclusive; the score is positive,
            for example the logit less the threshold. A span of score 0 or less is never chosen.

    Returns:
        The chosen spans, by start.

    Example:
        >>> best_flat([(0, 0, 4, 3.0), (1, 0, 1, 2.0), (0, 3, 4, 2.0)])
        [(1, 0, 1, 2.0), (0, 3, 4, 2.0)]
    """
    ordered = sorted(spans, key=lambda span: (span[2], span[1], span[0], span[3]))
    ends = [span[2] for span in ordered]
    # What is compared, for the first k spans: sum of scores, spans saved, tokens covered.
    best = [(0.0, 0, 0)]
    before: list[int | None] = [None]
    for k, (_, start, end, score) in enumerate(ordered):
        free = bisect_left(ends, start, hi=k)
        total, saved, covered = best[free]
        taken = (total + score, saved - 1, covered + end - start + 1)
        chosen = taken > best[k]
        best.append(taken if chosen else best[k])
        before.append(free if chosen else None)
    kept = []
    k = len(ordered)
    while k:
        free = before[k]
        if free is None:
            k -= 1
        else:
            kept.append(ordered[k - 1])
            k = free
    return kept[::-1]
