"""Scores of rows for each class, their probabilities, and the likeliest of the classes.

    x W + b = (x - c) W + (c W + b)

With c near the rows, products in float32 are as exact as the spread of the rows allows. Arrays give
arrays and tensors give tensors, on the device where they are; no gradient flows through.

Post: https://kexue.fm/archives/8578
Axes: N rows, D features, C classes
"""

import numpy as np
import torch
from torch import Tensor

from kexue.numerics.analytic_softmax import AnalyticSoftmax
from kexue.numerics.labelled_rows import check_features

_SPAN = 8192


def class_scores(x: np.ndarray | Tensor, solution: AnalyticSoftmax) -> np.ndarray | Tensor:
    """Map each row to its scores.

    Args:
        x: [N, D] array, memory map or tensor of 16, 32 or 64 bits.
        solution: what `analytic_softmax` found.

    Returns:
        [N, C] of the kind of `x`; float32 for anything narrower than float64. A ValueError tells of
        another shape or kind.

    Example:
        >>> solution = AnalyticSoftmax(np.array([[2.0, 0.0]]), np.ones(2), np.zeros(1), 1)
        >>> class_scores(torch.ones(1, 1), solution)
        tensor([[3., 1.]])
    """
    check_features(x, len(solution.weight))
    offset = solution.centre @ solution.weight + solution.bias
    if isinstance(x, Tensor):
        exact = torch.promote_types(x.dtype, torch.float32)
        given = (solution.weight, offset, solution.centre)
        weight, bias, centre = (torch.from_numpy(a).to(x.device, exact) for a in given)
        spans = x.detach().split(_SPAN)
        return torch.cat([torch.addmm(bias, part.to(exact) - centre, weight) for part in spans])
    dtype = np.promote_types(x.dtype, np.float32)
    scores = np.empty((len(x), len(offset)), dtype)
    weight, bias, centre = (a.astype(dtype) for a in (solution.weight, offset, solution.centre))
    for start in range(0, len(x), _SPAN):
        part = scores[start : start + _SPAN]
        np.matmul(x[start : start + _SPAN] - centre, weight, out=part)
        part += bias
    return scores


def decisions(x: np.ndarray | Tensor, solution: AnalyticSoftmax) -> np.ndarray | Tensor:
    """Compute what decides between the classes, as scikit-learn has it.

    Args:
        x: [N, D] as for `class_scores`.
        solution: likewise.

    Returns:
        [N, C] scores of the dtype of `x`; for two classes [N], their difference.

    Example:
        >>> solution = AnalyticSoftmax(np.array([[2.0, 0.0]]), np.ones(2), np.zeros(1), 1)
        >>> decisions(np.ones((1, 1)), solution)
        array([-2.])
    """
    scores = class_scores(x, solution)
    return _of_dtype(scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores, x)


def probabilities(x: np.ndarray | Tensor, solution: AnalyticSoftmax) -> np.ndarray | Tensor:
    """Compute the probability of each class.

    Args:
        x: [N, D] as for `class_scores`.
        solution: likewise.

    Returns:
        [N, C] of the dtype of `x`.

    Example:
        >>> solution = AnalyticSoftmax(np.array([[2.0, 2.0]]), np.ones(2), np.zeros(1), 1)
        >>> probabilities(np.ones((1, 1)), solution)
        array([[0.5, 0.5]])
    """
    scores = class_scores(x, solution)
    if isinstance(scores, Tensor):
        return _of_dtype(scores.softmax(1), x)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return _of_dtype(powers / powers.sum(1, keepdims=True), x)


def likeliest(
    x: np.ndarray | Tensor, solution: AnalyticSoftmax, classes: np.ndarray
) -> np.ndarray | Tensor:
    """Name the likeliest class.

    Args:
        x: [N, D] as for `class_scores`.
        solution: likewise.
        classes: [C] labels.

    Returns:
        [N] labels, the first of equals; a tensor for a tensor, unless the labels are strings, of
        which there are no tensors.

    Example:
        >>> solution = AnalyticSoftmax(np.array([[2.0, 0.0]]), np.ones(2), np.zeros(1), 1)
        >>> likeliest(torch.tensor([[1.0], [-1.0]]), solution, np.array([5, 9]))
        tensor([5, 9])
    """
    best = class_scores(x, solution).argmax(1)
    if isinstance(best, Tensor) and classes.dtype.kind == "i":
        return torch.from_numpy(classes).to(best.device)[best]
    return classes[best.numpy(force=True) if isinstance(best, Tensor) else best]


def _of_dtype(found: np.ndarray | Tensor, x: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Give the dtype of the input to what was computed in float32 at least."""
    if isinstance(found, Tensor):
        return found.to(x.dtype)
    return found.astype(x.dtype.newbyteorder("="), copy=False)
