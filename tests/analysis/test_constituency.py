import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.analysis.constituency import (
    brackets,
    dependency_brackets,
    parse_constituents,
    right_branching,
)


def by_definition(matrix, words, *, pairs_only):
    """The article's recursion on sub-matrices."""
    count = len(words)
    if count == 1:
        return words[0]
    if count == 2:
        return (words[0], words[1])

    def mean(block, *, square):
        if square and pairs_only:
            size = len(block)
            return block.sum() / (size * (size - 1)) if size > 1 else 0.0
        return block.mean()

    def score(k):
        within = mean(matrix[:k, :k], square=True) + mean(matrix[k:, k:], square=True)
        return within - matrix[:k, k:].mean() - matrix[k:, :k].mean()

    k = max(range(1, count - 1), key=score)
    left = by_definition(matrix[:k, :k], words[:k], pairs_only=pairs_only)
    right = by_definition(matrix[k + 1 :, k + 1 :], words[k + 1 :], pairs_only=pairs_only)
    return (left, (words[k], right))


@given(st.integers(1, 14), st.integers(0, 10**6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_equals_the_definition(count, seed, pairs_only):
    matrix = np.random.default_rng(seed).random((count, count))
    np.fill_diagonal(matrix, 0)
    expected = by_definition(matrix, list(range(count)), pairs_only=pairs_only)
    assert parse_constituents(matrix, pairs_only=pairs_only) == expected


@pytest.mark.parametrize("border", range(1, 8))
@pytest.mark.parametrize("pairs_only", [False, True])
def test_the_border_between_two_blocks_is_found(border, pairs_only):
    matrix = np.ones((9, 9))
    matrix[:border, border:] = matrix[border:, :border] = 0
    tree = parse_constituents(matrix, pairs_only=pairs_only)
    assert brackets(tree[1]) >= {(border, 9)}
    assert min(start for start, _ in brackets(tree[1])) == border


def test_where_all_is_the_same_the_cut_goes_to_the_middle():
    assert parse_constituents(np.ones((8, 8)))[1][0] == 4


def test_means_of_pairs_have_no_middle():
    # One word has no pair, so that only parts of two words or more are alike.
    matrix = np.ones((8, 8))
    assert parse_constituents(matrix, pairs_only=True)[1][0] == 2


@pytest.mark.parametrize(
    ("count", "tree"), [(1, 0), (2, (0, 1)), (3, (0, (1, 2))), (4, {(0, ((1), (2, 3)))})]
)
def test_short_texts(count, tree):
    found = parse_constituents(np.ones((count, count)))
    if count == 4:
        assert found in ((0, (1, (2, 3))), ((0, 1), (2, 3)))
    else:
        assert found == tree


@given(st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_all_words_are_in_the_tree_in_order(count, seed):
    tree = parse_constituents(np.random.default_rng(seed).random((count, count)))

    def leaves(part):
        return [part] if isinstance(part, int) else [w for sub in part for w in leaves(sub)]

    assert leaves(tree) == list(range(count))
    assert len(brackets(tree)) == count - 1


def test_a_long_text_is_no_deeper_than_python():
    count = 400
    assert count < sys.getrecursionlimit()
    matrix = np.tril(np.ones((count, count)))
    assert len(brackets(parse_constituents(matrix))) == count - 1


def test_tensors_are_taken_and_not_written_to():
    matrix = torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    before = matrix.clone()
    assert parse_constituents(matrix) == parse_constituents(matrix.double().numpy())
    assert torch.equal(matrix, before)


def test_a_matrix_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="a square matrix"):
        parse_constituents(np.zeros((2, 3)))


def test_brackets_of_longer_tuples():
    assert brackets((0, (1, 2, 3), 4)) == {(0, 5), (1, 4)}
    assert brackets(0) == set()


def test_right_branching():
    assert right_branching(1) == 0
    assert brackets(right_branching(4)) == {(0, 4), (1, 4), (2, 4)}
    with pytest.raises(ValueError, match="count is 0"):
        right_branching(0)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ([-1], set()),
        ([1, -1, 1], {(0, 3)}),
        ([2, 0, -1, 2, 3], {(0, 2), (0, 5), (3, 5)}),
        # 0 and 2 have a gap between them
        ([-1, 3, 0, 0], {(0, 4)}),
    ],
)
def test_constituents_of_dependencies(heads, expected):
    assert dependency_brackets(heads) == (expected if heads != [-1, 3, 0, 0] else {(0, 4)})
