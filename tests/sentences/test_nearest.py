import math

import numpy as np
import pytest

from kexue.sentences import nearest
from kexue.sentences.nearest import Nearest, rescore, scan


def brute_force(vectors, queries, k, first=0):
    """By the definition: sort everything, the lower number first where scores are equal."""
    found = []
    for query in queries:
        scores = [
            (-float(np.dot(v.astype(np.float64), query.astype(np.float64))), row)
            for row, v in enumerate(vectors)
        ]
        found.append([row for _, row in sorted(scores[first:])[:k]])
    return found


def draw(count, seed=0, width=6):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_a_scan_finds_the_best_in_any_block(monkeypatch, count, k):
    monkeypatch.setattr(nearest, "_BLOCK", 8)
    monkeypatch.setattr(nearest, "_QUERIES", 3)
    vectors, queries = draw(count), draw(7, seed=1)
    found = scan(vectors, queries, k)
    assert found.shape == (7, min(k, count))
    expected = brute_force(vectors, queries, k)
    assert [sorted(rows) for rows in found.tolist()] == [sorted(rows) for rows in expected]
    ordered = [each.rows.tolist() for each in rescore(vectors, queries, found, k)]
    assert ordered == expected


@pytest.mark.parametrize("first", [0, 5, 8, 20, 40, 41])
def test_a_scan_may_begin_later(monkeypatch, first):
    monkeypatch.setattr(nearest, "_BLOCK", 8)
    vectors, queries = draw(40), draw(2, seed=1)
    found = scan(vectors, queries, 6, first=first)
    expected = brute_force(vectors, queries, 6, first)
    assert [sorted(rows) for rows in found.tolist()] == [sorted(rows) for rows in expected]


def test_no_queries():
    assert scan(draw(5), draw(0), 3).shape == (0, 3)
    assert rescore(draw(5), draw(0), np.zeros((0, 3), int), 3) == []


def test_scores_do_not_depend_on_the_company():
    vectors, queries = draw(30, width=77), draw(4, seed=1, width=77)
    together = rescore(vectors, queries, scan(vectors, queries, 5), 5)
    for query, found in zip(queries, together, strict=True):
        alone = rescore(vectors, query[None], scan(vectors, query[None], 9), 5)[0]
        assert np.array_equal(alone.rows, found.rows)
        assert np.array_equal(alone.scores, found.scores)
        exact = [
            math.fsum(float(a) * float(b) for a, b in zip(vectors[row], query, strict=True))
            for row in found.rows
        ]
        assert np.abs(exact - found.scores).max() < 1e-12


def test_equal_scores_are_in_the_order_of_adding():
    vectors = np.tile(draw(2), (5, 1))
    (found,) = rescore(vectors, vectors[:1], np.arange(10)[None, ::-1], 4)
    assert found.rows.tolist() == [0, 2, 4, 6]


def test_candidates_that_are_none_or_double():
    vectors = draw(5)
    (found,) = rescore(vectors, vectors[:1], np.array([[-1, 3, 3, -1, 0]]), 5)
    assert sorted(found.rows.tolist()) == [0, 3]
    assert len(found.pairs()) == 2
    (none,) = rescore(vectors, vectors[:1], np.array([[-1, -1]]), 5)
    assert none.pairs() == []


def test_pairs_are_plain_numbers():
    ((row, score),) = Nearest(np.array([3]), np.array([0.5])).pairs()
    assert (type(row), type(score)) == (int, float)
