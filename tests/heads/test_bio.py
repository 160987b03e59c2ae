import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.heads.bio import Runs, bio_allowed, bio_tags, continues, read_bio


def runs(spans):
    return Runs(*torch.tensor(spans, dtype=torch.long).reshape(-1, 3).unbind(1))


def begins(length, *places):
    out = torch.zeros(length, dtype=torch.bool)
    out[[0, *places] if length else []] = True
    return out


def loop_reading(tags):
    """The rule of the docstring, token by token."""
    spans, open_span = [], None
    previous = None
    for place, tag in enumerate(tags):
        same = previous is not None and tag > 0 and tag % 2 == 0 and previous in (tag, tag - 1)
        if open_span is not None and same:
            open_span[2] = place
        else:
            open_span = None
        if tag % 2 == 1:
            open_span = [tag // 2, place, place]
            spans.append(open_span)
        previous = tag
    return spans


def test_reading_every_short_sequence_equals_the_loop():
    for length in range(1, 5):
        for tags in itertools.product(range(5), repeat=length):
            found = read_bio(torch.tensor(tags), begins(length))
            assert torch.stack(found, 1).tolist() == loop_reading(tags), tags


def test_a_run_does_not_cross_into_the_next_text():
    tags = torch.tensor([0, 1, 2, 2, 2, 1])
    found = torch.stack(read_bio(tags, begins(6, 3)), 1)
    assert found.tolist() == [[0, 1, 2], [0, 5, 5]]


def test_nothing_in_nothing_out():
    assert bio_tags(runs([]), 0).tolist() == []
    assert bio_tags(runs([]), 3).tolist() == [0, 0, 0]
    assert torch.stack(read_bio(torch.zeros(0, dtype=torch.long), begins(0)), 1).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 5)), max_size=12))
def test_disjoint_spans_come_back(pieces):
    spans, place = [], 0
    for kind, gap, size in pieces:
        spans.append([kind, place + gap, place + gap + size - 1])
        place += gap + size
    tags = bio_tags(runs(spans[::-1]), place)
    assert torch.stack(read_bio(tags, begins(place)), 1).tolist() == spans


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 5)), max_size=9))
def test_of_overlapping_spans_the_longest_is_kept(pieces):
    spans = [[kind, start, start + size - 1] for kind, start, size in pieces]
    expected = []
    for one in sorted(spans, key=lambda s: (s[1] - s[2], s[1], s[0])):
        if all(one[2] < other[1] or other[2] < one[1] for other in expected):
            expected.append(one)
    tags = bio_tags(runs(spans), 15)
    assert torch.stack(read_bio(tags, begins(15)), 1).tolist() == sorted(
        expected, key=lambda s: s[1]
    )


def test_allowed_sequences_are_those_that_spans_can_write():
    length, types = 4, 2
    spans = [(k, i, j) for k in range(types) for i in range(length) for j in range(i, length)]
    written = set()
    for size in range(length + 1):
        for chosen in itertools.combinations(spans, size):
            written.add(tuple(bio_tags(runs(chosen), length).tolist()))
    move, first = bio_allowed(types)
    allowed = set()
    for tags in itertools.product(range(2 * types + 1), repeat=length):
        if first[tags[0]] and all(move[a, b] for a, b in itertools.pairwise(tags)):
            allowed.add(tags)
    assert allowed == written


def test_continues_needs_the_same_type():
    tags = torch.tensor([1, 2, 2, 4, 4, 3, 4, 0, 2])
    expected = [False, True, True, False, True, False, True, False, False]
    assert continues(tags, begins(9)).tolist() == expected
