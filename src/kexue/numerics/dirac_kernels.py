"""Symmetric densities of width 1 that stand in for Dirac's delta, by their moments of one side.

    T_k(v) = E[(Y - v)_+^k],  v >= 0:   T_0 is the tail, T_1 the error of a smooth ReLU

For a width w they are w^k T_k(v / w). What the smoothing of any piecewise polynomial adds to it is
made of these, and they fall to 0 away from the breaks, so that nothing is lost by cancellation.

    gaussian      exp(-y^2 / 2) / sqrt(2 pi)           ReLU becomes x Phi(x) + phi(x), SAU
    logistic      sigma(y) sigma(-y)                   softplus; t = 1 / width
    tanh          sech(y)^2 / 2                        logistic of half the width
    laplace       exp(-|y|) / 2
    algebraic     (y^2 + 1)^(-3/2) / 2                 (x + sqrt(x^2 + 1)) / 2, squareplus
    box           1 / 2 on [-1, 1]                     Huber's
    epanechnikov  3 (1 - y^2) / 4 on [-1, 1]
    cauchy        1 / (pi (1 + y^2))                   has no mean: for bounded functions only

Where E|Y|^k diverges, T_k is the antiderivative -k T_{k-1} of the right parity. It grows, and where
the sum over the breaks converges at all, what grows cancels.

Post: https://kexue.fm/archives/8718
Axes: "..." any axes of points
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kexue._check import invalid

_ALTERNATING = 24  # terms of an alternating series, each of which gains 0.77 digits


class Kernel(NamedTuple):
    """A density of width 1.

    Attributes:
        tails: gives [T_0, ..., T_order] at [...] v >= 0.
        growth: the largest power of x that it can smooth; infinity for all.
        reach: from where on all tails are below 1e-16; infinity where there is no such place.
        spectrum: E[cos(u Y)] at u > 0, which is below 1e-16 from 40 on; None where it is not.

    Example:
        >>> KERNELS["box"].reach
        1.0
    """

    tails: Callable[[Tensor, int], list[Tensor]]
    growth: float = math.inf
    reach: float = math.inf
    spectrum: Callable[[Tensor], Tensor] | None = None

    def moment(self, order: int) -> float:
        """Compute E[Y^order] for an even order.

        Args:
            order: 0, 2, 4, ...

        Returns:
            The moment; 0 instead of infinity, which is what fits the tails then.
        """
        if order > self.growth:
            return 0.0
        return 2 * self.tails(torch.zeros((), dtype=torch.float64), order)[order].item()


def _gaussian(v: Tensor, order: int) -> list[Tensor]:
    tails = [0.5 * torch.special.erfc(v * math.sqrt(0.5))]
    before = (-0.5 * v * v).exp() / math.sqrt(2 * math.pi)
    for k in range(1, order + 1):
        tails.append(before - v * tails[-1])
        before = k * tails[-2]
    return tails


def _logistic(v: Tensor, order: int) -> list[Tensor]:
    tails = [torch.sigmoid(-v), F.softplus(-v)]
    power = (-v).exp()
    tails += [math.factorial(k) * _alternating_sum(power, k) for k in range(2, order + 1)]
    return tails[: order + 1]


def _alternating_sum(z: Tensor, k: int) -> Tensor:
    """Sum z - z^2 / 2^k + z^3 / 3^k - ... for z from 0 to 1, -Li_k(-z).

    The weights are those of Cohen, Rodriguez Villegas and Zagier's first algorithm.
    """
    n = _ALTERNATING
    total = (3 + math.sqrt(8)) ** n
    total = (total + 1 / total) / 2
    b, c, weights = -1.0, -total, []
    for j in range(n):
        c = b - c
        weights.append(c / total / (j + 1) ** k)
        b *= (j + n) * (j - n) / ((j + 0.5) * (j + 1))
    value = torch.zeros_like(z)
    for weight in reversed(weights):
        value = value * z + weight
    return value * z


def _tanh(v: Tensor, order: int) -> list[Tensor]:
    return [tail / 2**k for k, tail in enumerate(_logistic(2 * v, order))]


def _laplace(v: Tensor, order: int) -> list[Tensor]:
    return [0.5 * math.factorial(k) * (-v).exp() for k in range(order + 1)]


def _box(v: Tensor, order: int) -> list[Tensor]:
    inside = (1 - v).clamp(min=0)
    return [inside ** (k + 1) / (2 * (k + 1)) for k in range(order + 1)]


def _epanechnikov(v: Tensor, order: int) -> list[Tensor]:
    inside = (1 - v).clamp(min=0)
    return [
        0.75 * inside ** (k + 2) * ((2 - inside) / (k + 1) + inside / (k + 3)) / (k + 2)
        for k in range(order + 1)
    ]


def _algebraic(v: Tensor, order: int) -> list[Tensor]:
    root = torch.hypot(v, torch.ones_like(v))
    # 2 (-1)^k T_k; from the third on by the differential equation of the density
    twice = [1 / (root * (root + v)), -1 / (root + v), -v / (root + v) - torch.asinh(v)]
    for k in range(3, order + 1):
        last, before = twice[-1], twice[-2]
        rest = (2 * k - 3) * v * last - (k - 1) * (v * v + 1) * before
        twice.append(((k - 1) * v ** (k - 2) + rest) / (k - 2))
    return [(-1) ** k * tail / 2 for k, tail in enumerate(twice[: order + 1])]


def _cauchy(v: Tensor, order: int) -> list[Tensor]:
    """Take imaginary parts of z^k (log z - H_k) at z = -v + i, less a polynomial."""
    angle, log = torch.atan2(torch.ones_like(v), v), 0.5 * torch.log1p(v * v)
    real, imaginary, harmonic = torch.ones_like(v), torch.zeros_like(v), 0.0
    tails = []
    for k in range(order + 1):
        if k:
            real, imaginary = -v * real - imaginary, real - v * imaginary
            harmonic += 1 / k
        turned = imaginary * (log - harmonic) - real * angle
        # The polynomial that makes T_k even or odd with v^k
        even = ((-v) ** k - real) / 2 if k > 1 else torch.zeros_like(v)
        tails.append(even - turned / math.pi)
    return tails


class _AlgebraicSpectrum(torch.autograd.Function):
    """u K_1(u), with the derivative -u K_0(u), which torch does not have."""

    @staticmethod
    def forward(ctx, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return u * torch.special.modified_bessel_k1(u)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return -upstream * u * torch.special.modified_bessel_k0(u)


KERNELS = {
    "gaussian": Kernel(_gaussian, reach=9.0),
    "logistic": Kernel(_logistic, reach=40.0),
    "tanh": Kernel(_tanh, reach=20.0),
    "laplace": Kernel(_laplace, reach=40.0),
    "algebraic": Kernel(_algebraic, growth=1, spectrum=_AlgebraicSpectrum.apply),
    "box": Kernel(_box, reach=1.0),
    "epanechnikov": Kernel(_epanechnikov, reach=1.0),
    "cauchy": Kernel(_cauchy, growth=0, spectrum=lambda u: (-u).exp()),
}


def find_kernel(name: str) -> Kernel:
    """Look a kernel up.

    Args:
        name: one of the names above.

    Returns:
        The kernel.

    Raises:
        ValueError: if there is none of that name.

    Example:
        >>> find_kernel("gaussian").moment(4)
        3.0
    """
    if name not in KERNELS:
        raise invalid("kernel", name, ", ".join(map(repr, KERNELS)))
    return KERNELS[name]
