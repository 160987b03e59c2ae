"""Principal axes of vectors, about their mean, about zero, or about anything in between.

    S_beta = 1/N sum over rows of (x - beta m)^T (x - beta m) = S_1 + (1 - beta)^2 m^T m

so that one pass over the vectors serves every beta; only the eigenvectors are computed anew.

Post: https://kexue.fm/archives/9079
Axes: D columns
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch

from kexue._check import invalid
from kexue.sentences.moments import Moments

# Measured on data of low rank, float32 and float64: what should be 0 comes out at up to 4 of them.
_ROUNDINGS = 16


class PrincipalAxes(NamedTuple):
    """Directions in the order of the variance along them.

    Attributes:
        variances: [D] float64, the largest first, none below 0.
        directions: [D, D] float64, columns of length 1; the entry of the largest size is positive.
        rank: number of variances that are more than rounding.

    Example:
        >>> PrincipalAxes(np.ones(1), np.eye(1), 1).rank
        1
    """

    variances: np.ndarray
    directions: np.ndarray
    rank: int


def principal_axes(moments: Moments, *, beta: float, rtol: float | None = None) -> PrincipalAxes:
    """Decompose the second moment about `beta` times the mean.

    Args:
        moments: of the vectors.
        beta: 1 for the covariance, 0 for the second moment about zero.
        rtol: variances up to this part of the largest are taken for rounding; by default what the
            precision, of the products and of the decomposition, leaves uncertain.

    Returns:
        The axes.

    Raises:
        ValueError: if there are no vectors.

    Example:
        >>> moments = Moments().add(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        >>> principal_axes(moments, beta=1.0).variances
        array([4.5, 0.5])
    """
    covariance = torch.from_numpy(moments.covariance())
    mean = torch.from_numpy(moments.mean)
    second = covariance if beta == 1 else torch.addr(covariance, mean, mean, alpha=(1 - beta) ** 2)
    variances, directions = (x.flip(-1) for x in torch.linalg.eigh(second))
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    directions = directions * torch.where(largest < 0, -1.0, 1.0)
    if rtol is None:
        floor = variances[0] * (len(mean) * torch.finfo(torch.float64).eps)
        # The mean does not go through the products, so their rounding is that of the covariance.
        spread = variances[0] if beta == 1 else torch.linalg.eigvalsh(covariance)[-1]
        floor = torch.maximum(floor, spread * (_ROUNDINGS * moments.rounding))
    else:
        floor = variances[0] * rtol
    rank = int((variances > floor.clamp_min(0)).sum())
    return PrincipalAxes(variances.clamp_min(0).numpy(), directions.numpy(), rank)


def count_kept(axes: PrincipalAxes, count: int, *, k: int | None, gamma: float) -> int:
    """Decide how many directions to keep, and refuse what would be noise.

    Args:
        axes: the principal axes.
        count: number of vectors they come from.
        k: number of directions asked for; None for all.
        gamma: power of the variance to divide by; 0 divides by nothing, and keeps directions
            without variance too.

    Returns:
        The number.

    Raises:
        ValueError: if `k` is no number of directions, is more than there is variance in, or `count`
            vectors are too few.

    Example:
        >>> count_kept(PrincipalAxes(np.array([2.0, 0.0]), np.eye(2), 1), 9, k=2, gamma=1.0)
        Traceback (most recent call last):
        ValueError: k is 2; allowed: None, or 1 to 1, the rank of the vectors that were fitted. ...
    """
    width = len(axes.variances)
    limit = axes.rank if gamma else width
    if gamma and count <= width and (k is None or k >= count - 1):
        fix = (
            "Fit on more of them, keep far fewer directions than there are vectors (k=...), or "
            "rotate only (gamma=0): N - 1 directions make all cosines between N vectors the same."
        )
        raise invalid("the number of vectors", count, f"more than their {width} features", fix)
    if not limit:
        raise invalid("the rank", 0, "1 or more", "All vectors are the same; fit on other ones.")
    if k is not None and not (isinstance(k, int | np.integer) and 0 < k <= limit):
        named = "the rank of the vectors that were fitted" if limit < width else "their features"
        fix = "Take k=None for all directions that have variance." if limit < width else ""
        raise invalid("k", k, f"None, or 1 to {limit}, {named}", fix)
    if gamma:
        _warn(axes, count, k)
    return limit if k is None else int(k)


def _warn(axes: PrincipalAxes, count: int, k: int | None) -> None:
    """Say what is left out, or rests on few vectors."""
    width = len(axes.variances)
    if k is None and axes.rank < width:
        warnings.warn(
            f"{width - axes.rank} of {width} directions have no variance beyond rounding and are "
            f"left out: vectors will have {axes.rank} features. double=True resolves smaller ones.",
            stacklevel=5,
        )
    if count <= width:
        warnings.warn(
            f"{count} vectors of {width} features tell little of the variance of {k} directions; "
            "fit on more of them, or rotate only (gamma=0).",
            stacklevel=5,
        )


def scaled_directions(axes: PrincipalAxes, *, k: int, gamma: float) -> np.ndarray:
    """Give the first directions, divided by a power of the variance along them.

    Args:
        axes: the principal axes.
        k: number of directions.
        gamma: the power of the standard deviation to divide by.

    Returns:
        [D, k] float64, U[:, :k] diag(v[:k])^(-gamma / 2).

    Example:
        >>> axes = PrincipalAxes(np.array([4.0, 1.0]), np.eye(2), 2)
        >>> scaled_directions(axes, k=2, gamma=1.0)
        array([[0.5, 0. ],
               [0. , 1. ]])
    """
    directions = axes.directions[:, :k]
    # A direction without variance is kept where gamma is 0; 0 ** -0.0 is 1.
    return directions * axes.variances[:k] ** (-gamma / 2)
