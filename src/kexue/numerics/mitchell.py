"""Mitchell's approximation: products become sums, and no product is off by more than a ninth.

    p = 2^n (1 + x),  0 <= x < 1:    log2 p ~ n + x,    2^(n + x) ~ 2^n (1 + x)

A product adds these logarithms: 2^n (1 + x) times 2^m (1 + y) becomes 2^(n + m) (1 + x + y) where
x + y < 1, and 2^(n + m + 1) (x + y) elsewhere. It is from 8/9 to 1 of the true one, and exact where
a factor is a power of two. A quotient subtracts: it is from 1 to 9/8 of the true one. A square root
halves: from 1 to 3 / sqrt(8), or 1.0607.

Floats store n + x as it is, so that a product is one addition of integers, see `mitchell_bits`. On
a processor that multiplies as fast as it adds, this imitates cheaper hardware and saves no time.
16-bit floats are computed in float32, which holds their approximate products exactly, and rounded.

- Zeros give signed zeros; infinity and NaN do what they do in exact arithmetic.
- Subnormal numbers of float32, bfloat16 and float64 count as zeros, and results that would be
  subnormal become zeros; float16 keeps its own. What is too large becomes infinity.
- Integers give int64, as a product needs more bits than its factors; those of Python have any size.

`backward` chooses the gradients: "exact" are those of the function that is computed, made of pieces
of planes: a slope is a power of two. "mitchell" computes those of the true product by approximate
products as well, so that training needs no others; "straight" computes them exactly.

Post: https://kexue.fm/archives/7991
Paper: https://arxiv.org/abs/2012.03458 trains with such products; https://arxiv.org/abs/2305.17190
    for "exact" and "mitchell" gradients and the offset
Axes: "..." any axes that broadcast
"""

from functools import partial

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.mitchell_gradients import Combination, Root
from kexue.numerics.mitchell_integers import (
    combine_integers,
    combine_tensors,
    root_integer,
    root_tensor,
)
from kexue.numerics.mitchell_operands import Operand, compute


def mitchell_multiply(
    a: Operand, b: Operand, *, offset: float = 0.0, backward: str = "exact"
) -> Operand:
    """Multiply by adding approximate logarithms.

    Args:
        a: [...] integers or floats: a number, an array or a tensor.
        b: [...] likewise, of a shape that broadcasts with that of `a`.
        offset: what is added to the sum of the logarithms, between -1 and 1, for floats. 0.0566
            makes the mean error 0 for evenly spread mantissas and the largest 7.7 %.
        backward: gradients of floats, "exact", "mitchell" or "straight".

    Returns:
        [...] a tensor where one operand is one, an array for arrays, a number for numbers; floats
        of the common type, integers as int64.

    Raises:
        ValueError: for other operands, an unknown `backward`, or products of integers of 2^63 or
            more (but numbers of Python may have any size).

    Example:
        >>> round(mitchell_multiply(12.3, 4.56), 2), mitchell_multiply(3, 3)
        (53.68, 8)
        >>> mitchell_multiply(torch.tensor([1.5, -6.0, 0.0]), torch.tensor([1.5, 3.0, 7.0]))
        tensor([  2., -16.,   0.])
    """
    check_options(offset, backward)
    if isinstance(a, int) and isinstance(b, int):
        return combine_integers(a, b)
    floats = partial(_combine, False, offset, backward)
    return compute((a, b), floats=floats, integers=combine_tensors)


def mitchell_divide(
    a: Operand, b: Operand, *, offset: float = 0.0, backward: str = "exact"
) -> Operand:
    """Divide by subtracting approximate logarithms.

    Args:
        a: [...] integers or floats: a number, an array or a tensor.
        b: [...] likewise, of a shape that broadcasts with that of `a`.
        offset: what is added to the difference of the logarithms, between -1 and 1, for floats; a
            negative number makes the mean error smaller.
        backward: gradients of floats, "exact", "mitchell" or "straight".

    Returns:
        [...] as for `mitchell_multiply`; quotients of integers are rounded towards 0.

    Raises:
        ValueError: for other operands, an unknown `backward`, or integers divided by 0.

    Example:
        >>> mitchell_divide(torch.tensor([6.0, 1.0, -1.0]), torch.tensor([3.0, 1.5, 0.0]))
        tensor([2.0000, 0.7500,   -inf])
    """
    check_options(offset, backward)
    if isinstance(a, int) and isinstance(b, int):
        return combine_integers(a, b, divide=True)
    floats = partial(_combine, True, offset, backward)
    return compute((a, b), floats=floats, integers=partial(combine_tensors, divide=True))


def mitchell_sqrt(a: Operand, *, offset: float = 0.0, backward: str = "exact") -> Operand:
    """Take the square root by halving an approximate logarithm.

    Args:
        a: [...] integers or floats: a number, an array or a tensor.
        offset: what is added to half the logarithm, between -1 and 1, for floats; a negative number
            makes the mean error smaller.
        backward: gradients of floats, "exact", "mitchell" or "straight".

    Returns:
        [...] of the kind of `a`; NaN for negative floats, integers rounded towards 0.

    Raises:
        ValueError: for another operand, an unknown `backward`, or negative integers.

    Example:
        >>> mitchell_sqrt(torch.tensor([16.0, 9.0, 2.0])), mitchell_sqrt(81)
        (tensor([4.0000, 3.1250, 1.5000]), 9)
    """
    check_options(offset, backward)
    if isinstance(a, int):
        return root_integer(a)
    return compute((a,), floats=lambda x: Root.apply(x, offset, backward), integers=root_tensor)


def check_options(offset: float, backward: str) -> None:
    """Refuse options that no function of this approximation has.

    Args:
        offset: what is added to logarithms.
        backward: how gradients are computed.

    Raises:
        ValueError: if one is not allowed.

    Example:
        >>> check_options(0.0, "ste")
        Traceback (most recent call last):
        ValueError: backward is 'ste'; allowed: 'exact', 'mitchell' or 'straight'.
    """
    if backward not in ("exact", "mitchell", "straight"):
        raise invalid("backward", backward, "'exact', 'mitchell' or 'straight'")
    if not -1 < offset < 1:
        raise invalid("offset", offset, "a number between -1 and 1", "Usual are 0 and 0.0566.")


def _combine(divide: bool, offset: float, backward: str, a: Tensor, b: Tensor) -> Tensor:
    """Broadcast where autograd sees it, and apply."""
    a, b = torch.broadcast_tensors(a, b)
    return Combination.apply(a, b, divide, offset, backward)
