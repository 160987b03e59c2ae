import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kexue.sentences import transport_pruning
from kexue.sentences.transport_corpus import make_corpus
from kexue.sentences.transport_pruning import (
    make_query,
    raise_bound,
    received_bounds,
    sent_bounds,
)
from kexue.sentences.transport_solver import solve_transport

BOTH = pytest.mark.parametrize("distance", ["wmd", "wrd"])


def draw(count=40, words=30, width=8, *, density=0.3, seed=0):
    random = np.random.default_rng(seed)
    counts = random.integers(1, 4, (count, words)) * (random.random((count, words)) < density)
    counts[np.arange(count), random.integers(0, words, count)] += 1
    return csr_array(counts), random.normal(size=(words, width))


def first_as_query(bags, vectors, distance):
    """The corpus of all documents but the first, and that one as a query."""
    corpus = make_corpus(bags[1:], vectors, distance=distance)
    bag = make_corpus(bags[:1], vectors, distance=distance).bags
    return corpus, make_query(corpus, bag.indices, bag.data)


def exact_distances(corpus, query):
    found = []
    for row in range(corpus.bags.shape[0]):
        span = slice(*corpus.bags.indptr[row : row + 2])
        costs = corpus.costs(query.words, corpus.bags.indices[span])
        found.append(solve_transport(costs, query.weights, corpus.bags.data[span]).cost)
    return np.array(found)


def all_bounds(corpus, query, targets):
    rows = np.arange(corpus.bags.shape[0])
    sent, potentials = sent_bounds(corpus, query, rows)
    given = zip(rows, potentials, np.broadcast_to(targets, len(rows)), strict=True)
    raised = [raise_bound(corpus, query, *row) for row in given]
    return {"received": received_bounds(corpus, query), "sent": sent, "raised": np.array(raised)}


def relaxed(corpus, query):
    """Both sides of the relaxed bound for each document, in loops."""
    found = []
    for row in range(corpus.bags.shape[0]):
        span = slice(*corpus.bags.indptr[row : row + 2])
        costs = corpus.costs(query.words, corpus.bags.indices[span])
        found.append((corpus.bags.data[span] @ costs.min(0), query.weights @ costs.min(1)))
    return np.array(found).T


@BOTH
@pytest.mark.parametrize("seed", range(8))
def test_no_bound_exceeds_the_distance(distance, seed):
    bags, vectors = draw(density=0.1 + 0.1 * seed, seed=seed)
    corpus, query = first_as_query(bags, vectors, distance)
    exact = exact_distances(corpus, query)
    for target in (exact.min(), np.median(exact), 10 * exact.max()):
        for name, bound in all_bounds(corpus, query, target).items():
            assert (bound <= exact).all(), name


counts = st.lists(st.integers(0, 3), min_size=5, max_size=5)
bags_of_five = st.lists(counts.filter(any), min_size=2, max_size=6).map(np.array)
lattice = st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=5, max_size=5).map(
    lambda points: np.array(points, dtype=float)
)


@settings(max_examples=100, deadline=None)
@given(bags_of_five, lattice, st.sampled_from(["wmd", "wrd"]))
def test_no_bound_exceeds_the_distance_of_equal_words_and_few_words(counted, vectors, distance):
    # A lattice is full of words that coincide, lie opposite each other, or are zero
    if distance == "wrd":
        vectors[:, 0] += 0.25
    corpus, query = first_as_query(csr_array(counted), vectors, distance)
    exact = exact_distances(corpus, query)
    for name, bound in all_bounds(corpus, query, exact.max() + 0.1).items():
        assert np.isfinite(bound).all(), name
        assert (bound <= exact).all(), name


