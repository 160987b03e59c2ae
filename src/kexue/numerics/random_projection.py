"""The Johnson-Lindenstrauss lemma: few random dimensions keep the distances of many points.

    A in R^{n x m}, A_ij ~ N(0, 1/n)
    P(| |A x|^2 / |x|^2 - 1 | >= eps)  <=  2 exp(-eps^2 n / 8)
    n > 24 log N / eps^2: all squared distances of N points stay within a factor 1 +- eps with a
    probability of (N - 1) / N or more, and all inner products of unit vectors within +- eps with
    (N - 2) / N or more

The width m of the points does not matter, only how many they are. The bound is wide:
n |A x|^2 / |x|^2 is chi-squared of n, and its exact tail asks for about half as many dimensions.
Draw the matrix with another seed than the points, or it may repeat them.

Post: https://kexue.fm/archives/8679
      https://kexue.fm/archives/8706
Paper: https://doi.org/10.1002/rsa.10073 (Dasgupta and Gupta) for the method "tight"
Axes: m features of a point, n dimensions kept, "..." any axes of points
"""

import math
from bisect import bisect_left
from numbers import Integral
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from kexue._check import invalid

_MOST = 10**100  # beyond, the tails of "exact" are 0 in float64
_Points = TypeVar("_Points", Tensor, np.ndarray)


def jl_min_dim(n: int, eps: float, *, method: str = "likely") -> int:
    """Find how many random dimensions keep the distances of N points.

    Args:
        n: N, the number of points; their width does not matter.
        eps: the largest relative error of a squared distance, between 0 and 1.
        method: "likely", the smallest dimension above the article's 24 log N / eps^2, where a
            random projection fails with a probability of at most 1 / N; "exact", the smallest one
            of which the tails of chi-squared say the same; "existence", above 16 log N / eps^2,
            where a projection that fits exists; "tight", the smaller bound for that,
            4 log N / (eps^2 / 2 - eps^3 / 3), rounded up (scikit-learn rounds it down).

    Returns:
        The dimension, at least 1.

    Raises:
        ValueError: if `n` is not an integer from 1 to 10^100, `eps` not between 0 and 1, or the
            method unknown.

    Example:
        >>> {method: jl_min_dim(1000, 0.5, method=method)
        ...  for method in ("likely", "exact", "existence", "tight")}
        {'likely': 664, 'exact': 364, 'existence': 443, 'tight': 332}
    """
    if isinstance(n, bool) or not isinstance(n, Integral) or not 1 <= n <= _MOST:
        raise invalid("n", n, "a number of points, an integer from 1 to 10^100")
    if not 0 < eps < 1:
        raise invalid("eps", eps, "a number between 0 and 1, both excluded")
    n, log_n = int(n), math.log(n)
    bounds = {
        "likely": math.floor(24 * log_n / eps**2) + 1,
        "existence": math.floor(16 * log_n / eps**2) + 1,
        "tight": max(1, math.ceil(4 * log_n / (eps**2 / 2 - eps**3 / 3))),
    }
    if method == "exact":
        return _exact_dim(n, eps, bounds["likely"])
    if method not in bounds:
        raise invalid("method", method, "'likely', 'exact', 'existence' or 'tight'")
    return bounds[method]


def _exact_dim(n: int, eps: float, enough: int) -> int:
    """Find where N (N - 1) / 2 tails of chi-squared are at most 1 / N together."""
    from scipy.special import gammainc, gammaincc

    def fits(dim: int) -> bool:
        half = dim / 2
        tail = gammaincc(half, half * (1 + eps)) + gammainc(half, half * (1 - eps))
        return n * (n * (n - 1) / 2) * tail <= 1

    return 1 + bisect_left(range(1, enough), True, key=fits)


def random_projection(
    features: int, dim: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draw a Gaussian matrix that keeps squared lengths on average.

    Args:
        features: m, the width of the points.
        dim: n, how many dimensions to keep; `jl_min_dim` says how many are needed.
        generator: where the randomness comes from, and the device of the result.

    Returns:
        [n, m] float32, normal with mean 0 and variance 1 / n; the weight of a linear layer.

    Raises:
        ValueError: if a size is not a positive integer.

    Example:
        >>> projection = random_projection(768, 64, generator=torch.Generator().manual_seed(0))
        >>> tuple(projection.shape), round(float(projection.square().sum(0).mean()), 1)
        ((64, 768), 1.0)
    """
    for name, given in (("features", features), ("dim", dim)):
        if isinstance(given, bool) or not isinstance(given, Integral) or given < 1:
            raise invalid(name, given, "an integer, 1 or more")
    device = "cpu" if generator is None else generator.device
    return torch.randn(dim, features, generator=generator, device=device) * dim**-0.5


def project(points: _Points, projection: Tensor) -> _Points:
    """Map points to fewer dimensions.

    Args:
        points: [..., m] a tensor, an array or a memmap; of any floating dtype.
        projection: [n, m] from `random_projection`.

    Returns:
        [..., n], a tensor or an array as was given, of the dtype of `points`.

    Raises:
        ValueError: if the points have another width than the projection, or are no floats.

    Example:
        >>> points = torch.eye(1000)[:5]
        >>> distances = torch.pdist(project(points, random_projection(1000, 200)))
        >>> bool((distances / 2**0.5 - 1).abs().max() < 0.4)
        True
    """
    dim, features = projection.shape
    if points.ndim == 0 or points.shape[-1] != features:
        fix = f"Use random_projection({points.shape[-1] if points.ndim else 'm'}, {dim})."
        raise invalid("points", tuple(points.shape), f"[..., {features}]", fix)
    if isinstance(points, Tensor) and points.is_floating_point():
        return points @ projection.to(points).mT
    if isinstance(points, np.ndarray) and points.dtype.kind == "f":
        return points @ projection.numpy(force=True).astype(points.dtype).T
    allowed = "a floating dtype"
    raise invalid("points", points.dtype, allowed, "Convert them, as to float32.")
