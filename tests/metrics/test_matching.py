"""Pairing of spans, against assignment solved by SciPy and against pairwise loops."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from kexue.metrics.matching import count_confusion, count_overlaps, nested_places

places = st.tuples(st.integers(0, 12), st.integers(1, 9)).map(lambda p: (p[0], p[0] + p[1]))
spans = st.tuples(places, st.sampled_from("ab")).map(lambda s: (*s[0], s[1]))
span_sets = st.sets(spans, max_size=12)


def overlap(one, other):
    return max(one[0], other[0]) < min(one[1], other[1])


def most_pairs(missed, wrong):
    """Solve the assignment with gain 1 for two overlapping spans of one label."""
    gain = np.array([[overlap(m, w) and m[2] == w[2] for w in wrong] for m in missed], dtype=int)
    if not gain.size:
        return 0
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return int(gain[rows, columns].sum())


@given(span_sets, span_sets)
def test_overlaps_are_a_largest_matching(missed, wrong):
    assert count_overlaps(missed, wrong) == most_pairs(sorted(missed), sorted(wrong))


@given(span_sets, span_sets)
def test_overlaps_do_not_depend_on_the_side(missed, wrong):
    assert count_overlaps(missed, wrong) == count_overlaps(wrong, missed)


def test_the_first_overlap_in_the_list_is_not_always_the_right_partner():
    long, short = (0, 10, "a"), (0, 3, "a")
    assert count_overlaps({long, short}, {(1, 4, "a"), (8, 9, "a")}) == 2


def test_spans_that_touch_do_not_overlap():
    assert count_overlaps({(0, 3, "a")}, {(3, 5, "a")}) == 0


def test_many_spans_take_no_quadratic_time():
    missed = {(k, k + 500, "a") for k in range(30_000)}
    wrong = {(k, k + 501, "a") for k in range(30_000)}
    assert count_overlaps(missed, wrong) == 30_000


@given(span_sets)
def test_nested_places_agree_with_all_pairs(found):
    distinct = {span[:2] for span in found}
    expected = {
        a
        for a in distinct
        for b in distinct
        if a != b and ((a[0] <= b[0] and b[1] <= a[1]) or (b[0] <= a[0] and a[1] <= b[1]))
    }
    assert nested_places(found) == expected


def test_two_labels_on_one_place_are_not_nested():
    assert nested_places({(0, 3, "a"), (0, 3, "b")}) == set()


def test_crossing_is_not_nested():
    assert nested_places({(0, 3, "a"), (2, 5, "a")}) == set()


@given(span_sets, span_sets)
def test_confusion_counts_every_span_once(true, guess):
    pairs = count_confusion(true, guess)
    rows, columns = Counter(), Counter()
    for (gold, predicted), count in pairs.items():
        rows[gold] += count
        columns[predicted] += count
    assert {k: v for k, v in rows.items() if k} == Counter(label for *_, label in true)
    assert {k: v for k, v in columns.items() if k} == Counter(label for *_, label in guess)
    assert pairs[None, None] == 0


@given(span_sets, span_sets)
def test_confusion_pairs_as_many_as_share_a_place(true, guess):
    at_true, at_guess = (Counter(span[:2] for span in spans) for spans in (true, guess))
    paired = sum(n for pair, n in count_confusion(true, guess).items() if None not in pair)
    assert paired == sum((at_true & at_guess).values())


@given(span_sets, span_sets)
def test_the_diagonal_is_what_is_right(true, guess):
    pairs = count_confusion(true, guess)
    for label in "ab":
        assert pairs[label, label] == len({s for s in true & guess if s[2] == label})


def test_equal_labels_are_paired_before_others():
    true = {(0, 2, "a"), (0, 2, "b")}
    guess = {(0, 2, "b"), (0, 2, "c")}
    assert count_confusion(true, guess) == {("b", "b"): 1, ("a", "c"): 1}
