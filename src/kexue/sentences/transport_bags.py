"""Documents as bags of words: sparse matrices with a row for each and a column for each word.

Post: https://kexue.fm/archives/7388
Axes: N documents, V words, R rows that hold W entries
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kexue._check import invalid


def bag_of_words(documents: Sequence[Sequence[int]], vocabulary_size: int) -> csr_array:
    """Count the words of documents.

    Args:
        documents: for each document the numbers of its words, as often as they come.
        vocabulary_size: V; words are numbered 0 to V - 1.

    Returns:
        [N, V] counts, as `CountVectorizer` of scikit-learn makes them of texts.

    Raises:
        ValueError: if a number is outside the vocabulary.

    Example:
        >>> bag_of_words([[0, 2, 2], []], 3).toarray()
        array([[1., 0., 2.],
               [0., 0., 0.]])
    """
    ends = np.cumsum([0, *map(len, documents)])
    words = np.array([word for document in documents for word in document], dtype=np.int64)
    if len(words) and (words.min() < 0 or words.max() >= vocabulary_size):
        given = f"{words.min()} to {words.max()}"
        raise invalid("documents", given, f"word numbers 0 to {vocabulary_size - 1}")
    bags = csr_array((np.ones(len(words)), words, ends), shape=(len(documents), vocabulary_size))
    bags.sum_duplicates()
    return bags


def check_bags(bags: object, *, name: str, words: int) -> csr_array:
    """Check a matrix of documents.

    Args:
        bags: what was given.
        name: the argument it was given as.
        words: V, the number of vectors.

    Returns:
        [N, V] by rows.

    Raises:
        ValueError: if it is not sparse, of another width, or holds a number that is not allowed.

    Example:
        >>> check_bags(csr_array([[1, 0]]), name="documents", words=2).nnz
        1
    """
    if not hasattr(bags, "tocsr"):
        fix = "bag_of_words(documents, vocabulary_size) makes one of lists of word numbers."
        raise invalid(name, type(bags).__name__, "a scipy.sparse matrix of word counts", fix)
    bags = csr_array(bags)
    if bags.shape[1] != words:
        raise invalid(name, bags.shape, f"{words} columns, one for each of the vectors")
    if not np.isfinite(bags.data).all() or (bags.data < 0).any():
        raise invalid(name, "NaN, infinite or below 0 somewhere", "finite weights, none below 0")
    return bags


def weigh(bags: csr_array, factors: NDArray) -> csr_array:
    """Turn counts of words into weights that sum to 1 in each document.

    Args:
        bags: [N, V] counts, not below 0.
        factors: [V] by which to multiply them.

    Returns:
        [N, V] a new matrix of float64, words sorted, each once, and no stored zeros.

    Example:
        >>> weigh(csr_array([[1, 1], [0, 0]]), np.array([1.0, 3.0])).toarray()
        array([[0.25, 0.75],
               [0.  , 0.  ]])
    """
    bags = csr_array(bags, dtype=np.float64, copy=True)
    bags.sum_duplicates()
    bags.data *= factors[bags.indices]
    bags.eliminate_zeros()
    sizes = np.diff(bags.indptr)
    bags.data /= np.repeat(np.asarray(bags.sum(1)).ravel(), sizes)
    return bags


def gather(indptr: NDArray, rows: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Find the entries of some rows of a sparse matrix.

    Args:
        indptr: [N + 1] where each row begins, and the last one ends.
        rows: [R] rows.

    Returns:
        [W] the places of the entries, [R] where each row begins among these, and [W] to which of
        the R rows each belongs.

    Example:
        >>> gather(np.array([0, 2, 3, 5]), np.array([2, 0]))
        (array([3, 4, 0, 1]), array([0, 2]), array([0, 0, 1, 1]))
    """
    begin = indptr[rows].astype(np.int64)
    sizes = indptr[rows + 1] - begin
    starts = np.cumsum(sizes) - sizes
    at = np.arange(sizes.sum()) + np.repeat(begin - starts, sizes)
    return at, starts, np.repeat(np.arange(len(rows)), sizes)
