import random
import time
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from kexue.heads.flat import best_flat


def disjoint(chosen):
    return all(a[2] < b[1] or b[2] < a[1] for a, b in combinations(chosen, 2))


def worth(chosen):
    """What is maximised: the sum of scores, then few spans, then many tokens."""
    return (
        sum(span[3] for span in chosen),
        -len(chosen),
        sum(span[2] - span[1] + 1 for span in chosen),
    )


def brute_force(spans):
    sets = (kept for size in range(len(spans) + 1) for kept in combinations(spans, size))
    return max(worth(kept) for kept in sets if disjoint(kept))


@st.composite
def span(draw):
    start = draw(st.integers(0, 12))
    end = start + draw(st.integers(0, 6))
    # Halves add up without rounding, so that equal sums are equal; few values make many ties.
    return draw(st.integers(0, 2)), start, end, draw(st.integers(1, 8)) / 2


@given(st.lists(span(), max_size=10))
def test_the_sum_is_the_best_of_all_subsets(spans):
    chosen = best_flat(spans)
    assert disjoint(chosen)
    assert all(one in spans for one in chosen)
    assert worth(chosen) == brute_force(spans)


@given(st.lists(span(), max_size=10), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(spans, order):
    shuffled = list(spans)
    order.shuffle(shuffled)
    assert best_flat(shuffled) == best_flat(spans)


@given(st.lists(span(), max_size=10))
def test_a_chosen_set_is_chosen_again(spans):
    chosen = best_flat(spans)
    assert best_flat(chosen) == chosen


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(1, 9)), max_size=20))
def test_disjoint_spans_are_all_kept(pieces):
    spans, place = [], 0
    for size, gap, score in pieces:
        spans.append((size % 3, place, place + size - 1, float(score)))
        place += size + gap
    assert best_flat(reversed(spans)) == spans


def test_two_good_spans_beat_one_that_is_better_than_each():
    spans = [(0, 2, 5, 3.0), (0, 0, 2, 2.0), (0, 5, 7, 2.0)]
    assert best_flat(spans) == [(0, 0, 2, 2.0), (0, 5, 7, 2.0)]


def test_sharing_one_token_is_overlap_and_touching_is_not():
    assert best_flat([(0, 0, 2, 1.0), (0, 2, 4, 2.0)]) == [(0, 2, 4, 2.0)]
    assert len(best_flat([(0, 0, 2, 1.0), (0, 3, 4, 2.0)])) == 2


def test_ties_prefer_one_long_span():
    halves = [(0, 0, 1, 1.0), (0, 2, 3, 1.0)]
    assert best_flat([*halves, (1, 0, 3, 2.0)]) == [(1, 0, 3, 2.0)]
    assert best_flat([(0, 0, 0, 1.0), (0, 0, 2, 1.0)]) == [(0, 0, 2, 1.0)]
    # The same place under two types: the lower one.
    assert best_flat([(2, 0, 1, 1.0), (1, 0, 1, 1.0)]) == [(1, 0, 1, 1.0)]


def test_worthless_spans_are_left_out():
    assert best_flat([(0, 0, 0, 0.0), (0, 1, 1, -1.0), (0, 2, 2, 0.5)]) == [(0, 2, 2, 0.5)]
    assert best_flat([]) == []


def test_nested_span_of_many_is_exact_and_fast():
    rng = random.Random(1)
    spans = []
    for _ in range(50_000):
        start = rng.randrange(5000)
        spans.append((0, start, start + rng.randrange(30), rng.random()))
    begin = time.process_time()
    chosen = best_flat(spans)
    # Quadratic work would take minutes.
    assert time.process_time() - begin < 5
    assert disjoint(chosen)
    assert sum(one[3] for one in chosen) >= sum(one[3] for one in greedy(spans))


def greedy(spans):
    kept, taken = [], set()
    for one in sorted(spans, key=lambda one: -one[3]):
        tokens = range(one[1], one[2] + 1)
        if taken.isdisjoint(tokens):
            kept.append(one)
            taken.update(tokens)
    return kept
