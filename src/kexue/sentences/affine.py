"""An affine map: of the rows of a matrix of any kind, as a layer, and for faiss.

    x W + b = (x - c) W + (c W + b)

With c near the mean of the rows, products in float32 are as exact as the spread of the rows allows;
without it those of rows far from 0 lose the digits that b is to bring back. Layers have no c.

Post: https://kexue.fm/archives/8069
Axes: N rows, D columns given, K columns made
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kexue.sentences.blocks import (
    block_rows,
    check_matrix,
    hand_back,
    on_gpu,
    shifted_blocks,
    work_dtype,
)

_ROWS, _GPU_ROWS = 2**13, 2**16


def map_rows(
    x: np.ndarray | Tensor, weight: np.ndarray, bias: np.ndarray, *, centre: np.ndarray | None
) -> np.ndarray | Tensor:
    """Map each row of a matrix.

    Args:
        x: [N, D] array, memory map or tensor of 16, 32 or 64 bits, on any device. No gradient
            flows through.
        weight: [D, K] float64, W.
        bias: [K] float64, b.
        centre: [D] float64, c; None where the rows lie near 0, which saves a pass over them.

    Returns:
        [N, K] of the kind, dtype and device of `x` (a memory map gives an array); computed in
        float32 at least.

    Raises:
        ValueError: if `x` is no matrix of D columns of floating-point numbers.

    Example:
        >>> map_rows(torch.ones(1, 2), np.eye(2) * 3, np.ones(2), centre=None)
        tensor([[4., 4.]])
    """
    check_matrix(x, len(weight))
    dtype = work_dtype(x)
    shift = np.zeros(len(weight), dtype) if centre is None else centre.astype(dtype)
    # Of the centre as it is rounded, so that it adds nothing of its own
    offset = (shift.astype(np.float64) @ weight + bias).astype(dtype)
    given = _Given(weight.astype(dtype), offset, shift)
    if on_gpu(x):
        return _map_on_gpu(x, given)
    if centre is None and isinstance(x, np.ndarray) and x.dtype == dtype:
        return _map_array(x, given)
    if isinstance(x, Tensor):
        if centre is None and x.device.type == "cpu" and x.element_size() == dtype.itemsize:
            weight, offset, _ = map(torch.from_numpy, given)
            return torch.addmm(offset, x.detach(), weight)
        result = torch.empty(len(x), len(bias), dtype=x.dtype, device=x.device)
        _map_shifted(x, given, result)
        return result
    result = np.empty((len(x), len(bias)), x.dtype.newbyteorder("="))
    _map_shifted(x, given, torch.from_numpy(result))
    return result


class _Given(NamedTuple):
    """What y = (x - shift) @ weight + offset needs, in the dtype to compute in."""

    weight: np.ndarray
    offset: np.ndarray
    shift: np.ndarray


def _map_array(x: np.ndarray, given: _Given) -> np.ndarray:
    result = np.empty((len(x), len(given.offset)), given.weight.dtype)
    for start in range(0, len(x), _ROWS):
        part, made = x[start : start + _ROWS], result[start : start + _ROWS]
        np.matmul(part, given.weight, out=made)
        made += given.offset
        hand_back(part)
    return result


def _map_shifted(x: np.ndarray | Tensor, given: _Given, result: Tensor) -> None:
    weight, offset = torch.from_numpy(given.weight), torch.from_numpy(given.offset)
    width = len(given.shift)
    room = np.empty((block_rows(width), width), given.weight.dtype)
    for first, block in shifted_blocks(x, given.shift, room):
        rows = result[first : first + len(block)]
        if rows.dtype == weight.dtype and rows.device == weight.device:
            torch.addmm(offset, torch.from_numpy(block), weight, out=rows)
        else:
            rows.copy_(torch.addmm(offset, torch.from_numpy(block), weight))


def _map_on_gpu(x: Tensor, given: _Given) -> Tensor:
    weight, offset, shift = (torch.from_numpy(array).to(x.device) for array in given)
    result = torch.empty(len(x), len(offset), dtype=x.dtype, device=x.device)
    for part, made in zip(x.detach().split(_GPU_ROWS), result.split(_GPU_ROWS), strict=True):
        made.copy_(torch.addmm(offset, part - shift, weight))
    return result


def linear_layer(weight: np.ndarray, bias: np.ndarray, *, dtype: torch.dtype) -> nn.Linear:
    """Make a layer of a map.

    Args:
        weight: [D, K] float64.
        bias: [K] float64.
        dtype: of the parameters.

    Returns:
        A layer from D to K features, whose parameters do not require a gradient.

    Example:
        >>> linear_layer(np.eye(2) * 3, np.ones(2), dtype=torch.float32)(torch.ones(1, 2))
        tensor([[4., 4.]])
    """
    # A new layer would draw random numbers.
    layer = nn.utils.skip_init(nn.Linear, *weight.shape, dtype=dtype).requires_grad_(False)
    layer.weight.copy_(torch.from_numpy(weight.T))
    layer.bias.copy_(torch.from_numpy(bias))
    return layer


def faiss_transform(weight: np.ndarray, bias: np.ndarray) -> Any:
    """Make a `faiss.LinearTransform` of a map, in float32.

    Args:
        weight: [D, K] float64.
        bias: [K] float64.

    Returns:
        The transform, which knows whether it is a rotation and can be undone.

    Raises:
        ImportError: if faiss is not installed.

    Example:
        >>> faiss_transform(np.eye(2) * 3, np.ones(2)).apply(np.ones((1, 2), np.float32))
        array([[4., 4.]], dtype=float32)
    """
    try:
        import faiss
    except ImportError:
        needed = 'This needs faiss, which is not installed: pip install "kexue[search]"'
        raise ImportError(needed) from None
    transform = faiss.LinearTransform(*weight.shape, True)
    matrix = np.ascontiguousarray(weight.T, np.float32)
    faiss.copy_array_to_vector(matrix.ravel(), transform.A)
    faiss.copy_array_to_vector(bias.astype(np.float32), transform.b)
    transform.is_trained = True
    transform.set_is_orthonormal()
    return transform
