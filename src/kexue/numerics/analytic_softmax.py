"""The weights of a softmax over classes in closed form, from class means and a covariance.

Where the vectors of class i are normal around m_i with a covariance S that classes share,

    p(i | x) = softmax of  w_i x + b_i,   w_i = S^-1 m_i,   b_i = log p_i - m_i S^-1 m_i / 2

A vector that all w_i share, and a number that all b_i share, change nothing: the means are taken
about their average here, so that the b_i stay small. Features are scaled to variance 1 before S is
decomposed, by Cholesky where it has full rank and by eigenvectors where not, so that neither the
unit of a feature nor a copy of one matters.

Post: https://kexue.fm/archives/8578
Axes: C classes, D features
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, lapack

from kexue._check import invalid

_ROUNDINGS = 16  # of the products, up to which an eigenvalue is taken for one that should be 0


class AnalyticSoftmax(NamedTuple):
    """A linear map to the logarithms of probabilities, up to a number that classes share.

    Attributes:
        weight: [D, C] float64.
        bias: [C] float64.
        centre: [D] float64, the average of the classes, near which the rows lie.
        rank: number of directions that were used, D unless some have no variance within classes.

    Example:
        >>> AnalyticSoftmax(np.zeros((1, 2)), np.zeros(2), np.zeros(1), 1).rank
        1
    """

    weight: np.ndarray
    bias: np.ndarray
    centre: np.ndarray
    rank: int


def analytic_softmax(
    means: np.ndarray,
    covariance: np.ndarray,
    priors: np.ndarray,
    *,
    ridge: float = 0.0,
    rounding: float = np.finfo(np.float64).eps,
) -> AnalyticSoftmax:
    """Solve for the weights.

    Args:
        means: [C, D] the mean of each class, float64.
        covariance: [D, D] within classes, float64.
        priors: [C] the probability of each class, above 0, of sum 1.
        ridge: what is added to the variance of each feature, as a part of its variance over all
            classes; 0 or more. The article's program adds 1 / N of their whole covariance.
        rounding: relative rounding error of the covariance.

    Returns:
        Weights and biases.

    Raises:
        ValueError: if the ridge is negative.

    Example:
        >>> found = analytic_softmax(np.array([[0.0], [2.0]]), np.eye(1), np.array([0.5, 0.5]))
        >>> found.weight[:, 1] - found.weight[:, 0], found.bias[1] - found.bias[0]
        (array([2.]), np.float64(-2.0))
    """
    if not ridge >= 0:
        raise invalid("ridge", ridge, "a number, 0 or more", "0.001 is a small one.")
    centre = priors @ means
    apart = means - centre
    variances = np.diagonal(covariance) + priors @ apart**2
    scale = np.sqrt(np.where(variances > 0, variances, 1.0))
    scaled = covariance / scale / scale[:, None]
    scaled[np.diag_indices_from(scaled)] += ridge
    solution, rank = _solve(scaled, (apart / scale).T, max(rounding, np.finfo(float).eps))
    weight = solution / scale[:, None]
    distances = np.einsum("cd,dc->c", apart, weight)
    bias = np.log(priors) - distances / 2 - centre @ weight
    return AnalyticSoftmax(weight, bias, centre, rank)


def scale_priors(priors: Sequence[float] | np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """Scale prior probabilities to the sum 1.

    Args:
        priors: [C] positive numbers; None for how often the classes occur.
        weights: [C] how often.

    Returns:
        [C] float64.

    Raises:
        ValueError: if there are more or fewer, or one is not a positive number.

    Example:
        >>> scale_priors(None, np.array([3.0, 1.0])), scale_priors([2, 3], np.ones(2))
        (array([0.75, 0.25]), array([0.4, 0.6]))
    """
    scaled = np.asarray(weights if priors is None else priors, np.float64)
    if scaled.shape != weights.shape or not (np.isfinite(scaled) & (scaled > 0)).all():
        allowed = f"a positive number for each of the {len(weights)} classes"
        raise invalid("priors", scaled.tolist(), allowed)
    return scaled / scaled.sum()


def _solve(matrix: np.ndarray, right: np.ndarray, rounding: float) -> tuple[np.ndarray, int]:
    """Solve matrix @ solution = right in the directions in which the matrix is not 0."""
    least = max(_ROUNDINGS * rounding, 10 * len(matrix) * np.finfo(float).eps)
    factor, not_positive = lapack.dpotrf(matrix, lower=1, clean=0)
    if not not_positive:
        size = np.abs(matrix).sum(0).max()
        reciprocal_condition, _ = lapack.dpocon(factor, size, uplo="L")
        # In this norm it is a bound from below for that of the eigenvalues.
        if reciprocal_condition > least:
            return lapack.dpotrs(factor, right, lower=1)[0], len(matrix)
    values, vectors = eigh(matrix)
    used = values > least * values[-1]
    inside = vectors[:, used].T @ right
    # What is seen along the other directions, as a part of the spread of all features
    lost = np.abs(vectors[:, ~used].T @ right).max(initial=0.0)
    if lost > np.sqrt(least):
        warnings.warn(
            f"{np.sum(~used)} of {len(matrix)} directions have no variance within classes, though "
            "they tell classes apart, and were left out. ridge=0.001 puts them to use; there may "
            "be too few examples for so many features.",
            stacklevel=5,
        )
    return vectors[:, used] @ (inside / values[used, None]), int(used.sum())
