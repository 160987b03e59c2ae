"""The tree of largest score over all trees: Chu-Liu and Edmonds.

Every word takes its best head. Where that closes a cycle, the cycle becomes one word: entering it
at one of its words costs what that word's head in the cycle was worth, and the same is asked again.

Post: https://kexue.fm/archives/7476
Paper: https://doi.org/10.6028/jres.071B.032 (Edmonds 1967)
Axes: N words; score [h, m] of word m under head h
"""

import numpy as np
from numpy.typing import NDArray

from kexue._check import invalid


def spanning_arborescence(scores: NDArray[np.float64], *, root: int | None = None) -> list[int]:
    """Find the tree of largest score in which every word but one has a head.

    Args:
        scores: [N, N] of head h and word m in row h and column m, finite; the diagonal is not read.
        root: the word at the top, by default whichever gives the best tree.

    Returns:
        The head of each word, -1 for the root.

    Raises:
        ValueError: if `root` is no word.

    Example:
        >>> spanning_arborescence(np.array([[0.0, 1.0], [3.0, 0.0]]))
        [1, -1]
    """
    count = len(scores)
    if root is not None and not 0 <= root < count:
        raise invalid("root", root, f"a word from 0 to {count - 1}")
    wide = np.full((count + 1, count + 1), -np.inf)
    wide[1:, 1:] = scores
    np.fill_diagonal(wide, -np.inf)
    allowed = np.arange(count) if root is None else [root]
    # An edge from outside costs more than all others together can gain: only one is taken.
    wide[0, 1:][allowed] = -1 - count * np.ptp(scores)
    return [head - 1 for head in _best_heads(wide)[1:]]


def _best_heads(scores: NDArray[np.float64]) -> list[int]:
    """Find the heads of the best tree whose root is word 0; -1 for itself."""
    heads = scores.argmax(0)
    heads[0] = -1
    cycle = _find_cycle(heads)
    if cycle is None:
        return heads.tolist()
    inside = np.zeros(len(scores), bool)
    inside[cycle] = True
    rest = np.flatnonzero(~inside)  # word 0 is the first of it
    gain = scores[:, cycle] - scores[heads[cycle], cycle]
    enters = gain[rest].argmax(1)  # for each head outside, at which word of the cycle
    leaves = scores[np.ix_(cycle, rest)].argmax(0)  # for each word outside, from which one
    small = np.full((len(rest) + 1, len(rest) + 1), -np.inf)
    small[:-1, :-1] = scores[np.ix_(rest, rest)]
    small[:-1, -1] = gain[rest].max(1)
    small[-1, :-1] = scores[np.ix_(cycle, rest)].max(0)
    small[-1, -1] = -np.inf
    found = _best_heads(small)
    for word, head in enumerate(found[1:-1], 1):
        heads[rest[word]] = cycle[leaves[word]] if head == len(rest) else rest[head]
    heads[cycle[enters[found[-1]]]] = rest[found[-1]]
    return heads.tolist()


def _find_cycle(heads: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Find words that are each under the next, the last under the first; None in a tree."""
    seen = np.zeros(len(heads), int)
    for first in range(1, len(heads)):
        word, path = first, []
        while word > 0 and not seen[word]:
            seen[word] = first
            path.append(word)
            word = int(heads[word])
        if word > 0 and seen[word] == first:
            return np.array(path[path.index(word) :])
    return None
