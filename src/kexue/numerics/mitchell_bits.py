"""The bits of floats and their parts.

The bits of a float without its sign, read as an integer and divided by 2^P, are n + x + bias for
the number 2^n (1 + x): its logarithm by Mitchell's rule, kept as it is stored.

Post: https://kexue.fm/archives/7991
Axes: "..." any axes
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """Where sign, exponent and mantissa of a float lie in its bits.

    Attributes:
        integer: the integer type of the same width.
        exponent: bits of the exponent.
        mantissa: P, bits of the mantissa.

    Example:
        >>> hex(layout_of(torch.float32).bias)
        '0x3f800000'
    """

    integer: torch.dtype
    exponent: int
    mantissa: int

    @property
    def bias(self) -> int:
        """The bits of 1."""
        return ((1 << self.exponent - 1) - 1) << self.mantissa

    @property
    def tiny(self) -> int:
        """The bits of the least normal number."""
        return 1 << self.mantissa

    @property
    def infinity(self) -> int:
        """The bits of infinity, which are also those of the exponent."""
        return ((1 << self.exponent) - 1) << self.mantissa

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return self.infinity | self.tiny - 1

    @property
    def sign(self) -> int:
        """The bit of the sign alone, a negative integer."""
        return ~self.magnitude

    @property
    def unknown(self) -> int:
        """The bits of NaN."""
        return self.infinity | self.tiny >> 1

    @property
    def lowest(self) -> int:
        """The lower end of a window as wide as a quarter of all magnitudes, around 1.

        Products and quotients of two numbers of the window are normal numbers. For float32 it goes
        from 2^-42 to 2^22.
        """
        return self.bias - ((1 << self.exponent - 1) // 3 << self.mantissa)


def layout_of(dtype: torch.dtype) -> Layout:
    """Look up the layout of a float type.

    Args:
        dtype: torch.float32 or torch.float64; narrower ones are computed in float32.

    Returns:
        Its layout.

    Example:
        >>> layout_of(torch.float64).mantissa
        52
    """
    return {
        torch.float32: Layout(torch.int32, 8, 23),
        torch.float64: Layout(torch.int64, 11, 52),
    }[dtype]


def reaches(magnitude: Tensor, bound: int) -> Tensor:
    """Tell which integers are at least a bound, as 1 or 0.

    Processors clamp many integers at once, which torch does not do with comparisons and choices.

    Args:
        magnitude: [...] integers.
        bound: the bound.

    Returns:
        [...] 1 or 0, of the same type.

    Example:
        >>> reaches(torch.tensor([3, 7, 8]), 7)
        tensor([0, 1, 1])
    """
    return magnitude.clamp(bound - 1, bound).sub_(bound - 1)


def leading_power(x: Tensor) -> Tensor:
    """Round towards zero to a power of two, sign kept; this is how much one unit of x weighs.

    Args:
        x: [...] float32 or float64.

    Returns:
        [...] of the same type; 0 for subnormals, and NaN for NaN.

    Example:
        >>> leading_power(torch.tensor([-5.0, 0.3, 0.0]))
        tensor([-4.0000, 0.2500, 0.0000])
    """
    layout = layout_of(x.dtype)
    bits = x.detach().view(layout.integer)
    unknown = reaches(bits & layout.magnitude, layout.infinity + 1)
    power = bits & (layout.sign | layout.infinity)
    return (power | unknown * layout.unknown).view(x.dtype)


def mantissa(x: Tensor) -> Tensor:
    """Take the factor 1 + x of the number 2^n (1 + x).

    Args:
        x: [...] float32 or float64.

    Returns:
        [...] of the same type, from 1 to below 2; 1 for zeros, subnormals and infinities.

    Example:
        >>> mantissa(torch.tensor([-6.0, 0.0]))
        tensor([1.5000, 1.0000])
    """
    layout = layout_of(x.dtype)
    return (fraction(x.detach().view(layout.integer), layout) | layout.bias).view(x.dtype)


def fraction(bits: Tensor, layout: Layout) -> Tensor:
    """Take the bits of x from those of the number 2^n (1 + x).

    Args:
        bits: [...] bits of floats as integers of their width.
        layout: the layout of these floats.

    Returns:
        [...] of the same type, below `layout.tiny`; 0 for zeros and subnormals.

    Example:
        >>> bits = torch.tensor([1.5, -8.0]).view(torch.int32)
        >>> fraction(bits, layout_of(torch.float32)) / 2**23
        tensor([0.5000, 0.0000])
    """
    return (bits & layout.tiny - 1) * reaches(bits & layout.magnitude, layout.tiny)
