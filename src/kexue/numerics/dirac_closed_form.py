"""Smoothed piecewise polynomials in closed form: the function itself, plus what a kernel adds.

Convolution, with c_ik the coefficients of the jump P_i - P_{i-1} in powers of x - a_i:

    g(x) = E[P(x - Y)] + sum over i, k of c_ik s T_k(|x - a_i|)
    P the polynomial at x;   s = 1 left of the break, -(-1)^k right of it

Product, each step 1[x >= a] replaced by the distribution function Phi(x - a):

    g(x) = P(x) + sum over i of (P_i - P_{i-1})(x) s T_0(|x - a_i|)

The first of max(x, 0) is softplus for the logistic kernel, the second x sigma(x), Swish, and GELU
for the Gaussian one.

Post: https://kexue.fm/archives/8718
Paper: https://arxiv.org/abs/2109.13210 (SAU, the Gaussian one of leaky ReLU)
Axes: "..." any axes of points
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.dirac_kernels import Kernel
from kexue.numerics.piecewise import PiecewisePolynomial, by_piece, degree_of, polynomial


def convolve(
    pieces: PiecewisePolynomial, x: Tensor, *, kernel: Kernel, width: float | Tensor
) -> Tensor:
    """Average a piecewise polynomial around each point.

    Args:
        pieces: the function.
        x: [...] points, float32 or float64.
        kernel: the density to average by.
        width: its width, above 0.

    Returns:
        [...] the averages, differentiable in `x` and `width`.

    Example:
        >>> from kexue.numerics.dirac_kernels import KERNELS
        >>> ramp = PiecewisePolynomial((0.0,), ((0.0,), (0.0, 1.0)))
        >>> convolve(ramp, torch.tensor([0.0, 9.0]), kernel=KERNELS["logistic"], width=1.0)
        tensor([0.6931, 9.0001])
    """
    means = [_mean_piece(piece, kernel, width) for piece in pieces.pieces]
    value = by_piece(pieces.breaks, means, x)
    for left, _, jump, tails in _around_breaks(pieces, x, kernel, width):
        for k, coefficient in enumerate(jump):
            if coefficient:
                tail = tails[k] if k % 2 else torch.where(left, tails[k], -tails[k])
                value = value + coefficient * tail
    return value


def multiply(
    pieces: PiecewisePolynomial, x: Tensor, *, kernel: Kernel, width: float | Tensor
) -> Tensor:
    """Replace each step in a piecewise polynomial by a smooth one.

    Args:
        pieces: the function.
        x: [...] points, float32 or float64.
        kernel: the density whose distribution function is the smooth step.
        width: its width, above 0.

    Returns:
        [...] the values, differentiable in `x` and `width`.

    Example:
        >>> from kexue.numerics.dirac_kernels import KERNELS
        >>> ramp = PiecewisePolynomial((0.0,), ((0.0,), (0.0, 1.0)))
        >>> multiply(ramp, torch.tensor([-1.0]), kernel=KERNELS["gaussian"], width=1.0)
        tensor([-0.1587])
    """
    value = pieces(x)
    for left, apart, jump, (tail,) in _around_breaks(pieces, x, kernel, width, order=0):
        value = value + polynomial(jump, apart) * torch.where(left, tail, -tail)
    return value


def convolution_bound(
    pieces: PiecewisePolynomial, x: Tensor, *, kernel: Kernel, width: float | Tensor
) -> Tensor:
    """Bound the error of `convolve`, by the sizes of all that it adds.

    For a single kink it is the error itself, and at a jump half of the jump.

    Args:
        pieces: the function.
        x: [...] points.
        kernel: the density.
        width: its width.

    Returns:
        [...] numbers that are not below |g - f|.

    Raises:
        ValueError: if the kernel has no moments that the bound could be made of.

    Example:
        >>> from kexue.numerics.dirac_kernels import KERNELS
        >>> ramp = PiecewisePolynomial((0.0,), ((0.0,), (0.0, 1.0)))
        >>> convolution_bound(ramp, torch.zeros(1), kernel=KERNELS["laplace"], width=1.0)
        tensor([0.5000])
    """
    if max(map(degree_of, pieces.jumps), default=0) > kernel.growth:
        fix = "Compare what was smoothed with the pieces themselves, which can be called too."
        raise invalid("kernel", "without the moments for a bound", "one with thinner tails", fix)
    more = [_mean_piece(piece, kernel, width, least=2) for piece in pieces.pieces]
    value = by_piece(pieces.breaks, more, x).abs()
    for _, _, jump, tails in _around_breaks(pieces, x, kernel, width):
        for coefficient, tail in zip(jump, tails, strict=False):
            value = value + abs(coefficient) * tail
    return value


def product_bound(
    pieces: PiecewisePolynomial, x: Tensor, *, kernel: Kernel, width: float | Tensor
) -> Tensor:
    """Bound the error of `multiply`; for a single break it is the error itself.

    Args:
        pieces: the function.
        x: [...] points.
        kernel: the density.
        width: its width.

    Returns:
        [...] numbers that are not below |g - f|.

    Example:
        >>> from kexue.numerics.dirac_kernels import KERNELS
        >>> ramp = PiecewisePolynomial((0.0,), ((0.0,), (0.0, 1.0)))
        >>> product_bound(ramp, torch.tensor([-1.0]), kernel=KERNELS["gaussian"], width=1.0)
        tensor([0.1587])
    """
    value = torch.zeros_like(x)
    for _, apart, jump, (tail,) in _around_breaks(pieces, x, kernel, width, order=0):
        value = value + polynomial(jump, apart).abs() * tail
    return value


def _mean_piece(
    piece: tuple[float, ...], kernel: Kernel, width: float | Tensor, *, least: int = 0
) -> tuple[float | Tensor, ...]:
    """Give the coefficients of E[P(x - Y)], from the `least` moment on."""
    mean = list(piece if least == 0 else (0.0,) * len(piece))
    for order in range(2, degree_of(piece) + 1, 2):
        factor = kernel.moment(order) * width**order
        for power in range(len(piece) - order):
            mean[power] += piece[power + order] * math.comb(power + order, order) * factor
    return tuple(mean)


def _around_breaks(
    pieces: PiecewisePolynomial,
    x: Tensor,
    kernel: Kernel,
    width: float | Tensor,
    *,
    order: int | None = None,
) -> Iterator[tuple[Tensor, Tensor, tuple[float, ...], list[Tensor]]]:
    """Give for each break a: x < a, x - a, the jump, and w^k T_k(|x - a| / w)."""
    for where, jump in zip(pieces.breaks, pieces.jumps, strict=True):
        left, apart = x < where, x - where
        # Not abs(), whose derivative at the break is 0: there the right side holds.
        distance = torch.where(left, -apart, apart) / width
        if kernel.reach < math.inf:
            distance = distance.clamp(max=kernel.reach)
        tails = kernel.tails(distance, degree_of(jump) if order is None else order)
        yield left, apart, jump, [tail * width**k for k, tail in enumerate(tails)]
