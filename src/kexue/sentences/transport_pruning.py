"""Lower bounds of the distances from one query to many documents, each sharper and dearer.

Whatever the potentials u and v, as long as u_i + v_j <= D_ij,

    distance(query p, document q) >= sum_i p_i u_i + sum_j q_j v_j

    received  v_j = min over other words i of D_ij, paid for what exceeds the query's own share of
              word j: all documents by one product with a sparse matrix
    sent      u_i = the same the other way round, then v_j = min_i (D_ij - u_i): sharper than the
              relaxed bound, which leaves it at v = 0
    raised    u moves along p minus what reaches it, towards a given bound (Polyak's step), and v
              follows: after a few steps the bound stands within a few per cent of the distance

The first bound is not of this form, but valid too: no more than min(p_i, q_i) of a word can stay in
place, and the rest goes at least as far as to the nearest other word.

Post: https://kexue.fm/archives/7388
Paper: https://arxiv.org/abs/1812.02091 (the share of a word that stays in place)
Axes: N documents, R of them at a time with W words, V words of the vocabulary, n words of a query
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kexue.sentences.transport_bags import gather
from kexue.sentences.transport_corpus import Corpus

_STEPS = 8
# A little past the target, or the last steps would only creep towards it.
_OVERSHOOT = 1.02
# The optimum, or near it. From here a step would be so long that potentials lose their digits:
# weights that sum to 1 but for rounding are never balanced exactly.
_BALANCED = 1e-8


@dataclass(frozen=True, eq=False)
class Query:
    """A query with lower bounds of all costs.

    Args:
        words: [n] its words, each once, ascending.
        weights: [n] float64, sum 1.
        table: [V, n] float32 lower bounds of the costs, inf from each of its words to itself.
        place: [V] where a word stands among `words`, or -1.
        margin: what rounding can add to a bound made of the table, and to a solver's value.

    Example:
        >>> Query(np.zeros(1), np.ones(1), np.ones((1, 1)), np.zeros(1), 0.0).weights
        array([1.])
    """

    words: NDArray
    weights: NDArray
    table: NDArray
    place: NDArray
    margin: float


def make_query(corpus: Corpus, words: NDArray, weights: NDArray) -> Query:
    """Prepare a query for all bounds.

    Args:
        corpus: the documents.
        words: [n] the query's words, each once, ascending.
        weights: [n] float64, sum 1.

    Returns:
        The query with its table of costs.

    Example:
        >>> from scipy.sparse import csr_array
        >>> from kexue.sentences.transport_corpus import make_corpus
        >>> corpus = make_corpus(csr_array(np.eye(2)), np.eye(2), distance="wmd")
        >>> make_query(corpus, np.array([1]), np.ones(1)).table.round(4)
        array([[1.4142],
               [   inf]], dtype=float32)
    """
    table = corpus.lower_costs(words)
    # Of a difference of two costs in float32, rounding is at most 2^-24 of the greatest cost.
    margin = float(table.max()) * 2.0**-22
    own = np.arange(len(words))
    table[words, own] = np.inf
    place = np.full(len(table), -1)
    place[words] = own
    return Query(words, weights, table, place, margin)


def received_bounds(corpus: Corpus, query: Query) -> NDArray:
    """Bound the distances to all documents by what each of their words costs to receive.

    Args:
        corpus: the documents.
        query: the query.

    Returns:
        [N] lower bounds; 0 for empty documents.

    Example:
        >>> from scipy.sparse import csr_array
        >>> from kexue.sentences.transport_corpus import make_corpus
        >>> corpus = make_corpus(csr_array([[1, 0], [1, 1]]), np.eye(2), distance="wmd")
        >>> received_bounds(corpus, make_query(corpus, np.array([1]), np.ones(1))).round(4)
        array([1.4142, 0.7071])
    """
    nearest = _row_min(query.table)
    # The only word of a query has no other one beside it, and no document holds more of it.
    nearest[np.isinf(nearest)] = 0
    at, _, own = gather(corpus.columns.indptr, query.words)
    stays = np.minimum(corpus.columns.data[at], query.weights[own]) * nearest[query.words][own]
    count = corpus.bags.shape[0]
    spared = np.bincount(corpus.columns.indices[at], stays, count)
    return corpus.bags @ nearest - spared - query.margin


def sent_bounds(corpus: Corpus, query: Query, rows: NDArray) -> tuple[NDArray, NDArray]:
    """Bound the distances to some documents by what each of the query's words costs to send.

    Args:
        corpus: the documents.
        query: the query.
        rows: [R] documents, none of them empty.

    Returns:
        [R] lower bounds, and [R, n] float32 the potentials that give them.

    Example:
        >>> from scipy.sparse import csr_array
        >>> from kexue.sentences.transport_corpus import make_corpus
        >>> corpus = make_corpus(csr_array([[1, 0], [1, 1]]), np.eye(2), distance="wmd")
        >>> query = make_query(corpus, np.array([0, 1]), np.array([0.25, 0.75]))
        >>> sent_bounds(corpus, query, np.array([0, 1]))[0].round(4)
        array([1.0607, 0.3536])
    """
    at, starts, row = gather(corpus.bags.indptr, rows)
    words, weights = corpus.bags.indices[at], corpus.bags.data[at]
    costs = query.table.take(words, axis=0)
    potentials = np.minimum.reduceat(costs, starts, axis=0)
    shared = np.flatnonzero(query.place[words] >= 0)
    own = query.place[words[shared]]
    # Where the document holds as much of a word as the query, nothing has to leave.
    enough = weights[shared] >= query.weights[own]
    potentials[row[shared[enough]], own[enough]] = 0
    costs[shared, own] = 0
    costs -= potentials[row]
    received = np.add.reduceat(_row_min(costs) * weights, starts)
    return potentials @ query.weights + received - query.margin, potentials


def raise_bound(
    corpus: Corpus, query: Query, row: int, potentials: NDArray, target: float
) -> float:
    """Raise the bound of one document towards a target, by steps of the dual problem.

    Args:
        corpus: the documents.
        query: the query.
        row: the document, not empty.
        potentials: [n] where to begin.
        target: what would be enough.

    Returns:
        A lower bound of the distance; above `target` where that was reached.

    Example:
        >>> from scipy.sparse import csr_array
        >>> from kexue.sentences.transport_corpus import make_corpus
        >>> corpus = make_corpus(csr_array([[1, 0]]), np.eye(2), distance="wmd")
        >>> query = make_query(corpus, np.array([1]), np.ones(1))
        >>> round(raise_bound(corpus, query, 0, np.zeros(1), 1.5), 4)
        1.4142
    """
    span = slice(*corpus.bags.indptr[row : row + 2])
    words, weights = corpus.bags.indices[span], corpus.bags.data[span]
    costs = query.table[words]
    own = query.place[words]
    costs[own >= 0, own[own >= 0]] = 0
    costs = costs.astype(np.float64)
    every, best, u = np.arange(len(words)), -np.inf, potentials
    for _ in range(_STEPS):
        rest = costs - u
        nearest = rest.argmin(1)
        value = query.weights @ u + weights @ rest[every, nearest] - query.margin
        best = max(best, value)
        ascent = query.weights - np.bincount(nearest, weights, len(u))
        squared = ascent @ ascent
        if best > target or squared < _BALANCED:
            break
        u = u + (_OVERSHOOT * target - value) / squared * ascent
    return float(best)


def _row_min(costs: NDArray) -> NDArray:
    """Find the least cost of each row; torch does it four times as fast as numpy."""
    return torch.from_numpy(costs).amin(1).double().numpy()
