"""Mean and scatter of the rows of one matrix, in one pass.

A few thousand rows at a time, a span, are shifted by a sample of their own mean; their products are
summed a block at a time by the symmetric product of BLAS, which does half the work of a plain one,
and each span is merged into float64 sums.

Post: https://kexue.fm/archives/8069
Axes: N rows, D columns, R rows of a block
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import blas
from torch import Tensor

from kexue._check import invalid
from kexue.sentences.blocks import block_rows, on_gpu, shifted_blocks, work_dtype

_SPAN = 8192  # rows whose products are summed before they go into float64
_SAMPLE = 128  # rows that are looked at for the shift of a span


class Measured(NamedTuple):
    """Moments of a matrix.

    Attributes:
        count: N.
        mean: [D] float64.
        scatter: [D, D] float64.
        rounding: relative rounding error of the products.

    Example:
        >>> Measured(1, np.zeros(1), np.zeros((1, 1)), 1e-16).count
        1
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray
    rounding: float


class _Sums(NamedTuple):
    """Sums over rows minus a shift [D]: of themselves [D] and, above the diagonal, of products."""

    shift: np.ndarray
    rows: np.ndarray
    products: np.ndarray


class _Room(NamedTuple):
    """What a span is worked out in: a block [R, D] and products [D, D] in Fortran's order."""

    block: np.ndarray
    products: np.ndarray


def measure(batch: np.ndarray | Tensor, *, double: bool) -> Measured:
    """Find the moments of a matrix, a span at a time.

    Args:
        batch: [N, D] array, memory map or tensor, on any device.
        double: compute in float64 whatever the dtype of `batch`.

    Returns:
        The moments.

    Raises:
        ValueError: if a row is not finite.

    Example:
        >>> measure(np.array([[1.0], [3.0]]), double=False).scatter
        array([[2.]])
    """
    # TF32, which a program may have allowed on a GPU, would round to 10 bits.
    dtype = np.dtype(np.float64) if double or on_gpu(batch) else work_dtype(batch)
    width = batch.shape[1]
    rows = min(block_rows(width), _SPAN, max(len(batch), 1))
    room = _Room(np.empty((rows, width), dtype), np.zeros((width, width), dtype, order="F"))
    mean, scatter = np.zeros(width), np.zeros((width, width))
    for start in range(0, len(batch), _SPAN):
        part = batch[start : start + _SPAN]
        shift, sums, products = _finite_sums(part, start, room)
        count = len(part)
        apart = shift + sums / count - mean
        scatter += products
        # The merge and the step from the shift to the mean, both of rank one, in one go
        left = np.stack([sums / -count, apart * (start * count / (start + count))], 1)
        right = np.stack([sums, apart])
        torch.from_numpy(scatter).addmm_(torch.from_numpy(left), torch.from_numpy(right))
        mean += apart * (count / (start + count))
    scatter = np.triu(scatter) + np.triu(scatter, 1).T
    return Measured(len(batch), mean, scatter, float(np.finfo(dtype).eps))


def _finite_sums(part: np.ndarray | Tensor, start: int, room: _Room) -> _Sums:
    """Sum a span up; where float32 overflows, once more in float64."""
    found = _sums(part, room)
    if _is_finite(found):
        return found
    _refuse_bad_row(part, start)
    found = _sums(part, _Room(*(array.astype(np.float64, order="A") for array in room)))
    if not _is_finite(found):
        raise invalid("x", "too large to be squared", "numbers below 1e150")
    return found


def _is_finite(sums: _Sums) -> bool:
    return bool(np.isfinite(sums.rows).all() and np.isfinite(sums.products.diagonal()).all())


def _refuse_bad_row(part: np.ndarray | Tensor, start: int) -> None:
    finite = torch.isfinite(part) if isinstance(part, Tensor) else np.isfinite(part)
    finite = finite.all(1)
    if not finite.all():
        row = start + int(finite.tolist().index(False))
        fix = "Leave it out, or see why the encoder gave it; half precision is the usual reason."
        raise ValueError(f"x[{row}] holds NaN or infinity; allowed: finite numbers. {fix}")


def _sums(part: np.ndarray | Tensor, room: _Room) -> _Sums:
    if on_gpu(part):
        return _sums_on_gpu(part)
    dtype = room.block.dtype
    sample = part[:: -(-len(part) // _SAMPLE)]
    if isinstance(sample, Tensor):
        sample = sample.detach().cpu().to(torch.float64).numpy()
    with np.errstate(all="ignore"):
        shift = sample.mean(0, dtype=np.float64).astype(dtype)
    syrk = blas.dsyrk if dtype == np.float64 else blas.ssyrk
    ones, sums = np.ones(len(room.block), dtype), np.zeros(len(shift))
    with np.errstate(all="ignore"):
        for first, block in shifted_blocks(part, shift, room.block):
            sums += ones[: len(block)] @ block
            options = {"beta": float(first > 0), "lower": 1, "overwrite_c": 1}
            syrk(1.0, block.T, c=room.products, **options)
    return _Sums(shift.astype(np.float64), sums, room.products.T)


def _sums_on_gpu(part: Tensor) -> _Sums:
    """Sum up where the rows lie."""
    rows = part.detach().double()
    shift = rows[:: -(-len(rows) // _SAMPLE)].mean(0)
    rows = rows - shift
    return _Sums(*(x.cpu().numpy() for x in (shift, rows.sum(0), rows.mT @ rows)))
