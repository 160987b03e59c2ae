import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.analysis.arborescence import spanning_arborescence


def is_tree(heads):
    """Tell whether one word has no head and all others are below it."""
    if list(heads).count(-1) != 1:
        return False
    for word in range(len(heads)):
        for _ in heads:
            word = heads[word] if word >= 0 else word  # noqa: PLW2901
        if word >= 0:
            return False
    return True


def all_trees(count):
    return [h for h in itertools.product(range(-1, count), repeat=count) if is_tree(h)]


TREES = {count: all_trees(count) for count in range(1, 6)}


def value(scores, heads):
    return sum(scores[head, word] for word, head in enumerate(heads) if head >= 0)


def test_there_are_as_many_trees_as_cayley_says():
    assert [len(trees) for trees in TREES.values()] == [n ** (n - 1) for n in TREES]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_best_of_all_trees(count, seed):
    scores = np.random.default_rng(seed).normal(size=(count, count))
    for root in (None, *range(count)):
        found = spanning_arborescence(scores, root=root)
        assert is_tree(found)
        assert root is None or found[root] == -1
        best = max(value(scores, h) for h in TREES[count] if root is None or h[root] == -1)
        assert value(scores, found) == pytest.approx(best, abs=1e-12)


@given(st.integers(2, 12), st.integers(0, 10**6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_equals_networkx(count, seed, ties):
    networkx = pytest.importorskip("networkx")
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (count, count)) if ties else rng.normal(size=(count, count))
    # With a word above all others that only the given root may hang from, the root is given.
    for root in range(0, count, 3):
        graph = networkx.DiGraph()
        graph.add_edge("top", root, weight=0.0)
        pairs = itertools.permutations(range(count), 2)
        graph.add_weighted_edges_from((h, m, scores[h, m]) for h, m in pairs)
        tree = networkx.maximum_spanning_arborescence(graph)
        expected = sum(scores[h, m] for h, m in tree.edges if h != "top")
        assert value(scores, spanning_arborescence(scores, root=root)) == pytest.approx(expected)


def test_cycles_inside_of_cycles_are_opened():
    # 1 and 2 prefer each other; together with 3 they close a cycle again; 0 is far from all.
    scores = np.full((4, 4), 1.0)
    scores[1, 2] = scores[2, 1] = 10
    scores[1, 3] = scores[3, 2] = 8
    scores[0, 3] = 2
    assert spanning_arborescence(scores, root=0) == [-1, 2, 3, 0]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_only_one_word_is_the_root_however_bad_the_edges_are(scale):
    scores = -scale * np.random.default_rng(0).random((8, 8))
    assert is_tree(spanning_arborescence(scores))


def test_the_diagonal_is_not_read():
    scores = np.array([[np.nan, 1.0], [3.0, np.inf]])
    np.fill_diagonal(scores, 0)
    with_diagonal = scores + np.diag([100.0, 100.0])
    assert spanning_arborescence(with_diagonal) == spanning_arborescence(scores) == [1, -1]


def test_a_long_text():
    scores = np.random.default_rng(0).random((200, 200))
    assert is_tree(spanning_arborescence(scores))


def test_scores_are_not_written_to():
    scores = np.random.default_rng(0).random((5, 5))
    before = scores.copy()
    spanning_arborescence(scores)
    assert (scores == before).all()


@pytest.mark.parametrize("root", [-1, 3])
def test_a_root_that_is_no_word_is_an_error(root):
    with pytest.raises(ValueError, match=rf"root is {root}; allowed: a word from 0 to 2"):
        spanning_arborescence(np.zeros((3, 3)), root=root)
