"""The rounds of a parallel scan, on numbers laid out for the size of the matrices.

    x_(2k)   = (A_(2k) A_(2k-1)) x_(2k-2) + (A_(2k) b_(2k-1) + b_(2k))      half as many, again
    x_(2k+1) = A_(2k+1) x_(2k) + b_(2k+1)                                   all at once

A batched product of tiny matrices spends its time on calls, so that small ones are kept as D * D
planes of numbers, one for each entry, and multiplied plane by plane: 7 times faster for D = 4.
Where little is left, or the matrices are large, batched products take over.

Post: https://kexue.fm/archives/9554
Axes: T times, N recurrences side by side, D features
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_PLANES_UP_TO = 6  # features; a batched product is as fast from 7 or 8 on
_FEW = 512  # matrices; below, the number of calls is what counts


class _Order(NamedTuple):
    """How steps are laid out: products of two steps, a step applied, and the axis of time."""

    compose: Callable[[Tensor, Tensor], Tensor]
    apply: Callable[[Tensor, Tensor, Tensor], Tensor]
    axis: int


def scan_matrices(matrices: Tensor, offsets: Tensor, start: Tensor) -> Tensor:
    """Compute x_t = A_t x_(t-1) + b_t for all t; no gradient flows.

    Args:
        matrices: [T, ..., D, D]. A view of [D, D, T, ...] in memory is read without a copy.
        offsets: [T, ..., D]; T may be 0.
        start: [..., D].

    Returns:
        [T, ..., D].

    Example:
        >>> scan_matrices(torch.full((3, 1, 1), 2.0), torch.zeros(3, 1), torch.ones(1)).flatten()
        tensor([2., 4., 8.])
    """
    if not len(offsets):
        return offsets.clone()
    dtype, exact = _dtypes(matrices, offsets, start)
    times, width = offsets.shape[0], offsets.shape[-1]
    with torch.no_grad():
        steps = matrices.to(exact).reshape(times, -1, width, width)
        given = offsets.to(exact).reshape(times, -1, width, 1)
        first = start.to(exact).reshape(1, -1, width, 1)
        if width <= _PLANES_UP_TO and steps.shape[0] * steps.shape[1] > _FEW:
            planes = (steps.permute(2, 3, 0, 1), _to_planes(given), _to_planes(first))
            states = _scan(_PLANES, *planes).permute(1, 2, 0)
        else:
            states = _scan(_BATCHED, steps.contiguous(), given, first)
    return states.reshape(offsets.shape).to(dtype)


def scan_diagonals(factors: Tensor, offsets: Tensor, start: Tensor) -> Tensor:
    """Compute x_t = a_t * x_(t-1) + b_t for all t; no gradient flows.

    Args:
        factors: [T, ..., D].
        offsets: [T, ..., D]; T may be 0.
        start: [..., D].

    Returns:
        [T, ..., D].

    Example:
        >>> scan_diagonals(torch.full((3, 1), 2.0), torch.zeros(3, 1), torch.ones(1)).flatten()
        tensor([2., 4., 8.])
    """
    if not len(offsets):
        return offsets.clone()
    dtype, exact = _dtypes(factors, offsets, start)
    with torch.no_grad():
        flat = [x.to(exact).reshape(len(x), -1) for x in (factors, offsets, start.unsqueeze(0))]
        return _scan(_DIAGONAL, *flat).reshape(offsets.shape).to(dtype)


def scale_rows(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Compute sum_k diag(s_k) A_k at many places, laid out in memory as scans read it best.

    Args:
        parts: pairs of [..., D] factors s_k and [D, D] matrices A_k.

    Returns:
        [..., D, D].

    Example:
        >>> scale_rows([(torch.tensor([2.0, 3.0]), torch.ones(2, 2))])
        tensor([[2., 2.],
                [3., 3.]])
    """
    width = parts[0][0].shape[-1]
    if width > _PLANES_UP_TO:
        return sum(factors.unsqueeze(-1) * matrix for factors, matrix in parts)
    total = None
    for factors, matrix in parts:
        planes = factors.movedim(-1, 0).contiguous().unsqueeze(1)
        entries = matrix.reshape(width, width, *[1] * (factors.ndim - 1))
        total = planes * entries if total is None else total.addcmul_(planes, entries)
    return total.movedim((0, 1), (-2, -1))


def _scan(order: _Order, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Scan along the axis of time, halving the number of steps in each round."""
    axis, times = order.axis, b.shape[order.axis]
    if times == 1:
        return order.apply(a, start, b)
    if order is _PLANES and times * b.shape[-1] <= _FEW:
        back = (x.permute(2, 3, 0, 1) for x in (a, b.unsqueeze(1), start.unsqueeze(1)))
        return _to_planes(_scan(_BATCHED, *back))
    pairs = times // 2
    a1, b1, a2, b2 = (_every_other(x, axis, place) for place in (0, 1) for x in (a, b))
    if order is _PLANES:
        # Each is read D times, and every other number of a row is slow to read.
        a1, a2, b2 = a1.contiguous(), a2.contiguous(), b2.contiguous()
    a_pair, b_pair = a1.narrow(axis, 0, pairs), b1.narrow(axis, 0, pairs)
    second = _scan(order, order.compose(a2, a_pair), order.apply(a2, b_pair, b2), start)
    before = torch.cat((start, second), axis).narrow(axis, 0, times - pairs)
    states = torch.empty_like(b, memory_format=torch.contiguous_format)
    _every_other(states, axis, 0).copy_(order.apply(a1, before, b1))
    _every_other(states, axis, 1).copy_(second)
    return states


def _dtypes(*tensors: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """Find the dtype of the result, and that of the sums, which half precision would spoil."""
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in tensors))
    return dtype, torch.promote_types(dtype, torch.float32)


def _to_planes(vectors: Tensor) -> Tensor:
    """Turn [T, N, D, 1] into [D, T, N]."""
    return vectors.squeeze(-1).permute(2, 0, 1).contiguous()


def _every_other(x: Tensor, axis: int, first: int) -> Tensor:
    return x[(..., slice(first, None, 2), *(slice(None),) * (-axis - 1))]


def _compose_planes(after: Tensor, before: Tensor) -> Tensor:
    product = after[:, 0, None] * before[None, 0]
    for k in range(1, len(before)):
        product.addcmul_(after[:, k, None], before[None, k])
    return product


def _apply_planes(a: Tensor, x: Tensor, b: Tensor) -> Tensor:
    out = torch.addcmul(b, a[:, 0], x[0])
    for k in range(1, len(x)):
        out.addcmul_(a[:, k], x[k])
    return out


def _apply_batched(a: Tensor, x: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, x).add_(b)


_BATCHED = _Order(torch.matmul, _apply_batched, -4)
_PLANES = _Order(_compose_planes, _apply_planes, -2)
_DIAGONAL = _Order(torch.mul, lambda a, x, b: torch.addcmul(b, a, x), -2)
