import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse import csr_array

from kexue.sentences.transport_bags import bag_of_words, check_bags, gather, weigh


def test_words_are_counted():
    documents = [[3, 0, 3, 3], [], [1], np.array([2, 1])]
    bags = bag_of_words(documents, 5)
    expected = [
        [documents[i].count(v) if i < 3 else v in (1, 2) for v in range(5)] for i in range(4)
    ]
    np.testing.assert_array_equal(bags.toarray(), expected)
    assert bag_of_words([], 5).shape == (0, 5)


def test_counts_are_those_of_scikit_learn():
    text = pytest.importorskip(
        "sklearn.feature_extraction.text", reason="scikit-learn is not installed"
    )
    texts = ["tea with milk", "no tea no milk", "chai"]
    vectorizer = text.CountVectorizer().fit(texts)
    numbers = vectorizer.vocabulary_
    bags = bag_of_words([[numbers[w] for w in t.split()] for t in texts], len(numbers))
    np.testing.assert_array_equal(bags.toarray(), vectorizer.transform(texts).toarray())


@pytest.mark.parametrize("word", [-1, 5])
def test_a_number_outside_the_vocabulary_is_an_error(word):
    with pytest.raises(ValueError, match=f"documents is '{word} to {word}'.*word numbers 0 to 4"):
        bag_of_words([[], [word]], 5)


def test_weights_sum_to_one_after_the_factors():
    bags = csr_array([[1, 3, 0], [0, 0, 0], [0, 2, 2], [0, 0, 5]])
    factors = np.array([1.0, 2.0, 0.0])
    weights = weigh(bags, factors)
    expected = [[1 / 7, 6 / 7, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(weights.toarray(), expected)
    # A word of factor 0 is no word
    assert np.diff(weights.indptr).tolist() == [2, 0, 1, 0]
    assert bags.dtype.kind == "i"


def test_words_given_twice_and_in_any_order_are_put_together():
    loose = csr_array((np.array([1.0, 1, 2]), np.array([2, 0, 2]), np.array([0, 3])), shape=(1, 3))
    weights = weigh(loose, np.ones(3))
    assert weights.indices.tolist() == [0, 2]
    assert weights.data.tolist() == [0.25, 0.75]
    assert loose.indices.tolist() == [2, 0, 2]


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix, sp.coo_array, sp.csr_array])
def test_any_sparse_matrix_serves(kind):
    bags = check_bags(kind(np.eye(3)), name="documents", words=3)
    assert isinstance(bags, csr_array)
    np.testing.assert_array_equal(bags.toarray(), np.eye(3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0, 1]], "queries is 'list'; allowed: a scipy.sparse matrix.*bag_of_words"),
        (np.eye(3), "queries is 'ndarray'"),
        (csr_array(np.eye(4)), r"queries is \(4, 4\); allowed: 3 columns"),
        (csr_array(-np.eye(3)), "queries is .*none below 0"),
        (csr_array(np.eye(3) * np.nan), "queries is 'NaN"),
    ],
)
def test_mistakes_are_explained(given, message):
    with pytest.raises(ValueError, match=message):
        check_bags(given, name="queries", words=3)


def test_rows_are_gathered_in_the_order_given():
    bags = csr_array([[0, 1, 2], [0, 0, 0], [3, 0, 0], [4, 5, 6]])
    rows = np.array([3, 1, 0, 3])
    at, starts, row = gather(bags.indptr, rows)
    assert bags.data[at].tolist() == [4, 5, 6, 1, 2, 4, 5, 6]
    assert starts.tolist() == [0, 3, 3, 5]
    assert row.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]
