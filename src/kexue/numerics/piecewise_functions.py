"""The functions that people smooth, as piecewise polynomials.

Post: https://kexue.fm/archives/8718
"""

from collections.abc import Sequence
from itertools import pairwise

from kexue._check import invalid
from kexue.numerics.piecewise import PiecewisePolynomial


def step(*, at: float = 0.0, below: float = 0.0, above: float = 1.0) -> PiecewisePolynomial:
    """Jump once; sign(x) is `step(below=-1.0)`.

    Args:
        at: where.
        below: the value before it.
        above: the value from there on.

    Returns:
        The function.

    Example:
        >>> step(below=-1.0).pieces
        ((-1.0,), (1.0,))
    """
    return PiecewisePolynomial((at,), ((below,), (above,)))


def relu(*, slope: float = 0.0) -> PiecewisePolynomial:
    """Be max(x, slope x), for a slope below 1: ReLU, leaky ReLU, and |x| with the slope -1.

    Args:
        slope: on the negative side.

    Returns:
        The function.

    Example:
        >>> relu(slope=0.1).pieces
        ((0.0, 0.1), (0.0, 1.0))
    """
    return PiecewisePolynomial((0.0,), ((0.0, slope) if slope else (0.0,), (0.0, 1.0)))


def absolute() -> PiecewisePolynomial:
    """Be |x|.

    Returns:
        The function.

    Example:
        >>> absolute().jumps
        ((0.0, 2.0),)
    """
    return relu(slope=-1.0)


def power_relu(power: int) -> PiecewisePolynomial:
    """Be max(x, 0)^power; with 2 the squared ReLU.

    Args:
        power: 0 or more.

    Returns:
        The function.

    Example:
        >>> power_relu(2).pieces
        ((0.0,), (0.0, 0.0, 1.0))
    """
    return PiecewisePolynomial((0.0,), ((0.0,), (0.0,) * power + (1.0,)))


def maximum(bound: float) -> PiecewisePolynomial:
    """Be max(x, bound).

    Args:
        bound: the least value.

    Returns:
        The function.

    Example:
        >>> maximum(2.0).breaks
        (2.0,)
    """
    return PiecewisePolynomial((bound,), ((bound,), (0.0, 1.0)))


def minimum(bound: float) -> PiecewisePolynomial:
    """Be min(x, bound).

    Args:
        bound: the largest value.

    Returns:
        The function.

    Example:
        >>> minimum(2.0).pieces
        ((0.0, 1.0), (2.0,))
    """
    return PiecewisePolynomial((bound,), ((0.0, 1.0), (bound,)))


def clip(low: float, high: float) -> PiecewisePolynomial:
    """Be min(max(x, low), high); ReLU6 is `clip(0.0, 6.0)`, hard tanh `clip(-1.0, 1.0)`.

    Args:
        low: the least value.
        high: the largest value, above `low`.

    Returns:
        The function.

    Example:
        >>> clip(-1.0, 1.0).jumps
        ((0.0, 1.0), (0.0, -1.0))
    """
    return PiecewisePolynomial((low, high), ((low,), (0.0, 1.0), (high,)))


def hard_sigmoid() -> PiecewisePolynomial:
    """Be x / 6 + 1 / 2, kept between 0 and 1.

    Returns:
        The function.

    Example:
        >>> hard_sigmoid().breaks
        (-3.0, 3.0)
    """
    return PiecewisePolynomial((-3.0, 3.0), ((0.0,), (0.5, 1 / 6), (1.0,)))


def hinge() -> PiecewisePolynomial:
    """Be max(0, 1 - x).

    Returns:
        The function.

    Example:
        >>> hinge().pieces
        ((1.0, -1.0), (0.0,))
    """
    return PiecewisePolynomial((1.0,), ((1.0, -1.0), (0.0,)))


def soft_threshold(level: float) -> PiecewisePolynomial:
    """Move x towards 0 by a level, and keep it there.

    Args:
        level: above 0.

    Returns:
        The function.

    Example:
        >>> soft_threshold(0.5).pieces
        ((0.5, 1.0), (0.0,), (-0.5, 1.0))
    """
    return PiecewisePolynomial((-level, level), ((level, 1.0), (0.0,), (-level, 1.0)))


def hat() -> PiecewisePolynomial:
    """Be max(0, 1 - |x|).

    Returns:
        The function.

    Example:
        >>> hat().jumps
        ((0.0, 1.0), (0.0, -2.0), (0.0, 1.0))
    """
    pieces = ((0.0,), (1.0, 1.0), (1.0, -1.0), (0.0,))
    return PiecewisePolynomial((-1.0, 0.0, 1.0), pieces)


def quantizer(levels: Sequence[float]) -> PiecewisePolynomial:
    """Go to the nearest of some levels.

    Args:
        levels: two or more, in rising order.

    Returns:
        The function.

    Raises:
        ValueError: if there are fewer, or not in that order.

    Example:
        >>> quantizer([-1.0, 0.0, 3.0]).breaks
        (-0.5, 1.5)
    """
    if len(levels) < 2 or any(low >= high for low, high in pairwise(levels)):
        raise invalid("levels", levels, "two or more numbers in rising order")
    middles = tuple((low + high) / 2 for low, high in pairwise(levels))
    return PiecewisePolynomial(middles, tuple((float(level),) for level in levels))
