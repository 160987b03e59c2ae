from collections import Counter
from itertools import islice, permutations, product

import pytest

from kexue.numerics.cross_counting import (
    count_cross_colorings,
    dominant_color,
    iter_cross_colorings,
)

ARMS = (slice(4, 7), slice(7, 10), slice(10, 13), slice(13, 16))


def dominant_by_definition(edges):
    """Try each colour: two edges have it, and the other two have others, of two kinds."""
    for color in set(edges):
        others = [edge for edge in edges if edge != color]
        if len(others) == 2 and others[0] != others[1]:
            return color
    return None


def squares(coloring):
    """The five squares of a colouring: middle, left, right, upper, lower."""
    centre = coloring[:4]
    arms = ((edge, *coloring[arm]) for edge, arm in zip(centre, ARMS, strict=True))
    return [centre, *arms]


def fits(coloring):
    middle, left, right, top, bottom = map(dominant_by_definition, squares(coloring))
    found = {middle, left, right}, {middle, top, bottom}
    return None not in found[0] | found[1] and all(len(colors) == 3 for colors in found)


def count_by_sums(k):
    """Each square on its own, over all middles and all pairs of arms, for any k."""
    arms = Counter(
        (edges[0], dominant_by_definition(edges)) for edges in product(range(k), repeat=4)
    )

    def pairs(one, two, middle):
        return sum(
            arms[one, a] * arms[two, b]
            for a in range(k)
            for b in range(k)
            if len({a, b, middle}) == 3
        )

    return sum(
        pairs(left, right, middle) * pairs(top, bottom, middle)
        for left, right, top, bottom in product(range(k), repeat=4)
        if (middle := dominant_by_definition((left, right, top, bottom))) is not None
    )


def test_three_colours_by_both_methods():
    assert count_cross_colorings(3, method="brute") == 27216
    assert count_cross_colorings(3, method="transfer") == 27216
    assert count_cross_colorings() == 27216


@pytest.fixture(scope="module")
def colorings():
    return list(iter_cross_colorings(3))


def test_each_is_given_once_and_fits(colorings):
    assert len(colorings) == len(set(colorings)) == 27216
    assert {len(coloring) for coloring in colorings} == {16}
    assert all(map(fits, colorings))


def test_the_cases_of_the_article(colorings):
    # 36 middles: equal edges side by side in 24 of them, 729 colourings each; opposite in 12, 810.
    middles = Counter(coloring[:4] for coloring in colorings)
    opposite = {m: n for m, n in middles.items() if m[0] == m[1] or m[2] == m[3]}
    assert (len(middles), len(opposite)) == (36, 12)
    assert set(opposite.values()) == {810}
    assert {n for m, n in middles.items() if m not in opposite} == {729}
    assert sum(opposite.values()) == 9720


def test_a_permutation_of_the_colours_gives_another_one(colorings):
    found = set(colorings)
    for renamed in permutations(range(3)):
        assert {tuple(renamed[edge] for edge in c) for c in colorings[::97]} <= found


def test_what_is_left_out_does_not_fit(colorings):
    # One edge changed: in the list exactly where the definition says so.
    found = set(colorings)
    for coloring in colorings[::211]:
        for place in range(16):
            for color in range(3):
                changed = (*coloring[:place], color, *coloring[place + 1 :])
                assert (changed in found) == fits(changed)


@pytest.mark.parametrize("k", range(1, 6))
def test_transfer_equals_the_sums_for_any_number_of_colours(k):
    assert count_cross_colorings(k) == count_by_sums(k)


@pytest.mark.parametrize(
    ("k", "count"), [(1, 0), (2, 0), (4, 19160064), (5, 1062882000), (6, 19667681280)]
)
def test_other_numbers_of_colours(k, count):
    assert count_cross_colorings(k) == count


@pytest.mark.parametrize("k", [1, 2])
def test_two_colours_are_too_few(k):
    assert count_cross_colorings(k, method="brute") == 0
    assert list(iter_cross_colorings(k)) == []


def test_many_colours_are_counted_exactly():
    # Each square has its pair in one of 6 places; in the two arms on the pair of the middle not in
    # the 3 that the shared edge is one of. Hardly ever are other colours the same.
    k = 10**6
    count = count_cross_colorings(k)
    assert isinstance(count, int)
    assert 1 - 1e-4 < count / (6 * 3**2 * 6**2 * k**11) < 1


@pytest.mark.parametrize("edges", list(product(range(4), repeat=4)))
def test_dominant_colours(edges):
    assert dominant_color(edges) == dominant_by_definition(edges)


def test_dominant_colour_of_lists_and_names():
    assert dominant_color(["red", "blue", "red", "green"]) == "red"
    assert dominant_color([5, 5, 5, 1]) is None
    with pytest.raises(ValueError, match=r"edges is .*; allowed: the colours of four edges"):
        dominant_color([1, 2, 3])


@pytest.mark.parametrize("colors", [0, -1, 2.0, True, "3", None])
def test_bad_numbers_of_colours_are_refused(colors):
    with pytest.raises(ValueError, match=r"colors is .*; allowed: a number of colours"):
        count_cross_colorings(colors)


def test_what_would_take_too_long_is_refused():
    with pytest.raises(ValueError, match="4,294,967,296 colourings to look at; use method="):
        count_cross_colorings(4, method="brute")
    with pytest.raises(ValueError, match="colors is 4; allowed: at most 3"):
        next(iter_cross_colorings(4))
    with pytest.raises(ValueError, match="method is 'magic'; allowed: 'transfer' or 'brute'"):
        count_cross_colorings(3, method="magic")


def test_the_first_ones_come_at_once():
    assert all(map(fits, islice(iter_cross_colorings(), 3)))
