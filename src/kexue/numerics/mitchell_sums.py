"""Sums of Mitchell products over an axis, as a matrix product takes them, and their slopes.

No matrix product gives sum_k a_ik (x) b_kj: every product is made, and then added up. A block
of them, [I, K, M], is one addition to integers that stay in the cache, as the next I rows differ
from the last ones in what is added to their bits; signs and zeros of a are weights of the sum.

Post: https://kexue.fm/archives/7991
Axes: N rows of a, K summed over, M columns of b; I rows at a time
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from kexue.numerics.mitchell_bits import Layout, fraction, layout_of, reaches
from kexue.numerics.mitchell_combine import combine_bits

_EDGE = 512  # of a part of b
_BYTES = 1 << 20  # of a block of products: half of the second level of a cache
_DEVICE_BYTES = 1 << 28  # where there is memory and each call costs more


def sum_products(a: Tensor, b: Tensor, *, offset: float = 0.0) -> Tensor:
    """Multiply matrices with Mitchell products; no gradient flows through.

    Args:
        a: [N, K] float32 or float64.
        b: [K, M] of the same type.
        offset: what is added to the logarithms of products, between -1 and 1.

    Returns:
        [N, M] of the same type.

    Example:
        >>> sum_products(torch.tensor([[1.5, -6.0, 0.0]]), torch.tensor([[1.5], [3.0], [2.0]]))
        tensor([[-14.]])
    """
    a, b = a.detach(), b.detach()
    if b.shape[1] < a.shape[0]:
        # The longer side comes last, where processors work along
        return sum_products(b.mT, a.mT, offset=offset).mT
    layout = layout_of(a.dtype)
    x, y = (t.contiguous().view(layout.integer) for t in (a, b))
    shift = round(offset * layout.tiny)
    result = a.new_zeros(len(a), b.shape[1])
    least = None if 0 in (*a.shape, *b.shape) else _least(x, y, layout, shift)
    if least is None:
        _add_any(x, y, layout, shift, result)
    else:
        _add_ordinary(x, y, layout, shift, least, result)
    return result


def _least(x: Tensor, y: Tensor, layout: Layout, shift: int) -> int | None:
    """Find the least bits in x but those of zeros, or None if a product may leave the range."""
    least, most = [], []
    for bits in (x, y):
        magnitude = bits & layout.magnitude
        most.append(int(magnitude.amax()))
        # What is below the bound turns into the largest integers
        least.append(int((magnitude - layout.tiny & layout.magnitude).amin()) + layout.tiny)
    low, high = (sum(values) - layout.bias + shift for values in (least, most))
    fits = low >= layout.tiny and high < layout.infinity and max(most) < layout.infinity
    return least[0] if fits and min(most) >= layout.tiny else None


def _parts(x: Tensor, y: Tensor) -> Iterator[tuple[slice, slice, int]]:
    """Cut K and M; give the rows that make a block with a part."""
    size = (_BYTES if x.device.type == "cpu" else _DEVICE_BYTES) // x.element_size()
    for k in range(0, y.shape[0], _EDGE):
        for m in range(0, y.shape[1], _EDGE):
            along, across = slice(k, k + _EDGE), slice(m, m + _EDGE)
            yield along, across, max(1, min(len(x), size // y[along, across].numel()))


def _add_any(x: Tensor, y: Tensor, layout: Layout, shift: int, result: Tensor) -> None:
    """Add up products of any numbers."""
    for along, across, rows in _parts(x, y):
        for start in range(0, len(x), rows):
            left = x[start : start + rows, along, None]
            bits = combine_bits(left, y[along, across], layout, shift=shift)
            result[start : start + rows, across] += bits.view(result.dtype).sum(1)


def _add_ordinary(
    x: Tensor, y: Tensor, layout: Layout, shift: int, least: int, result: Tensor
) -> None:
    """Add up products of which none leaves the range."""
    magnitude, magnitude_y = x & layout.magnitude, y & layout.magnitude
    present, present_y = reaches(magnitude, layout.tiny), reaches(magnitude_y, layout.tiny)
    # What stands for a zero must give a finite product, which has no weight
    added = magnitude * present + (1 - present) * least + (shift - layout.bias)
    weights = (present * layout.bias | x & layout.sign).view(result.dtype)
    kept = None if present_y.amin() else -present_y
    for along, across, rows in _parts(x, y):
        mask = None if kept is None else kept[along, across]
        part = _sum_part(added[:, along], y[along, across], weights[:, along], mask, rows)
        result[:, across] += part


def _sum_part(added: Tensor, y: Tensor, weights: Tensor, mask: Tensor | None, rows: int) -> Tensor:
    """Multiply all rows with a part of b."""
    result = weights.new_empty(len(added), 1, y.shape[1])
    weights = weights.unsqueeze(1).contiguous()  # [N, 1, K]
    added = added.unsqueeze(2)
    steps = added[rows:] - added[:-rows]
    block = y.new_empty(rows, *y.shape)
    for start in range(0, len(added), rows):
        here = added[start : start + rows]
        bits = block[: len(here)]
        if mask is not None:
            torch.add(here, y, out=bits).bitwise_and_(mask)
        elif start:
            bits += steps[start - rows : start - rows + len(here)]
        else:
            torch.add(here, y, out=bits)
        chosen = slice(start, start + rows)
        torch.bmm(weights[chosen], bits.view(weights.dtype), out=result[chosen])
    return result[:, 0]


def sum_slopes(a: Tensor, b: Tensor, grad: Tensor, *, offset: float = 0.0) -> Tensor:
    """Compute the gradient of `sum_products` by a: slopes are powers of two.

    Args:
        a: [N, K] float32 or float64.
        b: [K, M] of the same type.
        grad: [N, M] the gradient by the result.
        offset: that of the products.

    Returns:
        [N, K]; that of `sum_products` by b is the same of everything transposed.

    Example:
        >>> a, b = torch.tensor([[1.5, 1.0]]), torch.tensor([[3.0], [3.0]])
        >>> sum_slopes(a, b, torch.ones(1, 1))
        tensor([[4., 2.]])
    """
    layout = layout_of(a.dtype)
    x, y = (t.detach().contiguous().view(layout.integer) for t in (a, b))
    fractions = fraction(x, layout).add_(round(offset * layout.tiny)).unsqueeze(2)
    kept = -reaches(y & layout.magnitude, layout.tiny) & (layout.sign | layout.infinity)
    result = torch.zeros_like(a)
    for along, across, rows in _parts(x, y):
        for start in range(0, len(x), rows):
            bits = fractions[start : start + rows, along] + y[along, across]
            bits &= kept[along, across]
            weights = grad[start : start + rows, across].unsqueeze(2)
            result[start : start + rows, along] += (bits.view(a.dtype) @ weights)[:, :, 0]
    return result
