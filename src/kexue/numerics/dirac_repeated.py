"""Smoothed functions that repeat themselves, such as rounding.

Where the tails of the kernel are thin, only the breaks within its reach count, and a few periods
around each point are smoothed as any finitely many pieces are. Where they are fat, all breaks
count, and the Fourier series converges like exp(-2 pi k w / P). With J_ij the jump of the j-th
derivative at a_i, u = 2 pi k / P and cf the characteristic function of the kernel,

    g(x) = rise x / P + mean + sum over k > 0 of 2 Re(c_k cf(u w) e^(iux))
    c_k = 1 / P sum over i, j of J_ij e^(-iu a_i) / (iu)^(j+1)

Post: https://kexue.fm/archives/8718
Axes: "..." any axes of points
"""

import cmath
import math
from collections.abc import Callable

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.dirac_closed_form import convolve
from kexue.numerics.dirac_kernels import Kernel
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.repeated_functions import RepeatedPolynomial

_LAST = 40.0  # u w from which on the spectra of the kernels with fat tails are 0
_MOST_TERMS = 4096

_Finite = Callable[..., Tensor]


def near_by(
    finite: _Finite,
    pieces: RepeatedPolynomial,
    x: Tensor,
    *,
    kernel: Kernel,
    width: float | Tensor,
) -> Tensor:
    """Apply what is made for finitely many pieces to the periods around each point.

    Args:
        finite: `convolve`, `multiply` or the bound of one of them.
        pieces: the function.
        x: [...] points, float32 or float64.
        kernel: a density of finite reach.
        width: its width, above 0.

    Returns:
        [...] what `finite` gives for the point's place within the first period.

    Raises:
        ValueError: if the reach is infinite.

    Example:
        >>> from kexue.numerics.dirac_kernels import KERNELS
        >>> floor = RepeatedPolynomial(1.0, (0.0,), ((0.0,),), rise=1.0)
        >>> near_by(convolve, floor, torch.tensor([5.0]), kernel=KERNELS["box"], width=0.1)
        tensor([-0.5000])
    """
    if kernel.reach == math.inf:
        allowed = "a kernel with thin tails, such as 'gaussian'"
        raise invalid("kernel", "one with fat tails, for infinitely many pieces", allowed)
    reach = math.ceil(kernel.reach * _number(width) / pieces.period)
    place = x - pieces.period * pieces.turns(x)
    return finite(pieces.unrolled(reach), place, kernel=kernel, width=width)


def convolve_repeated(
    pieces: RepeatedPolynomial, x: Tensor, *, kernel: Kernel, width: float | Tensor
) -> Tensor:
    """Average a function that repeats itself around each point.

    Args:
        pieces: the function.
        x: [...] points, float32 or float64.
        kernel: the density to average by.
        width: its width, above 0.

    Returns:
        [...] the averages, differentiable in `x` and `width`.

    Example:
        >>> from kexue.numerics.dirac_kernels import KERNELS
        >>> floor = RepeatedPolynomial(1.0, (0.0,), ((0.0,),), rise=1.0)
        >>> convolve_repeated(floor, torch.tensor([5.0]), kernel=KERNELS["gaussian"], width=0.1)
        tensor([4.5000])
    """
    if kernel.reach < math.inf:
        local = near_by(convolve, pieces, x, kernel=kernel, width=width)
        return local + pieces.rise * pieces.turns(x)
    return _fourier(pieces, x, kernel, width)


def _fourier(
    pieces: RepeatedPolynomial, x: Tensor, kernel: Kernel, width: float | Tensor
) -> Tensor:
    period, number = pieces.period, _number(width)
    terms = math.ceil(_LAST * period / (2 * math.pi * number))
    if pieces.rise and kernel.growth < 1:
        fix = "Take 'algebraic', or a kernel with thin tails."
        raise invalid("kernel", "one without a mean", "one with a mean for what rises", fix)
    if terms > _MOST_TERMS:
        least = _LAST * period / (2 * math.pi * _MOST_TERMS)
        fix = "Take a kernel with thin tails, such as 'gaussian', for a smaller width."
        raise invalid("width", number, f"{least:.2g} or more for these pieces", fix)
    once = pieces.unrolled(0)
    place = x - period * pieces.turns(x)
    value = pieces.rise / period * x + _mean(once, pieces)
    scale = torch.as_tensor(width, dtype=x.dtype, device=x.device)
    for k in range(1, terms + 1):
        u = 2 * math.pi * k / period
        c = 2 * _coefficient(once, len(pieces.breaks), u) / period
        wave = c.real * torch.cos(u * place) - c.imag * torch.sin(u * place)
        value = value + kernel.spectrum(u * scale) * wave
    return value


def _number(width: float | Tensor) -> float:
    return float(width.detach()) if isinstance(width, Tensor) else width


def _coefficient(once: PiecewisePolynomial, breaks: int, u: float) -> complex:
    """Sum up what each jump of each derivative gives to one frequency."""
    return sum(
        math.factorial(j) * c * cmath.exp(-1j * u * where) / (1j * u) ** (j + 1)
        for where, jump in zip(once.breaks[:breaks], once.jumps, strict=False)
        for j, c in enumerate(jump)
    )


def _mean(once: PiecewisePolynomial, pieces: RepeatedPolynomial) -> float:
    """Average the function less its rise over one period."""
    total, ends = 0.0, once.breaks
    for low, high, piece in zip(ends, ends[1:], once.pieces[1:], strict=False):
        for power, c in enumerate(piece):
            total += c * (high ** (power + 1) - low ** (power + 1)) / (power + 1)
    middle = ends[0] + pieces.period / 2
    return total / pieces.period - pieces.rise * middle / pieces.period
