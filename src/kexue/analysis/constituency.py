"""Constituents from an impact matrix: cut a text where its two sides matter least for each other.

    k* = argmax over k = 1 .. T - 2 of
         mean F[:k, :k] + mean F[k:, k:] - mean F[:k, k:] - mean F[k:, :k]
    tree(T) = (tree(:k), (w_k, tree(k + 1:)))        two words are (w_0, w_1), one is itself

The word w_k at the cut heads what follows it, so that the tree branches to the right by design, and
it is neither the first nor the last. The article's means count the zeros of the diagonal, which
makes small blocks look worse: where all impacts are the same, the cut goes to the middle. Means of
pairs alone (`pairs_only`) have no such preference.

Post: https://kexue.fm/archives/7476
Axes: N words, T words of a part
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue._check import invalid
from kexue.analysis.impact_arrays import square_array

Span = tuple[int, int]
Tree = int | tuple["Tree", "Tree"]


def parse_constituents(impact: ArrayLike, *, pairs_only: bool = False) -> Tree:
    """Find the binary tree of constituents of a text.

    Args:
        impact: [N, N] from `impact_matrix`.
        pairs_only: leave the diagonal out of the means.

    Returns:
        A word as its number, two constituents as a pair.

    Raises:
        ValueError: if `impact` is not square or has infinite numbers.

    Example:
        >>> blocks = np.kron(np.eye(2), np.ones((2, 2)))
        >>> parse_constituents(blocks)
        ((0, 1), (2, 3))
    """
    matrix = square_array(impact)
    sums = np.zeros((len(matrix) + 1, len(matrix) + 1))
    sums[1:, 1:] = matrix.cumsum(0).cumsum(1)
    return _tree(sums, 0, len(matrix), pairs_only)


def _tree(sums: NDArray[np.float64], start: int, end: int, pairs_only: bool) -> Tree:
    if end - start == 1:
        return start
    if end - start == 2:
        return (start, start + 1)
    cut = _cut(sums, start, end, pairs_only)
    right = (cut, _tree(sums, cut + 1, end, pairs_only))
    return (_tree(sums, start, cut, pairs_only), right)


def _cut(sums: NDArray[np.float64], start: int, end: int, pairs_only: bool) -> int:
    """Find the word that heads the right part; of equals, the first."""
    cuts = np.arange(start + 1, end - 1)
    left, right = cuts - start, end - cuts

    def block(top: NDArray | int, bottom: NDArray | int, first: NDArray | int, last: NDArray | int):
        return sums[bottom, last] - sums[top, last] - sums[bottom, first] + sums[top, first]

    before, after = block(start, cuts, start, cuts), block(cuts, end, cuts, end)
    across = block(start, cuts, cuts, end) + block(cuts, end, start, cuts)
    fewer = 1 if pairs_only else 0
    within = before / np.maximum(1, left * (left - fewer)) + after / (right * (right - fewer))
    return int(cuts[(within - across / (left * right)).argmax()])


def brackets(tree: Tree) -> set[Span]:
    """List the constituents of a tree.

    Args:
        tree: from `parse_constituents`, or nested pairs and longer tuples of words in order.

    Returns:
        (first word, word after the last) of every constituent of two words or more.

    Example:
        >>> sorted(brackets(((0, 1), (2, 3))))
        [(0, 2), (0, 4), (2, 4)]
    """
    found: set[Span] = set()
    _collect(tree, found)
    return found


def _collect(tree: Tree, found: set[Span]) -> Span:
    if not isinstance(tree, tuple):
        return tree, tree + 1
    parts = [_collect(part, found) for part in tree]
    span = parts[0][0], parts[-1][1]
    found.add(span)
    return span


def right_branching(count: int) -> Tree:
    """Build the tree in which each word is beside all that follow, for comparison.

    Args:
        count: N words, 1 or more.

    Returns:
        The tree.

    Raises:
        ValueError: if there are no words.

    Example:
        >>> right_branching(4)
        (0, (1, (2, 3)))
    """
    if count < 1:
        raise invalid("count", count, "1 or more")
    tree: Tree = count - 1
    for word in range(count - 2, -1, -1):
        tree = (word, tree)
    return tree


def dependency_brackets(heads: list[int]) -> set[Span]:
    """List the constituents that a dependency tree implies: each word with all that is below it.

    Args:
        heads: the head of each word, -1 for the root.

    Returns:
        (first word, word after the last) of those without gaps and of two words or more.

    Example:
        >>> sorted(dependency_brackets([1, -1, 1, 2]))
        [(0, 4), (2, 4)]
    """
    below = [{word} for word in range(len(heads))]
    for word in range(len(heads)):
        for above in _ancestors(heads, word):
            below[above].add(word)
    spans = ((min(words), max(words) + 1, len(words)) for words in below)
    return {(start, end) for start, end, size in spans if end - start == size > 1}


def _ancestors(heads: list[int], word: int) -> Iterator[int]:
    while (word := heads[word]) >= 0:
        yield word
