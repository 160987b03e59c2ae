"""Mitchell's products, quotients and roots of integers, exact to the last bit.

    p = 2^n (1 + x),   n the place of the leading 1, x the bits behind it as a fraction
    p q = 2^(n + m) (1 + x + y)    where x + y < 1,   else 2^(n + m + 1) (x + y)
    p / q = 2^(n - m) (1 + x - y)  where x >= y,      else 2^(n - m - 1) (2 + x - y)

Products are integers; quotients and roots are rounded towards 0. Only shifts and additions are
used. Integers of Python may be of any size; tensors are computed with a fraction of 62 bits.

Post: https://kexue.fm/archives/7991
Axes: "..." any axes
"""

import torch
from torch import Tensor

from kexue._check import invalid

_LARGEST = 2**63 - 1
_ONE = 1 << 62  # the bits of a fraction in int64
_TO_FLOATS = "Convert to float64 for results of any size."


def _logarithm(p: int) -> tuple[int, int, int]:
    """Split a positive integer into n, the bits of x, and how many they are."""
    n = p.bit_length() - 1
    return n, p - (1 << n), n


def combine_integers(a: int, b: int, *, divide: bool = False) -> int:
    """Multiply or divide two integers of any size.

    Args:
        a: an integer.
        b: an integer, not 0 where it divides.
        divide: divide a by b.

    Returns:
        The product, or the quotient rounded towards 0.

    Raises:
        ValueError: for a division by 0.

    Example:
        >>> combine_integers(3, 3), combine_integers(-6, 3), combine_integers(7, 5, divide=True)
        (8, -16, 1)
    """
    if divide and b == 0:
        raise _division_by_zero()
    if a == 0 or b == 0:
        return 0
    n, x, bits = _logarithm(abs(a))
    m, y, more = _logarithm(abs(b))
    # Both fractions with the same number of bits
    one = 1 << bits + more
    x, y = x << more, y << bits
    fraction = x - y if divide else x + y
    exponent = (n - m if divide else n + m) + fraction // one
    up = exponent - (bits + more)
    number = one + fraction % one
    result = number << up if up >= 0 else number >> -up
    return -result if (a < 0) != (b < 0) else result


def root_integer(a: int) -> int:
    """Take the square root of an integer of any size.

    Args:
        a: an integer, 0 or more.

    Returns:
        The root, rounded towards 0.

    Raises:
        ValueError: if the integer is negative.

    Example:
        >>> root_integer(64), root_integer(50), root_integer(2**201)
        (8, 7, 1901475900342344102245054808064)
    """
    if a < 0:
        raise _negative(a)
    if a == 0:
        return 0
    n, x, bits = _logarithm(a)
    fraction = x + ((n % 2) << bits)
    return ((2 << bits) + fraction) << n // 2 >> bits + 1


def combine_tensors(a: Tensor, b: Tensor, *, divide: bool = False) -> Tensor:
    """Multiply or divide integers, one by one.

    Args:
        a: [...] integers of 8 to 64 bits.
        b: [...] integers, of a shape that broadcasts with it; none is 0 where they divide.
        divide: divide a by b.

    Returns:
        [...] int64, because a product needs more bits than its factors have.

    Raises:
        ValueError: for a division by 0, and where the result or an operand leaves 64 bits.

    Example:
        >>> combine_tensors(torch.tensor([3, -6, 0]), torch.tensor(3))
        tensor([  8, -16,   0])
    """
    a, b = torch.broadcast_tensors(_checked(a), _checked(b))
    if divide and bool((b == 0).any()):
        raise _division_by_zero()
    empty = (a == 0) | (b == 0)
    (n, x), (m, y) = _logarithms(a), _logarithms(b)
    fraction = x - y if divide else x + y
    # In twos' complement a carry is bit 62, and a borrow makes the number negative
    exponent = (n - m if divide else n + m) + (fraction >> 62)
    number = _ONE | (fraction & (_ONE - 1))
    too_large = (exponent > 62) & ~empty
    if bool(too_large.any()):
        first = (a[too_large][0].item(), b[too_large][0].item())
        raise invalid("the product of", first, "products below 2**63", _TO_FLOATS)
    result = (number >> (62 - exponent).clamp(0, 63)).masked_fill(empty, 0)
    return torch.where((a < 0) == (b < 0), result, -result)


def root_tensor(a: Tensor) -> Tensor:
    """Take the square root of integers, one by one.

    Args:
        a: [...] integers, 0 or more.

    Returns:
        [...] int64, rounded towards 0.

    Raises:
        ValueError: if an integer is negative or beyond int64.

    Example:
        >>> root_tensor(torch.tensor([0, 1, 50, 64]))
        tensor([0, 1, 7, 8])
    """
    a = _checked(a)
    if bool((a < 0).any()):
        raise _negative(a[a < 0][0].item())
    n, x = _logarithms(a)
    # 1 + (x + the odd bit of n) / 2 is below 2
    number = _ONE + (((n & 1) * _ONE) // 2 + x // 2)
    return (number >> (62 - n // 2)).masked_fill(a == 0, 0)


def _checked(a: Tensor) -> Tensor:
    """Widen to int64 and refuse what its magnitude has no room for."""
    a = a.to(torch.int64)
    if bool((a == -_LARGEST - 1).any()):
        raise invalid("an operand", -_LARGEST - 1, f"from {-_LARGEST} to {_LARGEST}", _TO_FLOATS)
    return a


def _logarithms(a: Tensor) -> tuple[Tensor, Tensor]:
    """Split magnitudes into n and x with 62 bits; those of 0 are of no use."""
    p = a.abs().clamp(min=1)
    n = (p.to(torch.float64).view(torch.int64) >> 52) - 1023
    # Close to a power of two, the float may have been rounded up to it
    n = n - ((n == 63) | (p < (1 << n.clamp(max=62)))).long()
    return n, (p - (1 << n)) << (62 - n)


def _division_by_zero() -> ValueError:
    return invalid("b", 0, "integers other than 0", "Floats divided by 0 give infinity.")


def _negative(a: int) -> ValueError:
    return invalid("a", a, "integers, 0 or more", "The root of a negative float is NaN.")
