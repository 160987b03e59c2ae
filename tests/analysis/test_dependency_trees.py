import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.analysis.arborescence import spanning_arborescence
from kexue.analysis.dependency_trees import edge_scores, parse_tree, projective_tree


def below(heads, word):
    """All words under a word, itself included; None where heads go round in circles."""
    found, todo = set(), [word]
    while todo:
        one = todo.pop()
        if one in found:
            return None
        found.add(one)
        todo += [child for child, head in enumerate(heads) if head == one]
    return found


def is_projective(heads):
    """Tell whether all that is below any word is one piece of the text."""
    if list(heads).count(-1) != 1:
        return False
    if below(heads, list(heads).index(-1)) != set(range(len(heads))):
        return False
    pieces = (below(heads, word) for word in range(len(heads)))
    return all(max(piece) - min(piece) == len(piece) - 1 for piece in pieces)


def all_projective(count):
    return [h for h in itertools.product(range(-1, count), repeat=count) if is_projective(h)]


TREES = {count: all_projective(count) for count in range(1, 6)}


def value(scores, heads):
    return sum(scores[head, word] for word, head in enumerate(heads) if head >= 0)


def test_there_are_as_many_projective_trees_as_known():
    assert [len(trees) for trees in TREES.values()] == [1, 2, 7, 30, 143]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_best_of_all_projective_trees(count, seed):
    scores = np.random.default_rng(seed).normal(size=(count, count))
    for root in (None, *range(count)):
        found = projective_tree(scores, root=root)
        assert tuple(found) in TREES[count]
        assert root is None or found[root] == -1
        best = max(value(scores, h) for h in TREES[count] if root is None or h[root] == -1)
        assert value(scores, found) == pytest.approx(best, abs=1e-12)


@given(st.integers(1, 25), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_long_texts_get_projective_trees_that_no_tree_is_worse_than(count, seed):
    scores = np.random.default_rng(seed).random((count, count))
    found = projective_tree(scores)
    assert is_projective(found)
    assert value(scores, found) <= value(scores, spanning_arborescence(scores)) + 1e-12
    roots = (value(scores, projective_tree(scores, root=root)) for root in range(count))
    assert value(scores, found) == pytest.approx(max(roots))


@pytest.mark.parametrize("count", [2, 5, 9])
@pytest.mark.parametrize("method", ["eisner", "arborescence"])
def test_a_tree_that_all_scores_speak_for_is_found(count, method):
    rng = np.random.default_rng(count)
    impact = rng.random((count, count))
    # Each word under its right neighbour's left half: a random tree without crossings.
    heads = [-1]
    for word in range(1, count):
        heads.append(int(rng.choice([word - 1, 0])))
        impact[word, heads[word]] += 50
    assert parse_tree(impact, method=method, root=0) == heads


def test_crossing_arcs_are_for_the_arborescence_alone():
    impact = np.full((4, 4), 0.01)
    for word, head in ((2, 0), (3, 1), (1, 2)):
        impact[word, head] = 1
    crossing = [-1, 2, 0, 1]
    assert not is_projective(crossing)
    assert parse_tree(impact, method="arborescence", root=0) == crossing
    assert is_projective(parse_tree(impact, root=0))


def test_a_word_is_put_under_what_matters_for_it():
    # Row 0: the second word matters for the first, and not the other way round.
    assert parse_tree([[0, 5], [0, 0]]) == [1, -1]
    assert parse_tree([[0, 0], [5, 0]]) == [-1, 0]


def test_rows_are_divided_by_their_sums():
    impact = np.random.default_rng(0).random((6, 6))
    scores = edge_scores(impact)
    np.testing.assert_allclose(scores.sum(0), 1)
    off = impact - np.diag(np.diag(impact))
    np.testing.assert_allclose(scores, (off / off.sum(1, keepdims=True)).T)
    # A word that everything moves ten times as far is parsed alike.
    louder = impact * np.array([1, 10, 1, 1, 10, 1])[:, None]
    for method in ("eisner", "arborescence"):
        assert parse_tree(louder, method=method) == parse_tree(impact, method=method)


def test_a_word_that_nothing_moves_goes_somewhere():
    assert edge_scores(np.zeros((3, 3))).tolist() == np.zeros((3, 3)).tolist()
    for method in ("eisner", "arborescence"):
        heads = parse_tree(np.zeros((3, 3)), method=method)
        assert is_projective(heads)


def test_one_word_is_the_root():
    assert parse_tree([[0]]) == parse_tree([[0]], method="arborescence", root=0) == [-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_are_taken(dtype):
    impact = torch.tensor([[0, 5, 1], [2, 0, 1], [1, 5, 0]], dtype=dtype)
    before = impact.clone()
    assert parse_tree(impact) == [1, -1, 1]
    assert torch.equal(impact, before)


def test_numpy_is_not_written_to():
    impact = np.random.default_rng(0).random((4, 4))
    before = impact.copy()
    parse_tree(impact)
    edge_scores(impact)
    assert (impact == before).all()


@pytest.mark.parametrize(
    ("impact", "options", "message"),
    [
        (np.zeros((2, 3)), {}, r"impact is \(2, 3\); allowed: a square matrix"),
        (np.zeros((0, 0)), {}, "at least one word"),
        (-np.ones((2, 2)), {}, r"impact is -1.0; allowed: numbers that are not negative"),
        (np.full((2, 2), np.nan), {}, "NaN or infinity.*finite numbers"),
        (
            np.ones((2, 2)),
            {"method": "mst"},
            "method is 'mst'; allowed: 'eisner' or 'arborescence'",
        ),
        (np.ones((2, 2)), {"root": 2}, "root is 2; allowed: a word from 0 to 1"),
        (np.ones((2, 2)), {"root": -1}, "root is -1"),
    ],
)
def test_what_cannot_be_is_explained(impact, options, message):
    with pytest.raises(ValueError, match=message):
        parse_tree(impact, **options)
