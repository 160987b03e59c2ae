"""The k nearest documents by Word Mover's or Word Rotator's Distance, exactly and seldom solved.

A document is discarded as soon as a lower bound of its distance exceeds the distance of the k-th
best found so far. The bounds come in stages (`transport_pruning`), each for those that the one
before let pass, in the order of that bound; of thousands of documents a few dozen transport
problems are left to solve. The result is that of solving them all.

Post: https://kexue.fm/archives/7388
Paper: https://proceedings.mlr.press/v37/kusnerb15.html, section 4.3 (prefetch and prune)
Axes: Q queries, N documents, V words, D features of a word, k nearest
"""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, spmatrix
from torch import Tensor

from kexue._check import invalid
from kexue.sentences.transport_bags import check_bags, weigh
from kexue.sentences.transport_corpus import Corpus, make_corpus
from kexue.sentences.transport_pruning import (
    Query,
    make_query,
    raise_bound,
    received_bounds,
    sent_bounds,
)
from kexue.sentences.transport_solver import solve_transport

# Costs of so many pairs of words stay in a core's cache.
_BLOCK = 2**18


@dataclass(frozen=True, eq=False)
class NearestDocuments:
    """The nearest documents of each query.

    Args:
        indices: [Q, k] rows of the documents, the nearest first; of equally near ones the first.
        distances: [Q, k] float64; inf where the query or the document has no word.
        solved: [Q] how many transport problems were solved.

    Example:
        >>> NearestDocuments(np.array([[4]]), np.array([[0.5]]), np.array([7])).to_dict()
        {'indices': [[4]], 'distances': [[0.5]], 'solved': [7]}
    """

    indices: NDArray
    distances: NDArray
    solved: NDArray

    def to_dict(self) -> dict[str, list]:
        """Give the result as a JSON object.

        Returns:
            Three lists with an entry for each query.
        """
        return {name: getattr(self, name).tolist() for name in ("indices", "distances", "solved")}

    def __str__(self) -> str:
        lines = []
        for query, (rows, values) in enumerate(zip(self.indices, self.distances, strict=True)):
            found = "  ".join(
                f"{row} ({value:.4f})" for row, value in zip(rows, values, strict=True)
            )
            lines.append(f"query {query}: {found}")
        return "\n".join(lines)


def nearest_documents(
    queries: csr_array | spmatrix,
    documents: csr_array | spmatrix,
    k: int,
    *,
    vectors: Tensor | NDArray,
    distance: str = "wmd",
) -> NearestDocuments:
    """Find the nearest documents of each query.

    Args:
        queries: [Q, V] sparse counts or other weights of the words, as `bag_of_words` or
            scikit-learn's `CountVectorizer` make them.
        documents: [N, V] the same for the documents.
        k: how many to find, 1 to N.
        vectors: [V, D] the vectors of the vocabulary; a memory map is read only where a word
            occurs.
        distance: "wmd" or "wrd"; WRD multiplies the counts by the norms of the vectors.

    Returns:
        What computing all distances and sorting them gives, up to rounding in the last digits.

    Raises:
        ValueError: if a shape, a number or `k` is not allowed.

    Example:
        >>> from kexue.sentences.transport_bags import bag_of_words
        >>> vectors = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
        >>> documents = bag_of_words([[0, 1], [2], [1, 1]], 3)
        >>> print(nearest_documents(bag_of_words([[1]], 3), documents, 2, vectors=vectors))
        query 0: 2 (0.0000)  0 (0.5000)
    """
    if distance not in ("wmd", "wrd"):
        raise invalid("distance", distance, "'wmd' (Euclidean) or 'wrd' (angles and norms)")
    documents = check_bags(documents, name="documents", words=len(vectors))
    queries = check_bags(queries, name="queries", words=len(vectors))
    if not 1 <= k <= documents.shape[0]:
        raise invalid("k", k, f"1 to {documents.shape[0]}, the number of documents")
    used = np.union1d(documents.indices, queries.indices).astype(np.int64)
    chosen = vectors[used]
    chosen = chosen.detach().cpu().double().numpy() if isinstance(chosen, Tensor) else chosen
    if not np.isfinite(chosen).all():
        raise invalid("vectors", "NaN or infinite at a word that occurs", "finite numbers")
    corpus = make_corpus(documents[:, used], chosen, distance=distance)
    weighed = weigh(queries[:, used], corpus.factors)
    found = [_find(corpus, row, k) for row in weighed]
    indices, distances, solved = map(np.array, zip(*found, strict=True))
    return NearestDocuments(indices, distances, solved)


def _find(corpus: Corpus, bag: csr_array, k: int) -> tuple[list[int], list[float], int]:
    """Find rows and distances of the documents nearest to one query, and count the solutions."""
    sizes = np.diff(corpus.bags.indptr)
    best: list[tuple[float, int]] = []
    solved = 0
    if bag.nnz:
        query = make_query(corpus, bag.indices, bag.data)
        bounds = received_bounds(corpus, query)
        order = np.argsort(bounds)
        for block in _blocks(order[sizes[order] > 0], sizes, _BLOCK // bag.nnz):
            rows = block[bounds[block] <= _limit(best, k)]
            if not len(rows):
                break
            solved += _search_block(corpus, query, rows, best, k)
    empty = np.flatnonzero(sizes == 0) if bag.nnz else np.arange(len(sizes))
    best += [(np.inf, int(row)) for row in empty[: k - len(best)]]
    return [row for _, row in best], [value for value, _ in best], solved


def _search_block(
    corpus: Corpus, query: Query, rows: NDArray, best: list[tuple[float, int]], k: int
) -> int:
    """Bring the documents of a block that are among the k best into `best`; count solutions."""
    bounds, potentials = sent_bounds(corpus, query, rows)
    solved = 0
    for at in np.argsort(bounds):
        row, limit = int(rows[at]), _limit(best, k)
        if bounds[at] > limit:
            break
        # Without a limit there is nothing to raise a bound to.
        if limit < np.inf and raise_bound(corpus, query, row, potentials[at], limit) > limit:
            continue
        span = slice(*corpus.bags.indptr[row : row + 2])
        costs = corpus.costs(query.words, corpus.bags.indices[span])
        value = solve_transport(costs, query.weights, corpus.bags.data[span]).cost
        insort(best, (value, row))
        del best[k:]
        solved += 1
    return solved


def _limit(best: list[tuple[float, int]], k: int) -> float:
    """Give the distance that a document must not exceed to be among the k nearest."""
    return best[-1][0] if len(best) == k else np.inf


def _blocks(order: NDArray, sizes: NDArray, words: int) -> Iterator[NDArray]:
    """Cut documents into runs of about so many words, at least one document each."""
    total, start = np.cumsum(sizes[order]), 0
    while start < len(order):
        before = total[start] - sizes[order[start]]
        stop = max(start + 1, int(np.searchsorted(total, before + words, side="right")))
        yield order[start:stop]
        start = stop
