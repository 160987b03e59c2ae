"""Layers and pieces of highlighted texts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.training.highlight import excerpts, layers, pieces
from kexue.training.mistakes import worst_mistakes

places = st.tuples(st.integers(0, 14), st.integers(1, 9)).map(lambda p: (p[0], p[0] + p[1]))
spans = st.tuples(places, st.sampled_from("ab")).map(lambda s: (*s[0], s[1]))
span_lists = st.lists(spans, max_size=8, unique=True)
TEXT = "The quick brown fox jumps"


def overlap(one, other):
    return max(one[0], other[0]) < min(one[1], other[1])


def mistake(text, gold, predicted=()):
    return worst_mistakes([text], [gold], [[(*span, 0.9) for span in predicted]])[0]


@given(span_lists)
def test_spans_on_one_layer_do_not_overlap(given_spans):
    heights = layers(given_spans)
    for k, one in enumerate(given_spans):
        for j, other in enumerate(given_spans[:k]):
            assert heights[k] != heights[j] or not overlap(one, other)


@given(span_lists)
def test_a_longer_span_lies_outside_what_it_contains(given_spans):
    heights = layers(given_spans)
    for outer, high in zip(given_spans, heights, strict=True):
        for inner, low in zip(given_spans, heights, strict=True):
            contains = outer[0] <= inner[0] and inner[1] <= outer[1]
            if contains and outer[:2] != inner[:2]:
                assert high > low


@given(span_lists)
def test_layers_are_used_from_the_text_outwards(given_spans):
    heights = layers(given_spans)
    for span, height in zip(given_spans, heights, strict=True):
        near = {h for other, h in zip(given_spans, heights, strict=True) if overlap(span, other)}
        assert set(range(height)) <= near


@given(span_lists, span_lists, st.integers(0, 10), st.integers(11, 25))
def test_pieces_are_the_text_with_every_span_on_it(gold, predicted, start, end):
    if set(gold) == set(predicted):
        return
    wrong = mistake(TEXT, gold, predicted)
    found = pieces(wrong, start, end)
    assert "".join(piece.text for piece in found) == TEXT[start:end]
    place = start
    for piece in found:
        first, place = place, place + len(piece.text)
        for lines, given_spans in ((piece.above, gold), (piece.below, predicted)):
            here = [span for span in given_spans if overlap(span, (first, place))]
            assert all(s[0] <= first and place <= s[1] for s in here if start <= s[0] < s[1] <= end)
            covering = [s for s in given_spans if s[0] <= first and place <= s[1]]
            assert sorted(line.label for line in lines) == sorted(s[2] for s in covering)
            assert len({line.layer for line in lines}) == len(lines)
            assert sum(line.last for line in lines) == sum(s[1] == place for s in covering)


def test_what_gold_and_prediction_share_is_not_wrong():
    found = pieces(mistake(TEXT, [(0, 3, "a"), (4, 9, "a")], [(0, 3, "a"), (4, 9, "b")]), 0, 25)
    assert [[line.wrong for line in (*p.above, *p.below)] for p in found] == [
        [False, False],
        [],
        [True, True],
        [],
    ]


def test_control_characters_become_visible():
    found = pieces(mistake("a\x00b\x1b\t\n\x7f", [(0, 1, "a")]), 0, 7)
    assert "".join(piece.text for piece in found) == "a␀b␛\t\n␡"


def test_a_short_text_is_shown_whole():
    assert excerpts(mistake(TEXT, [(4, 9, "a")])) == [(0, 25)]


def test_a_long_text_is_shown_around_its_errors():
    gold = [(500, 505, "a"), (600, 610, "a"), (2000, 2010, "a")]
    assert excerpts(mistake("x" * 3000, gold)) == [(440, 670), (1940, 2070)]


@given(st.lists(st.integers(0, 990), min_size=1, max_size=6, unique=True))
def test_excerpts_hold_every_error_and_do_not_touch(starts):
    gold = [(start, start + 10, "a") for start in starts]
    parts = excerpts(mistake("x" * 1000, gold))
    for start, end, _ in gold:
        assert any(first <= start and end <= last for first, last in parts)
    for (_, last), (first, _) in pairwise(parts):
        assert last < first
    assert parts[0][0] >= 0
    assert parts[-1][1] <= 1000


def test_an_error_inside_another_does_not_narrow_the_excerpt():
    gold = [(100, 300, "a"), (150, 160, "a")]
    assert excerpts(mistake("x" * 1000, gold)) == [(40, 360)]


def test_what_is_right_does_not_widen_an_excerpt():
    right = [(0, 5, "a")]
    assert excerpts(mistake("x" * 1000, [*right, (500, 505, "a")], right)) == [(440, 565)]


@pytest.mark.parametrize("count", [0, 1])
def test_layers_of_nothing_and_of_one(count):
    assert layers([(0, 1, "a")] * count) == [0] * count
