"""Products and quotients of floats by adding or subtracting their bits as integers.

    bits(a b) = bits(a) + bits(b) - bias,    bits(a / b) = bits(a) - bits(b) + bias

and the bits of the signs add by themselves. That is garbage where an operand is 0, subnormal,
infinite or NaN, and where the result leaves the range. On a CPU, blocks that fit in its cache are
looked at first: those whose numbers all lie near 1 need no more than the sum.

Post: https://kexue.fm/archives/7991
Axes: "..." any axes, the same in both operands
"""

import torch
from torch import Tensor

from kexue.numerics.mitchell_bits import Layout, layout_of, reaches

_BLOCK = 32768  # elements; four arrays of them fit in the second level of a cache


def combine(a: Tensor, b: Tensor, *, divide: bool = False, offset: float = 0.0) -> Tensor:
    """Multiply or divide by adding or subtracting logarithms; no gradient flows through.

    Args:
        a: [...] float32 or float64.
        b: [...] of the same shape and type.
        divide: divide a by b.
        offset: what is added to the sum of the logarithms, between -1 and 1.

    Returns:
        [...] of the same type.

    Example:
        >>> combine(torch.tensor([1.5, -6.0]), torch.tensor([1.5, 3.0]))
        tensor([  2., -16.])
    """
    layout = layout_of(a.dtype)
    shift = round(offset * layout.tiny)
    x, y = (t.detach().contiguous().view(layout.integer) for t in (a, b))
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return combine_bits(x, y, layout, divide=divide, shift=shift).view(a.dtype)
    x, y = x.view(-1), y.view(-1)
    result = torch.empty_like(x)
    scratch = x.new_empty(2, min(_BLOCK, len(x)))
    blocks = zip(*(t.split(_BLOCK) for t in (x, y, result)), strict=True) if len(x) else ()
    for left, right, out in blocks:
        if not _combine_ordinary(left, right, out, scratch[:, : len(out)], layout, divide, shift):
            out.copy_(combine_bits(left, right, layout, divide=divide, shift=shift))
    return result.view(a.dtype).view(a.shape)


def _combine_ordinary(
    x: Tensor, y: Tensor, out: Tensor, scratch: Tensor, layout: Layout, divide: bool, shift: int
) -> bool:
    """Do a block without special cases and tell True, or tell False."""
    above_x, above_y = scratch
    torch.sub(x, layout.lowest, out=above_x)
    torch.sub(y, layout.lowest, out=above_y)
    # Inside the window the two bits below the sign are 0; below it the sign borrows and sets them.
    outside = torch.bitwise_or(above_x, above_y, out=out)
    outside &= layout.magnitude + 1 >> 2 | layout.magnitude + 1 >> 1
    if outside.amax():
        return False
    if divide:
        torch.sub(above_x, above_y, out=out).add_(layout.bias + shift)
    else:
        torch.add(above_x, above_y, out=out).add_(2 * layout.lowest - layout.bias + shift)
    return True


def combine_bits(
    x: Tensor, y: Tensor, layout: Layout, *, divide: bool = False, shift: int = 0
) -> Tensor:
    """Multiply or divide any numbers, given as their bits, with every case looked at.

    Args:
        x: [...] bits of floats as integers of their width.
        y: [...] likewise, of a shape that broadcasts.
        layout: the layout of these floats.
        divide: divide x by y.
        shift: what is added to the sum of the bits, less than `layout.tiny`.

    Returns:
        [...] the bits of the results.

    Example:
        >>> bits = torch.tensor([0.0, 3.0, 1e30]).view(torch.int32)
        >>> combine_bits(bits, bits, layout_of(torch.float32)).view(torch.float32)
        tensor([0., 8., inf])
    """
    one, other = x & layout.magnitude, y & layout.magnitude
    log, log_other = one - layout.bias, other - layout.bias
    log = log - log_other if divide else log + log_other
    # Both limits lie beyond the range of results by more than an offset, and do not overflow.
    edge = 3 * (layout.magnitude + 1 >> 2)
    log = log.clamp_(-edge, edge).add_(shift) if shift else log
    magnitude = log.clamp_(max=layout.infinity - layout.bias).add_(layout.bias)
    magnitude *= reaches(magnitude, layout.tiny)
    signs = (x ^ y).bitwise_and_(layout.sign)
    if _all_finite(one, other, layout, divide):
        present = reaches(one, layout.tiny)
        magnitude *= present if divide else present * reaches(other, layout.tiny)
        return magnitude.bitwise_or_(signs)
    return _with_endless(magnitude, one, other, layout, divide).bitwise_or_(signs)


def _all_finite(one: Tensor, other: Tensor, layout: Layout, divide: bool) -> bool:
    """Tell whether no infinity and no NaN comes in or out, where asking costs little."""
    if one.device.type != "cpu" or torch.compiler.is_compiling() or not min(len(one), len(other)):
        return False
    if divide and other.amin() < layout.tiny:
        return False
    return bool(one.amax() < layout.infinity) and bool(other.amax() < layout.infinity)


def _with_endless(
    magnitude: Tensor, one: Tensor, other: Tensor, layout: Layout, divide: bool
) -> Tensor:
    """Correct the results of zeros, infinities and NaN."""
    present, endless = reaches(one, layout.tiny), reaches(one, layout.infinity)
    present_other, endless_other = reaches(other, layout.tiny), reaches(other, layout.infinity)
    if divide:
        present_other, endless_other = 1 - endless_other, 1 - present_other
    present, endless = present * present_other, endless | endless_other
    unknown = endless * (1 - present)
    unknown |= reaches(one, layout.infinity + 1) | reaches(other, layout.infinity + 1)
    magnitude = magnitude * (present - present * endless) + endless * layout.infinity
    return magnitude | unknown * layout.unknown