@BOTH
def test_each_bound_is_sharper_than_the_relaxed_one_it_replaces(distance):
    corpus, query = first_as_query(*draw(density=0.4), distance)
    received, sent = relaxed(corpus, query)
    bounds = all_bounds(corpus, query, exact_distances(corpus, query))
    slack = 1e-5
    assert (bounds["received"] >= received - slack).all()
    assert (bounds["sent"] >= sent - slack).all()
    assert (bounds["raised"] >= bounds["sent"] - slack).all()
    # And not only by rounding: words in common make the relaxed bound loose
    assert bounds["received"].mean() > 1.02 * received.mean()
    assert bounds["sent"].mean() > 1.1 * sent.mean()
    assert bounds["raised"].mean() > 1.03 * bounds["sent"].mean()


@BOTH
def test_the_received_bound_is_its_definition(distance):
    corpus, query = first_as_query(*draw(density=0.4), distance)
    costs = corpus.costs(query.words, np.arange(30))
    costs[np.arange(len(query.words)), query.words] = np.inf
    share = np.zeros(30)
    share[query.words] = query.weights
    over = np.maximum(corpus.bags.toarray() - share, 0)
    found = received_bounds(corpus, query)
    np.testing.assert_allclose(found, over @ costs.min(0), atol=1e-5)


@BOTH
def test_the_sent_potentials_are_feasible_and_give_the_bound(distance):
    corpus, query = first_as_query(*draw(density=0.4), distance)
    rows = np.array([5, 0, 17])
    bounds, potentials = sent_bounds(corpus, query, rows)
    for row, bound, u in zip(rows, bounds, potentials, strict=True):
        span = slice(*corpus.bags.indptr[row : row + 2])
        costs = corpus.costs(query.words, corpus.bags.indices[span])
        v = (costs - u[:, None]).min(0)
        assert (u >= 0).all()
        expected = query.weights @ u + corpus.bags.data[span] @ v
        assert bound == pytest.approx(expected, abs=1e-5)


@BOTH
def test_many_steps_reach_the_distance(distance, monkeypatch):
    monkeypatch.setattr(transport_pruning, "_STEPS", 3000)
    corpus, query = first_as_query(*draw(8, seed=3), distance)
    exact = exact_distances(corpus, query)
    _, potentials = sent_bounds(corpus, query, np.arange(7))
    for row, value in enumerate(exact):
        reached = raise_bound(corpus, query, row, potentials[row], value)
        assert 0.98 * value < reached <= value


def test_a_reached_target_ends_the_steps(monkeypatch):
    corpus, query = first_as_query(*draw(8, seed=3), "wmd")
    sent, potentials = sent_bounds(corpus, query, np.arange(7))
    exact = exact_distances(corpus, query)
    row = int((exact - sent).argmax())
    target = (sent[row] + exact[row]) / 2
    reached = raise_bound(corpus, query, row, potentials[row], target)
    assert target < reached <= exact[row]
    # More steps would have gone on
    monkeypatch.setattr(transport_pruning, "_STEPS", 3000)
    assert raise_bound(corpus, query, row, potentials[row], target) == reached
    assert raise_bound(corpus, query, row, potentials[row], exact[row]) > reached
    assert raise_bound(corpus, query, row, potentials[row], sent[row] / 2) == pytest.approx(
        sent[row], abs=1e-5
    )


@BOTH
def test_a_query_is_at_no_distance_from_itself(distance):
    bags, vectors = draw()
    corpus = make_corpus(bags, vectors, distance=distance)
    span = slice(*corpus.bags.indptr[3:5])
    query = make_query(corpus, corpus.bags.indices[span], corpus.bags.data[span])
    for name, bound in all_bounds(corpus, query, 1.0).items():
        assert bound[3] == pytest.approx(0, abs=1e-5), name
        assert bound[3] <= 0, name


def test_the_table_forbids_a_word_to_stay_and_the_place_finds_it():
    _, query = first_as_query(*draw(), "wmd")
    forbidden = np.argwhere(np.isinf(query.table))
    np.testing.assert_array_equal(forbidden[:, 0], query.words)
    np.testing.assert_array_equal(forbidden[:, 1], np.arange(len(query.words)))
    np.testing.assert_array_equal(query.place[query.words], np.arange(len(query.words)))
    assert (np.delete(query.place, query.words) == -1).all()
    assert query.margin > 0
