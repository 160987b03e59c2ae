import numpy as np
import pytest
from scipy.sparse import csr_array

from kexue.sentences.transport_corpus import make_corpus
from kexue.sentences.transport_measures import make_measure, pair_costs

BOTH = pytest.mark.parametrize("distance", ["wmd", "wrd"])


def corpus_of(vectors, *, distance):
    return make_corpus(csr_array(np.ones((2, len(vectors)))), vectors, distance=distance)


def draw(n=60, d=50, *, spread=1.0, offset=0.0, seed=0):
    random = np.random.default_rng(seed)
    sizes = np.exp(spread * random.normal(size=(n, 1)))
    return random.normal(size=(n, d)) * sizes + offset


@BOTH
def test_costs_are_those_of_the_single_distance(distance):
    vectors = draw()
    x, y = np.arange(10), np.arange(5, 25)
    a, b = (make_measure(vectors[w], name="x", distance=distance) for w in (x, y))
    expected = pair_costs(a, b, distance=distance).numpy()
    found = corpus_of(vectors, distance=distance).costs(x, y)
    np.testing.assert_allclose(found, expected, atol=1e-11)
    assert (found[np.arange(5, 10), np.arange(5)] == 0).all()


@BOTH
def test_costs_of_words_that_are_almost_equal_keep_their_digits(distance):
    vectors = draw(2, 20)
    vectors = np.concatenate((vectors, vectors[:1] * (1 + 1e-9), vectors[:1] + 1e-8))
    a, b = (make_measure(vectors[w], name="x", distance=distance) for w in ([0], [2, 3]))
    expected = pair_costs(a, b, distance=distance).numpy()
    found = corpus_of(vectors, distance=distance).costs(np.array([0]), np.array([2, 3]))
    # In centred coordinates, half a unit in the last place of a number near 1 is about 1e-16
    np.testing.assert_allclose(found, expected, atol=1e-15, rtol=1e-6)
    assert found[0, 1] > 0


@BOTH
@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("width", [1, 7, 300])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_no_cost_of_the_table_is_above_the_true_one(distance, spread, width, offset):
    vectors = draw(80, width, spread=spread, offset=offset)
    # Words that differ by rounding only are where float32 is worst
    vectors = np.concatenate((vectors, vectors[:20] * (1 + 1e-7), vectors[:20] + 1e-5))
    corpus = corpus_of(vectors, distance=distance)
    words = np.arange(len(vectors))
    table = corpus.lower_costs(words).astype(np.float64)
    exact = corpus.costs(words, words)
    assert (table <= exact).all()
    assert (table >= 0).all()


@BOTH
def test_the_table_is_near_the_true_costs(distance):
    corpus = corpus_of(draw(), distance=distance)
    words = np.arange(60)
    table, exact = corpus.lower_costs(words), corpus.costs(words, words)
    apart = ~np.eye(60, dtype=bool)
    np.testing.assert_allclose(table[apart], exact[apart], rtol=2e-4)


def test_an_offset_of_all_vectors_does_not_loosen_the_table():
    # Norms of 1000 would leave no digits of distances of 10
    corpus = corpus_of(draw(offset=1000.0), distance="wmd")
    words = np.arange(60)
    table, exact = corpus.lower_costs(words), corpus.costs(words, words)
    apart = ~np.eye(60, dtype=bool)
    np.testing.assert_allclose(table[apart], exact[apart], rtol=2e-4)


def test_norms_taken_as_they_are_would_put_costs_above_the_true_ones():
    # What the test above would find if the norms were not lowered
    corpus = corpus_of(draw(80, 300), distance="wmd")
    words = np.arange(80)
    full = corpus.points.astype(np.float32)
    squares = np.square(full).sum(1)
    plain = squares[:, None] + squares - 2 * full @ full.T
    assert (np.sqrt(plain.clip(0)) > corpus.costs(words, words)).any()


def test_word_rotators_documents_are_weighed_by_norms():
    vectors = np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])
    corpus = make_corpus(csr_array([[1, 5, 1], [0, 0, 2]]), vectors, distance="wrd")
    np.testing.assert_allclose(corpus.bags.toarray(), [[0.5, 0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(corpus.factors, [5, 1, 0])
    np.testing.assert_allclose(corpus.columns.toarray(), corpus.bags.toarray())
    assert np.isfinite(corpus.lower_costs(np.arange(3))).all()


def test_inputs_are_not_written_to():
    vectors, bags = draw(3, 4), csr_array([[1.0, 2.0, 0.0]])
    copies = vectors.copy(), bags.toarray()
    for distance in ("wmd", "wrd"):
        corpus = make_corpus(bags, vectors, distance=distance)
        corpus.costs(np.array([0]), np.array([1]))
        corpus.lower_costs(np.array([0]))
    np.testing.assert_array_equal(vectors, copies[0])
    np.testing.assert_array_equal(bags.toarray(), copies[1])
