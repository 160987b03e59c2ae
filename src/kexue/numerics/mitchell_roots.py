"""Square roots of floats by a shift of their bits.

    bits(sqrt(a)) = (bits(a) - bias) / 2 + bias

Post: https://kexue.fm/archives/7991
Axes: "..." any axes
"""

import torch
from torch import Tensor

from kexue.numerics.mitchell_bits import Layout, layout_of, reaches

_BLOCK = 32768  # elements; all arrays of them fit in the second level of a cache


def root(x: Tensor, *, offset: float = 0.0) -> Tensor:
    """Take the square root by halving the logarithm; no gradient flows through.

    Args:
        x: [...] float32 or float64.
        offset: what is added to the logarithm of the root, between -1 and 1.

    Returns:
        [...] of the same type; NaN for negative numbers, and a zero for zeros and subnormals.

    Example:
        >>> root(torch.tensor([16.0, 2.0, 0.0, -1.0]))
        tensor([4.0000, 1.5000, 0.0000,    nan])
    """
    layout = layout_of(x.dtype)
    shift = round(offset * layout.tiny)
    bits = x.detach().contiguous().view(layout.integer)
    if bits.device.type != "cpu" or torch.compiler.is_compiling():
        return _root_bits(bits, layout, shift).view(x.dtype)
    result = torch.empty_like(bits)
    for block, out in zip(bits.view(-1).split(_BLOCK), result.view(-1).split(_BLOCK), strict=True):
        out.copy_(_root_bits(block, layout, shift))
    return result.view(x.dtype)


def _root_bits(bits: Tensor, layout: Layout, shift: int) -> Tensor:
    """Take the root of floats that are given as their bits."""
    magnitude, sign = bits & layout.magnitude, bits & layout.sign
    halved = (bits >> 1).add_((layout.bias >> 1) + shift)
    present, endless = reaches(magnitude, layout.tiny), reaches(magnitude, layout.infinity)
    # Shifted by all other bits, a sign is -1; any other bits beside those of NaN are NaN too
    unknown = present * -(bits >> layout.exponent + layout.mantissa)
    # Where they are not finite, +-0 keep their sign, and infinity and NaN all their bits
    kept = sign * (1 - present) + magnitude * endless
    return halved * (present - endless) + kept | unknown * layout.unknown
