"""The nearest vectors by inner product, exactly: blocks of all vectors, or of chosen ones.

    score(q, x) = <q, x>, for vectors of length one the cosine

Whatever chose the candidates, their scores are computed once more in float64 from the stored
vectors, so that a score does not depend on how a vector was found.

Post: https://kexue.fm/archives/8069
Axes: Q queries, N vectors, D features, K nearest
"""

from typing import NamedTuple

import numpy as np

_BLOCK = 8192  # vectors at a time
_QUERIES = 256  # queries at a time: their scores with a block take 8 MiB


class Nearest(NamedTuple):
    """The nearest vectors of one query.

    Attributes:
        rows: [K] their numbers, best first, the lower number first where scores are equal.
        scores: [K] float64.

    Example:
        >>> Nearest(np.array([4]), np.array([0.9])).rows.tolist()
        [4]
    """

    rows: np.ndarray
    scores: np.ndarray

    def pairs(self) -> list[tuple[int, float]]:
        """Give row and score together, as plain numbers.

        Returns:
            [K] pairs.
        """
        return list(zip(self.rows.tolist(), self.scores.tolist(), strict=True))


def scan(vectors: np.ndarray, queries: np.ndarray, k: int, *, first: int = 0) -> np.ndarray:
    """Find the rows with the K largest scores by looking at all of them.

    Args:
        vectors: [N, D] float32, also a memory map, of which a block at a time is read.
        queries: [Q, D] float32.
        k: how many for each query.
        first: rows before this one are left out.

    Returns:
        [Q, min(K, N - first)] int64 rows, in no order.

    Example:
        >>> scan(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[:2], 1).tolist()
        [[0], [1]]
    """
    found = [
        _scan(vectors, queries[start : start + _QUERIES], k, first)
        for start in range(0, len(queries), _QUERIES)
    ]
    width = max(0, min(k, len(vectors) - first))
    return np.concatenate([np.zeros((0, width), dtype=np.int64), *found])


def _scan(vectors: np.ndarray, queries: np.ndarray, k: int, first: int) -> np.ndarray:
    scores = np.zeros((len(queries), 0), dtype=np.float32)
    rows = np.zeros((len(queries), 0), dtype=np.int64)
    for start in range(first, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        number = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        scores = np.concatenate([scores, queries @ block.T], axis=1)  # [Q, K + block]
        rows = np.concatenate([rows, number], axis=1)
        if scores.shape[1] > k:
            best = np.argpartition(scores, -k, axis=1)[:, -k:]
            scores = np.take_along_axis(scores, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
    return rows


def rescore(
    vectors: np.ndarray, queries: np.ndarray, candidates: np.ndarray, k: int
) -> list[Nearest]:
    """Order candidates by their exact scores.

    Args:
        vectors: [N, D] float32, also a memory map, of which only the candidates are read.
        queries: [Q, D] float32.
        candidates: [Q, C] rows for each query; negative ones are none, doubled ones count once.
        k: how many to keep.

    Returns:
        One `Nearest` a query.

    Example:
        >>> vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
        >>> rescore(vectors, vectors[:1], np.array([[2, 0, -1, 2]]), 2)[0].rows.tolist()
        [0, 2]
    """
    found = []
    for query, chosen in zip(queries, candidates, strict=True):
        # Rising, as they lie on the disk.
        rows = np.unique(chosen[chosen >= 0])
        # Not a matrix product, whose last digits depend on the other rows.
        scores = (vectors[rows].astype(np.float64) * query).sum(axis=1)
        order = np.lexsort((rows, -scores))[:k]
        found.append(Nearest(rows[order], scores[order]))
    return found
