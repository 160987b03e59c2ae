"""Piecewise polynomials.

    f(x) = P_0(x) + sum over breaks a_i of (P_i - P_{i-1})(x) [x >= a_i]

Post: https://kexue.fm/archives/8718
Axes: "..." any axes of points
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from kexue._check import invalid

_Polynomial = tuple[float, ...]


def polynomial(coefficients: tuple[float | Tensor, ...], x: Tensor) -> Tensor:
    """Evaluate a polynomial.

    Args:
        coefficients: of 1, x, x^2, ...; none is 0.
        x: [...] where.

    Returns:
        [...] its values. A constant one is not multiplied by x, which may be infinite.

    Example:
        >>> polynomial((1.0, 0.0, 2.0), torch.tensor([0.0, 3.0]))
        tensor([ 1., 19.])
    """
    value = torch.zeros_like(x)
    for power, coefficient in enumerate(reversed(coefficients)):
        value = value * x + coefficient if power else value + coefficient
    return value


def by_piece(
    breaks: tuple[float, ...], pieces: Sequence[tuple[float | Tensor, ...]], x: Tensor
) -> Tensor:
    """Evaluate one of several polynomials at each point.

    Args:
        breaks: in rising order.
        pieces: one polynomial more.
        x: [...] points; at a break the next polynomial holds.

    Returns:
        [...] values.

    Example:
        >>> by_piece((0.0,), ((5.0,), (0.0, 1.0)), torch.tensor([-1.0, 0.0, 2.0]))
        tensor([5., 0., 2.])
    """
    value = polynomial(pieces[0], x)
    for where, piece in zip(breaks, pieces[1:], strict=True):
        value = torch.where(x >= where, polynomial(piece, x), value)
    return value


def shifted(coefficients: _Polynomial, by: float) -> _Polynomial:
    """Expand a polynomial about another point.

    Args:
        coefficients: of 1, x, x^2, ...
        by: the point.

    Returns:
        Coefficients of powers of y, where x = y + by.

    Example:
        >>> shifted((0.0, 0.0, 1.0), 3.0)
        (9.0, 6.0, 1.0)
    """
    return tuple(
        sum(c * math.comb(n, k) * by ** (n - k) for n, c in enumerate(coefficients) if n >= k)
        for k in range(len(coefficients))
    )


@dataclass(frozen=True)
class PiecewisePolynomial:
    """A function that is a polynomial between one break and the next.

    Attributes:
        breaks: where it changes, in rising order.
        pieces: one polynomial more than breaks, each the coefficients of 1, x, x^2, ...; from a
            break on it is the next one.

    Example:
        >>> ramp = PiecewisePolynomial((0.0, 1.0), ((0.0,), (0.0, 1.0), (1.0,)))
        >>> ramp(torch.tensor([-1.0, 0.25, 7.0]))
        tensor([0.0000, 0.2500, 1.0000])
    """

    breaks: tuple[float, ...]
    pieces: tuple[_Polynomial, ...]

    def __post_init__(self) -> None:
        check_pieces(self.breaks, self.pieces, len(self.breaks) + 1)

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate it exactly; [...] for [...]."""
        return by_piece(self.breaks, self.pieces, x)

    @property
    def jumps(self) -> tuple[_Polynomial, ...]:
        """By what it changes at each break a, as coefficients of powers of x - a."""
        return tuple(
            _difference(shifted(right, where), shifted(left, where))
            for where, (left, right) in zip(self.breaks, pairwise(self.pieces), strict=True)
        )

    @property
    def degree(self) -> int:
        """The largest power in any piece."""
        return max(degree_of(piece) for piece in self.pieces)

    @property
    def growth(self) -> int:
        """The largest power in the two pieces that go on for ever."""
        return max(degree_of(self.pieces[0]), degree_of(self.pieces[-1]))


def degree_of(coefficients: _Polynomial) -> int:
    """Find the largest power that a polynomial has.

    Args:
        coefficients: of 1, x, x^2, ...

    Returns:
        The power; 0 for a constant.

    Example:
        >>> degree_of((1.0, 2.0, 0.0))
        1
    """
    return max((power for power, c in enumerate(coefficients) if c), default=0)


def _difference(one: _Polynomial, two: _Polynomial) -> _Polynomial:
    size = max(len(one), len(two))
    one, two = (p + (0.0,) * (size - len(p)) for p in (one, two))
    return tuple(a - b for a, b in zip(one, two, strict=True))


def check_pieces(breaks: tuple[float, ...], pieces: tuple[_Polynomial, ...], count: int) -> None:
    """Refuse breaks and pieces that make no function.

    Args:
        breaks: what is to be finite numbers in rising order.
        pieces: what is to be polynomials.
        count: how many there must be.

    Raises:
        ValueError: if something does not fit.

    Example:
        >>> check_pieces((1.0, 0.0), ((0.0,),) * 3, 3)
        Traceback (most recent call last):
        ValueError: breaks is (1.0, 0.0); allowed: finite numbers in rising order.
    """
    if not all(map(math.isfinite, breaks)) or any(a >= b for a, b in pairwise(breaks)):
        raise invalid("breaks", breaks, "finite numbers in rising order")
    if len(pieces) != count:
        raise invalid("pieces", pieces, f"{count} polynomials for {len(breaks)} breaks")
    if not all(math.isfinite(c) for piece in pieces for c in piece):
        raise invalid("pieces", pieces, "tuples of finite coefficients")
