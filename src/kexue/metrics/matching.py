"""Who is whose partner among the gold and the predicted spans of one text."""

import math
from collections import Counter
from heapq import heappop, heappush
from itertools import accumulate, zip_longest

Span = tuple[int, int, str]


def count_confusion(true: set[Span], guess: set[Span]) -> Counter[tuple[str | None, str | None]]:
    """Pair the spans of one text that have equal boundaries, equal labels first.

    Args:
        true: gold spans.
        guess: predicted spans.

    Returns:
        How often each (gold label, predicted label) occurs, None for a span without a partner.

    Example:
        >>> count_confusion({(0, 2, "a")}, {(0, 2, "b"), (0, 3, "a")}) == {
        ...     ("a", "b"): 1, (None, "a"): 1}
        True
    """
    pairs: Counter[tuple[str | None, str | None]] = Counter(
        (label, label) for _, _, label in true & guess
    )
    left: dict[tuple[int, int], tuple[list[str], list[str]]] = {}
    for side, spans in enumerate((true - guess, guess - true)):
        for start, end, label in sorted(spans):
            left.setdefault((start, end), ([], []))[side].append(label)
    for missed, wrong in left.values():
        pairs.update(zip_longest(missed, wrong))
    return pairs


def count_overlaps(missed: set[Span], wrong: set[Span]) -> int:
    """Count the most pairs of overlapping spans of one label that share no span.

    Args:
        missed: gold spans that were not predicted.
        wrong: predicted spans that are not gold.

    Returns:
        The number of pairs, one span from each side; O(m log m) for m spans.

    Example:
        >>> count_overlaps({(0, 3, "a"), (5, 9, "a")}, {(2, 6, "a"), (7, 8, "b")})
        1
    """
    by_label: dict[str, list[tuple[int, int, int]]] = {}
    for side, spans in enumerate((missed, wrong)):
        for start, end, label in spans:
            by_label.setdefault(label, []).append((end, start, side))
    return sum(_most_pairs(sorted(spans)) for spans in by_label.values())


def _most_pairs(spans: list[tuple[int, int, int]]) -> int:
    """Match (end, start, side), sorted, each with the other side's first to end.

    Greedy is exact here: what else overlaps the partner that ends first, and is not yet done with,
    overlaps every other candidate too.
    """
    opening = sorted(range(len(spans)), key=lambda k: spans[k][1], reverse=True)
    waiting: tuple[list[int], list[int]] = ([], [])
    done = [False] * len(spans)
    pairs = 0
    for k, (end, _, side) in enumerate(spans):
        while opening and spans[opening[-1]][1] < end:
            opened = opening.pop()
            heappush(waiting[spans[opened][2]], opened)
        if done[k]:
            continue
        done[k] = True
        others = waiting[1 - side]
        while others and done[others[0]]:
            heappop(others)
        if others:
            done[heappop(others)] = True
            pairs += 1
    return pairs


def nested_places(spans: set[Span]) -> set[tuple[int, int]]:
    """Find the places that contain another place, or lie in one.

    Args:
        spans: the spans of one text; two labels on one place do not make it nested.

    Returns:
        Their (start, end); O(m log m) for m spans.

    Example:
        >>> sorted(nested_places({(0, 7, "a"), (0, 2, "a"), (6, 9, "a")}))
        [(0, 2), (0, 7)]
    """
    places = sorted({(start, end) for start, end, _ in spans}, key=lambda p: (p[0], -p[1]))
    ends = [end for _, end in places]
    # In this order a place can lie only in one before it, and contain only one after it.
    furthest = [-1, *accumulate(ends, max)][:-1]
    nearest = [math.inf, *accumulate(reversed(ends), min)][:-1][::-1]
    return {
        place
        for place, before, after in zip(places, furthest, nearest, strict=True)
        if before >= place[1] or after <= place[1]
    }
