"""Functions that repeat themselves, higher by the same rise each time, such as rounding.

    f(x + P) = f(x) + rise

Post: https://kexue.fm/archives/8718
Axes: "..." any axes of points
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.piecewise import PiecewisePolynomial, check_pieces, shifted


@dataclass(frozen=True)
class RepeatedPolynomial:
    """A function that repeats itself, higher by the same rise each time: f(x + P) = f(x) + rise.

    Attributes:
        period: P, above 0.
        breaks: where it changes, in rising order, the last one less than a period after the first.
        pieces: the polynomial from each break on, in x itself.
        rise: 0 for a periodic function.

    Example:
        >>> floor = RepeatedPolynomial(1.0, (0.0,), ((0.0,),), rise=1.0)
        >>> floor(torch.tensor([-0.5, 2.0, 2.9]))
        tensor([-1.,  2.,  2.])
    """

    period: float
    breaks: tuple[float, ...]
    pieces: tuple[tuple[float, ...], ...]
    rise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.period < math.inf:
            raise invalid("period", self.period, "a positive number")
        check_pieces(self.breaks, self.pieces, len(self.breaks))
        if not self.breaks or self.breaks[-1] - self.breaks[0] >= self.period:
            raise invalid("breaks", self.breaks, f"one or more within a period of {self.period}")

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate it exactly; [...] for [...]."""
        turns = self.turns(x)
        once = PiecewisePolynomial(self.breaks[1:], self.pieces)
        return once(x - self.period * turns) + self.rise * turns

    def turns(self, x: Tensor) -> Tensor:
        """Count the whole periods that lie between the first break and each point.

        Args:
            x: [...] points.

        Returns:
            [...] whole numbers.
        """
        return torch.floor((x - self.breaks[0]) / self.period)

    def unrolled(self, reach: int) -> PiecewisePolynomial:
        """Write out some periods; the outermost pieces go on for ever.

        Args:
            reach: how many periods before and after the one that begins with the first break.

        Returns:
            Finitely many pieces.
        """
        breaks, pieces = [], [self._piece(-1, -reach - 1)]
        for turn in range(-reach, reach + 1):
            breaks += [where + turn * self.period for where in self.breaks]
            pieces += [self._piece(n, turn) for n in range(len(self.pieces))]
        breaks.append(self.breaks[0] + (reach + 1) * self.period)
        pieces.append(self._piece(0, reach + 1))
        return PiecewisePolynomial(tuple(breaks), tuple(pieces))

    def _piece(self, number: int, turn: int) -> tuple[float, ...]:
        piece = shifted(self.pieces[number] or (0.0,), -turn * self.period)
        return (piece[0] + turn * self.rise, *piece[1:])


def floor(*, unit: float = 1.0) -> RepeatedPolynomial:
    """Be the largest multiple of a unit that is not above x.

    Args:
        unit: above 0.

    Returns:
        The function.

    Example:
        >>> floor().rise
        1.0
    """
    return RepeatedPolynomial(unit, (0.0,), ((0.0,),), rise=unit)


def ceil(*, unit: float = 1.0) -> RepeatedPolynomial:
    """Be the smallest multiple of a unit above x; at a multiple itself, the next one.

    Args:
        unit: above 0.

    Returns:
        The function.

    Example:
        >>> ceil().pieces
        ((1.0,),)
    """
    return RepeatedPolynomial(unit, (0.0,), ((unit,),), rise=unit)


def nearest(*, unit: float = 1.0) -> RepeatedPolynomial:
    """Round to a multiple of a unit, halves upwards.

    Args:
        unit: above 0.

    Returns:
        The function.

    Example:
        >>> nearest().breaks
        (-0.5,)
    """
    return RepeatedPolynomial(unit, (-unit / 2,), ((0.0,),), rise=unit)


def remainder(*, unit: float = 1.0) -> RepeatedPolynomial:
    """Be x less the largest multiple of a unit that is not above it: a sawtooth.

    Args:
        unit: above 0.

    Returns:
        The function.

    Example:
        >>> remainder().pieces
        ((0.0, 1.0),)
    """
    return RepeatedPolynomial(unit, (0.0,), ((0.0, 1.0),))


def triangle_wave(*, unit: float = 1.0) -> RepeatedPolynomial:
    """Be the distance to the nearest multiple of a unit.

    Args:
        unit: above 0.

    Returns:
        The function.

    Example:
        >>> triangle_wave().breaks
        (0.0, 0.5)
    """
    return RepeatedPolynomial(unit, (0.0, unit / 2), ((0.0, 1.0), (unit, -1.0)))
