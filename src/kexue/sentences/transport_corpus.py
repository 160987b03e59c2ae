"""Documents as bags of words over shared vectors, prepared for many searches by WMD or WRD.

    |x - y|^2 = [x, |x|^2, 1] . [-2 y, 1, |y|^2]

One matrix product in float32 gives the costs between the words of a query and all words. Both norms
are taken a little smaller than they are, so that in spite of rounding no cost comes out above the
true one, and what is built on them bounds the distances from below.

Post: https://kexue.fm/archives/7388
Axes: N documents, V words that occur, D features of a word, n words of a query
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from kexue.sentences.transport_bags import weigh


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents with the vectors of their words.

    Args:
        bags: [N, V] weights of the words of each document, sum 1; a row of nothing if it is empty.
        columns: the same by columns.
        factors: [V] by which counts of the words are multiplied: 1 (WMD) or the norms (WRD).
        points: [V, D] float64, the vectors (WMD) or their directions (WRD).
        halved: whether a cost is half the squared distance (WRD), not the distance (WMD).
        left: [V, D + 2] float32, one factor of the costs.
        right: [V, D + 2] float32, the other one.

    Example:
        >>> make_corpus(csr_array(np.eye(2)), np.eye(2), distance="wmd").bags.shape
        (2, 2)
    """

    bags: csr_array
    columns: csc_array
    factors: NDArray
    points: NDArray
    halved: bool
    left: NDArray
    right: NDArray

    def lower_costs(self, words: NDArray) -> NDArray:
        """Compute what it costs at least to carry a unit between any word and those of a query.

        Args:
            words: [n] the query's words, each once.

        Returns:
            [V, n] float32, never above `costs`.
        """
        table = self.left @ self.right[words].T
        np.maximum(table, 0, out=table)
        return np.multiply(table, 0.5, out=table) if self.halved else np.sqrt(table, out=table)

    def costs(self, x: NDArray, y: NDArray) -> NDArray:
        """Compute what it costs to carry a unit between words.

        Args:
            x: [N] words.
            y: [M] words.

        Returns:
            [N, M] float64, exactly 0 between equal points.
        """
        x, y = self.points[x], self.points[y]
        scale = (x * x).sum(1)[:, None] + (y * y).sum(1)
        squares = scale - 2 * x @ y.T
        # The difference of almost equal numbers has no digits left.
        close = np.nonzero(squares <= 1e-6 * scale)
        squares[close] = np.square(x[close[0]] - y[close[1]]).sum(1)
        return squares / 2 if self.halved else np.sqrt(squares)


def make_corpus(bags: csr_array, vectors: NDArray, *, distance: str) -> Corpus:
    """Prepare documents for many searches.

    Args:
        bags: [N, V] counts or other weights, not below 0.
        vectors: [V, D] the vectors of the words.
        distance: "wmd" or "wrd".

    Returns:
        The documents with weights that sum to 1.

    Example:
        >>> corpus = make_corpus(csr_array([[1, 3]]), np.eye(2), distance="wmd")
        >>> corpus.bags.toarray(), corpus.costs(np.array([0]), np.array([0, 1]))
        (array([[0.25, 0.75]]), array([[0.        , 1.41421356]]))
    """
    points = np.array(vectors, dtype=np.float64)
    factors = np.ones(len(points))
    halved = distance == "wrd"
    if halved:
        factors = np.linalg.norm(points, axis=1)
        points /= np.where(factors > 0, factors, 1)[:, None]
    else:
        # Distances do not change, and rounding is proportional to the norms.
        points -= points.sum(0) / max(1, len(points))
    bags = weigh(bags, factors)
    squares, one = (points * points).sum(1), np.ones(len(points))
    # Rounding of x and y to float32: 4 u (|x|^2 + |y|^2). A dot product of D + 2 terms, in any
    # order: 2 (D + 2) u of the same. Norms and root: less than 6 u. u = 2^-24.
    lowered = squares * (1 - (2 * points.shape[1] + 20) * 2.0**-24)
    left = np.column_stack((points, lowered, one)).astype(np.float32)
    right = np.column_stack((-2 * points, one, lowered)).astype(np.float32)
    return Corpus(bags, bags.tocsc(), factors, points, halved, left, right)
