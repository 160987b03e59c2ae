"""Dependency trees from an impact matrix: every word under the word that matters most for it.

    score(h, m) = f(m, h) / sum_k f(m, k)        maximise the sum over all words m but the root

Rows are divided by their sums because some words are moved by any mask and would outvote the rest.
Two families of trees: projective ones, whose arcs do not cross when drawn above the text, by
Eisner's algorithm; and all trees, the maximum spanning arborescence.

Paper: https://arxiv.org/abs/2004.14786, section 3.2
       https://aclanthology.org/C96-1058 (Eisner)
Post: https://kexue.fm/archives/7476
Axes: N words; score [h, m] of word m under head h
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kexue._check import invalid
from kexue.analysis.arborescence import spanning_arborescence
from kexue.analysis.impact_arrays import square_array


def parse_tree(impact: ArrayLike, *, method: str = "eisner", root: int | None = None) -> list[int]:
    """Find the dependency tree of a text.

    Args:
        impact: [N, N] from `impact_matrix`, or any scores that are not negative: how much the word
            of a column matters for the word of a row.
        method: "eisner", the best projective tree; or "arborescence", the best of all trees.
        root: the word at the top where it is known, by default whichever gives the best tree.

    Returns:
        The head of each word, -1 for the root.

    Raises:
        ValueError: if `impact` is not square or has negative or infinite numbers, or an option is
            unknown.

    Example:
        >>> parse_tree([[0, 5, 1], [2, 0, 1], [1, 5, 0]])
        [1, -1, 1]
    """
    methods = {"eisner": projective_tree, "arborescence": spanning_arborescence}
    if method not in methods:
        raise invalid("method", method, " or ".join(map(repr, methods)))
    return methods[method](edge_scores(impact), root=root)


def edge_scores(impact: ArrayLike) -> NDArray[np.float64]:
    """Turn impacts into scores of edges.

    Args:
        impact: [N, N] how much the word of a column matters for the word of a row.

    Returns:
        [N, N] the score of head h and word m in row h and column m; those of the heads of a word
        sum to 1, and the diagonal is 0.

    Raises:
        ValueError: if `impact` is not square or has negative or infinite numbers.

    Example:
        >>> edge_scores([[0, 3, 1], [2, 0, 2], [0, 0, 0]])
        array([[0.  , 0.5 , 0.  ],
               [0.75, 0.  , 0.  ],
               [0.25, 0.5 , 0.  ]])
    """
    scores = square_array(impact)
    if (scores < 0).any():
        raise invalid("impact", float(scores.min()), "numbers that are not negative")
    total = scores.sum(1, keepdims=True)
    return (scores / np.where(total == 0, 1, total)).T


def projective_tree(scores: NDArray[np.float64], *, root: int | None = None) -> list[int]:
    """Find the best projective tree by Eisner's algorithm, in O(N^3).

    Args:
        scores: [N, N] of head h and word m in row h and column m.
        root: the word at the top, by default whichever gives the best tree.

    Returns:
        The head of each word, -1 for the root. Of equal trees, the one whose spans part first.

    Raises:
        ValueError: if `root` is no word.

    Example:
        >>> projective_tree(np.array([[0.0, 1.0], [3.0, 0.0]]))
        [1, -1]
    """
    scores = np.asarray(scores, dtype=np.float64)
    count = len(scores)
    if root is not None and not 0 <= root < count:
        raise invalid("root", root, f"a word from 0 to {count - 1}")
    chart = _fill(scores)
    if root is None:
        # Under the root, what is left of it and what is right of it are apart.
        root = int((chart.left[0] + chart.right[:, -1]).argmax())
    heads = [-1] * count
    # Each span is parted into two smaller ones: right or left says on which side its head is not.
    todo = [("left", 0, root), ("right", root, count - 1)]
    while todo:
        todo += _part(chart, heads, *todo.pop())
    return heads


class _Chart:
    """Best scores and splits of spans [s, t]; `left` has its head at t and `right` at s.

    A joined span is one whose ends are head and word; its two halves meet between two words.
    """

    def __init__(self, count: int) -> None:
        self.left, self.right, self.joined_left, self.joined_right = np.zeros((4, count, count))
        self.split_left, self.split_right, self.split_joined = np.zeros((3, count, count), int)


def _fill(scores: NDArray[np.float64]) -> _Chart:
    """Find the best of all spans, from short to long, those of one length at once."""
    count = len(scores)
    chart = _Chart(count)
    for width in range(1, count):
        start = np.arange(count - width)
        end = start + width
        row, here = np.arange(len(start)), start[:, None]
        split = here + np.arange(width)  # [spans, width]
        last = end[:, None]
        both = chart.right[here, split] + chart.left[split + 1, last]
        best = both.argmax(1)
        chart.split_joined[start, end] = split[row, best]
        chart.joined_right[start, end] = both[row, best] + scores[start, end]
        chart.joined_left[start, end] = both[row, best] + scores[end, start]
        left = chart.left[here, split] + chart.joined_left[split, last]
        best = left.argmax(1)
        chart.left[start, end] = left[row, best]
        chart.split_left[start, end] = split[row, best]
        right = chart.joined_right[here, split + 1] + chart.right[split + 1, last]
        best = right.argmax(1)
        chart.right[start, end] = right[row, best]
        chart.split_right[start, end] = split[row, best] + 1
    return chart


def _part(
    chart: _Chart, heads: list[int], kind: str, start: int, end: int
) -> list[tuple[str, int, int]]:
    """Note the arc that a span's best tree has and give the spans that it is made of."""
    if start == end:
        return []
    if kind == "left":
        split = int(chart.split_left[start, end])
        heads[split], arc = end, (split, end)
        rest = ("left", start, split)
    else:
        split = int(chart.split_right[start, end])
        heads[split], arc = start, (start, split)
        rest = ("right", split, end)
    middle = int(chart.split_joined[arc])
    return [rest, ("right", arc[0], middle), ("left", middle + 1, arc[1])]
