"""Colourings of a cross of five squares, counted by looking at them all and by transfer.

A square is dominated by a colour that two of its four edges have, where the other two edges have
two more colours. The five squares of a cross share four of their 16 edges with each other:

        +-T-+          In how many ways can the edges be coloured so that the three squares in a
        |   |          row are dominated by three different colours, and the three in a column too?
    +---+-t-+---+
    L   l   r   R      With three colours in 27,216 ways; 54,432 has been published too, which
    +---+-b-+---+      is twice as many.
        |   |
        +-B-+

Given the edges of the square in the middle, the four arms depend on one edge each: of that edge's
colour c and the dominating colour d,

    A(c, d) = 3 (k - 1) (k - 2) if c = d,   3 (k - 2) if not

colourings of the other three edges, and only pairs of arms remain to be put together.

Post: https://kexue.fm/archives/9291
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from numbers import Integral

import numpy as np

from kexue._check import invalid

_MOST_BY_BRUTE_FORCE = 3


def dominant_color(edges: Sequence[int]) -> int | None:
    """Find the colour that dominates a square.

    Args:
        edges: the colours of its four edges, in any order.

    Returns:
        The colour that two of them have, if the others have two more; otherwise None.

    Raises:
        ValueError: if there are not four edges.

    Example:
        >>> dominant_color([0, 2, 1, 2]), dominant_color([0, 0, 1, 1])
        (2, None)
    """
    if len(edges) != 4:
        raise invalid("edges", list(edges), "the colours of four edges")
    (color, count), *others = Counter(edges).most_common()
    return color if count == 2 and len(others) == 2 else None


def count_cross_colorings(colors: int = 3, *, method: str = "transfer") -> int:
    """Count the colourings of the cross.

    Args:
        colors: k, how many colours there are; any number for "transfer", at most 3 for "brute".
        method: "transfer", in no time; "brute", which looks at each of the k^16 colourings.

    Returns:
        How many fulfil the conditions; 0 for fewer than three colours.

    Raises:
        ValueError: if `colors` is not a positive integer, or too many to look at all, or the method
            is unknown.

    Example:
        >>> count_cross_colorings(), count_cross_colorings(6)
        (27216, 19667681280)
    """
    if isinstance(colors, bool) or not isinstance(colors, Integral) or colors < 1:
        raise invalid("colors", colors, "a number of colours, 1 or more")
    if method == "transfer":
        return _transfer(int(colors))
    if method != "brute":
        raise invalid("method", method, "'transfer' or 'brute'")
    if colors > _MOST_BY_BRUTE_FORCE:
        allowed = f"at most {_MOST_BY_BRUTE_FORCE} for method='brute'"
        fix = f"There are {colors**16:,} colourings to look at; use method='transfer'."
        raise invalid("colors", colors, allowed, fix)
    return sum(int(np.count_nonzero(found)) for _, found in _look_at_all(int(colors)))


def iter_cross_colorings(colors: int = 3) -> Iterator[tuple[int, ...]]:
    """Go through the colourings of the cross; by brute force, so for up to three colours.

    Args:
        colors: k, how many colours there are.

    Yields:
        16 colours from 0 to k - 1: of the edges l, r, t and b of the square in the middle; then
        three of the left arm, three of the right, of the upper and of the lower one.

    Raises:
        ValueError: if there are more than three colours.

    Example:
        >>> next(iter_cross_colorings())
        (0, 0, 1, 2, 1, 1, 2, 1, 2, 2, 0, 1, 2, 0, 1, 2)
    """
    if colors > _MOST_BY_BRUTE_FORCE:
        raise invalid("colors", colors, f"at most {_MOST_BY_BRUTE_FORCE}")
    arms = list(product(range(colors), repeat=3))
    for centre, found in _look_at_all(colors):
        for places in np.argwhere(found).tolist():
            yield sum((arms[place] for place in places), centre)


def _look_at_all(colors: int) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Give for each colouring of the middle which of the k^12 of the arms go with it."""
    arms = list(product(range(colors), repeat=3))
    for centre in product(range(colors), repeat=4):
        middle = dominant_color(centre)
        if middle is None:
            continue
        # Where an arm is not dominated, or by the colour of the middle, it does not count.
        left, right, top, bottom = (
            np.array([_other_color((edge, *arm), middle) for arm in arms]) for edge in centre
        )
        row = (left[:, None] != right) & (left[:, None] >= 0) & (right >= 0)
        column = (top[:, None] != bottom) & (top[:, None] >= 0) & (bottom >= 0)
        yield centre, row[:, :, None, None] & column


def _other_color(edges: tuple[int, ...], middle: int) -> int:
    color = dominant_color(edges)
    return -1 if color is None or color == middle else color


def _transfer(k: int) -> int:
    """Put arms together around a middle of the colours 0, 0, 1, 2, in all places they can have."""
    placements = [
        (0, 0, 1, 2),
        (0, 1, 0, 2),
        (0, 1, 2, 0),
        (1, 0, 0, 2),
        (1, 0, 2, 0),
        (1, 2, 0, 0),
    ]
    ways = sum(_pairs(k, left, right) * _pairs(k, top, low) for left, right, top, low in placements)
    # What 0, 1 and 2 stand for; of the last two the first comes first.
    return k * (k - 1) * (k - 2) * ways


def _pairs(k: int, one: int, two: int) -> int:
    """Count two opposite arms of different colours that are not 0, by the edges they begin with."""

    def ways(edge: int, color: int) -> int:
        return 3 * (k - 2) * (k - 1 if edge == color else 1)

    def all_ways(edge: int) -> int:
        return 3 * (k - 2) * (k - 1 + k - 1) - ways(edge, 0)

    special = {one, two} - {0}
    same = sum(ways(one, color) * ways(two, color) for color in special)
    same += (k - 1 - len(special)) * (3 * (k - 2)) ** 2
    return all_ways(one) * all_ways(two) - same
