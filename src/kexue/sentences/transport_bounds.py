"""Lower bounds of Word Mover's and Word Rotator's Distance that need no plan.

    centroid  WMD >= |sum p_i w_i - sum q_j w'_j|                            (WCD)
              WRD >= |sum p_i w_i/|w_i| - sum q_j w'_j/|w'_j||^2 / 2
    relaxed   both >= max(sum_i p_i min_j D_ij, sum_j q_j min_i D_ij)         (RWMD)

The centroids cost a vector a sentence. The relaxed bound lets one side receive as much as it likes;
it costs the table of pairs but no solver, and comes much nearer to the value. Sort by the first,
discard by the second, solve what is left: `nearest_documents` does so for many documents, with
sharper bounds of its own.

Post: https://kexue.fm/archives/7388
Paper: https://proceedings.mlr.press/v37/kusnerb15.html, section 4 (WCD and RWMD)
Axes: N words of one sentence, M words of the other, D features of a word
"""

import torch
from numpy.typing import NDArray
from torch import Tensor

from kexue.sentences.transport_measures import make_measure, pair_costs, result_like


def centroid_bound(
    x: Tensor | NDArray,
    y: Tensor | NDArray,
    *,
    distance: str = "wmd",
    x_weights: Tensor | NDArray | None = None,
    y_weights: Tensor | NDArray | None = None,
    x_mask: Tensor | NDArray | None = None,
    y_mask: Tensor | NDArray | None = None,
) -> Tensor | float:
    """Bound a distance from below by the centroids of the sentences.

    Args:
        x: [N, D] the vectors of one sentence's words.
        y: [M, D] the vectors of the other.
        distance: "wmd" or "wrd", the distance to bound.
        x_weights: [N] counts or other weights of the words, not below 0; None for equal ones.
        y_weights: [M] the same for `y`.
        x_mask: [N] bool, True = keep.
        y_mask: [M] the same for `y`.

    Returns:
        A 0-d tensor for tensors, a float for arrays; never above the distance but for rounding.

    Raises:
        ValueError: if a sentence is empty, or a shape or a number is not allowed.

    Example:
        >>> centroid_bound(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([[2.0, 1.0]]))
        tensor(1.)
    """
    a = make_measure(x, name="x", distance=distance, weights=x_weights, mask=x_mask)
    b = make_measure(y, name="y", distance=distance, weights=y_weights, mask=y_mask)
    apart = (a.weights @ a.points - b.weights @ b.points).norm()
    return result_like(apart if distance == "wmd" else apart.square() / 2, x)


def relaxed_bound(
    x: Tensor | NDArray,
    y: Tensor | NDArray,
    *,
    distance: str = "wmd",
    x_weights: Tensor | NDArray | None = None,
    y_weights: Tensor | NDArray | None = None,
    x_mask: Tensor | NDArray | None = None,
    y_mask: Tensor | NDArray | None = None,
) -> Tensor | float:
    """Bound a distance from below by sending each word to the nearest one of the other sentence.

    Args:
        x: [N, D] the vectors of one sentence's words.
        y: [M, D] the vectors of the other.
        distance: "wmd" or "wrd", the distance to bound.
        x_weights: [N] counts or other weights of the words, not below 0; None for equal ones.
        y_weights: [M] the same for `y`.
        x_mask: [N] bool, True = keep.
        y_mask: [M] the same for `y`.

    Returns:
        A 0-d tensor for tensors, a float for arrays; never above the distance but for rounding.

    Raises:
        ValueError: if a sentence is empty, or a shape or a number is not allowed.

    Example:
        >>> relaxed_bound(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
        tensor(2.)
    """
    a = make_measure(x, name="x", distance=distance, weights=x_weights, mask=x_mask)
    b = make_measure(y, name="y", distance=distance, weights=y_weights, mask=y_mask)
    cost = pair_costs(a, b, distance=distance)
    to_y = cost.masked_fill(b.weights == 0, torch.inf).amin(1)
    to_x = cost.masked_fill(a.weights.unsqueeze(-1) == 0, torch.inf).amin(0)
    # What takes no part has the weight 0 and a finite distance on the other side.
    return result_like(torch.maximum(a.weights @ to_y, b.weights @ to_x), x)
