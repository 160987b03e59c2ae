import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.analysis.segmentation import (
    SegmentationScores,
    calibrate_threshold,
    equal_words,
    neighbour_strength,
    segment,
    segmentation_scores,
)

strengths = st.lists(st.integers(0, 20), max_size=20).map(lambda x: torch.tensor(x).float())


@given(strengths, st.integers(0, 20))
def test_words_are_cut_where_neighbours_matter_less_than_the_threshold(strength, threshold):
    words = segment(strength, threshold=threshold)
    assert [unit for start, end in words for unit in range(start, end)] == [
        *range(len(strength) + 1)
    ]
    cuts = {start for start, _ in words[1:]}
    assert cuts == {i + 1 for i, c in enumerate(strength.tolist()) if c < threshold}


def test_the_example_of_the_article_in_small():
    # 苏剑林 is one word where its characters matter 8 or more for each other.
    text = "苏剑林的博客"
    words = segment(torch.tensor([8.0, 9.5, 2.0, 3.0, 11.0]), threshold=8)
    assert [text[start:end] for start, end in words] == ["苏剑林", "的", "博客"]


def test_a_matrix_is_read_beside_its_diagonal():
    matrix = torch.tensor([[7.0, 1.0, 9.0], [3.0, 7.0, 5.0], [9.0, 6.0, 7.0]])
    assert neighbour_strength(matrix).tolist() == [2.0, 5.5]
    assert segment(matrix, threshold=5) == [(0, 1), (1, 3)]
    assert segment(matrix, threshold=5) == segment(neighbour_strength(matrix), threshold=5)


@pytest.mark.parametrize("impacts", [torch.zeros(1, 1), torch.zeros(0)])
def test_one_unit_is_one_word(impacts):
    assert segment(impacts) == segment(impacts, threshold=3) == [(0, 1)]


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 2), (), (0, 0)])
def test_other_shapes_are_explained(shape):
    with pytest.raises(ValueError, match=r"impacts is .*\[N, N\] or \[N - 1\].*impact_matrix"):
        segment(torch.zeros(shape), threshold=1)


@given(st.permutations(range(20)), st.floats(0, 1))
def test_the_threshold_joins_its_share(order, joined):
    parts = torch.tensor(order).float().split(7)
    threshold = calibrate_threshold(parts, joined=joined)
    assert sum(int((part >= threshold).sum()) for part in parts) == round(20 * joined)


def test_without_a_threshold_the_text_is_its_own_measure():
    strength = torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0])
    assert segment(strength, joined=0.4) == segment(strength, threshold=4.0)
    assert segment(strength, joined=0) == equal_words(6)
    assert segment(strength, joined=1) == [(0, 6)]
    scaled = segment(100 * strength, joined=0.4)
    assert scaled == segment(strength, joined=0.4)


def test_without_neighbours_nothing_is_joined():
    assert calibrate_threshold([], joined=0.5) == math.inf
    assert calibrate_threshold([torch.zeros(0)], joined=1) == math.inf
    assert calibrate_threshold([torch.ones(3)], joined=0) == math.inf


def test_texts_of_half_precision_are_taken():
    assert calibrate_threshold([torch.tensor([1, 2], dtype=torch.bfloat16)], joined=0.5) == 2


@pytest.mark.parametrize("joined", [-0.1, 1.1])
def test_what_is_no_share_is_an_error(joined):
    with pytest.raises(ValueError, match="joined is"):
        segment(torch.ones(3), joined=joined)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(0, 1, []), (3, 1, [(0, 1), (1, 2), (2, 3)]), (5, 3, [(0, 3), (3, 5)]), (2, 9, [(0, 2)])],
)
def test_words_of_one_size(count, size, expected):
    assert equal_words(count, size=size) == expected


def test_words_of_no_size_are_an_error():
    with pytest.raises(ValueError, match="size is 0"):
        equal_words(3, size=0)


def test_scores_over_all_texts_together():
    gold = [[(0, 2), (2, 3), (3, 5)], [(0, 1)]]
    found = [[(0, 2), (2, 5)], [(0, 1)]]
    scores = segmentation_scores(found, gold)
    # 2 of the 3 found are right, of 4; the cut at 2 is right, that at 3 is missing
    assert scores.precision == 2 / 3
    assert scores.recall == 2 / 4
    assert scores.f1 == pytest.approx(4 / 7)
    assert scores.cuts_f1 == pytest.approx(2 / 3)
    assert list(scores.to_dict()) == ["precision", "recall", "f1", "cuts_f1"]


def test_a_word_counts_only_with_both_ends():
    scores = segmentation_scores([[(0, 1), (1, 3), (3, 4)]], [[(0, 1), (1, 4)]])
    assert (scores.precision, scores.recall) == (1 / 3, 1 / 2)


def test_right_words_are_all_of_it():
    words = [[(0, 2), (2, 3)], [(0, 4)]]
    assert segmentation_scores(words, words) == SegmentationScores(1, 1, 1, 1)


def test_nothing_found_is_no_division():
    assert segmentation_scores([[]], [[(0, 1)]]) == SegmentationScores(0, 0, 0, 0)
    assert segmentation_scores([], []) == SegmentationScores(0, 0, 0, 0)


def test_missing_texts_are_an_error():
    with pytest.raises(ValueError, match=r"predicted is '1 texts'.*gold, 2"):
        segmentation_scores([[]], [[], []])
