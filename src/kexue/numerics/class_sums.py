"""Weights, class means and the scatter within classes of one stretch of labelled rows.

A few hundred rows at a time are shifted, each by a sample of the mean of its class, so that their
products are as small as their spread and float32 is enough for them; the symmetric product of BLAS
sums them up in half the work of a plain one. With s_c the shifts and r_c the sums of shifted rows,

    m_c = s_c + r_c / n_c
    S = sum over rows of (x - s_c)^T (x - s_c) - sum over c of r_c^T r_c / n_c

Post: https://kexue.fm/archives/8578
Axes: R rows, D features, C classes
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import blas
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.labelled_rows import dtype_name, refuse_not_finite

_BLOCK = 2**19  # numbers that fit in a core's cache
_LEAST = 256  # rows below which a product of matrices is slow
_SAMPLE = 8  # rows of each class that its shift is the mean of


class Stretch(NamedTuple):
    """Rows that are summed up together.

    Attributes:
        rows: [R, D] array or tensor.
        codes: [R] the number of the class of each.
        roots: [R] roots of their weights, or None.
        first: the number of the first row, for messages.

    Example:
        >>> Stretch(np.zeros((1, 2)), np.zeros(1, int), None, 0).first
        0
    """

    rows: np.ndarray | Tensor
    codes: np.ndarray
    roots: np.ndarray | None
    first: int


class ClassSums(NamedTuple):
    """What there is to know of a stretch.

    Attributes:
        weights: [C] float64.
        means: [C, D] float64; 0 for a class without rows.
        scatter: [D, D] float64, within classes.
        rounding: relative rounding error of the products.

    Example:
        >>> ClassSums(np.ones(1), np.zeros((1, 1)), np.zeros((1, 1)), 1e-16).rounding
        1e-16
    """

    weights: np.ndarray
    means: np.ndarray
    scatter: np.ndarray
    rounding: float


def class_sums(stretch: Stretch, classes: int, *, double: bool) -> ClassSums:
    """Sum a stretch up; where float32 overflows, once more in float64.

    Args:
        stretch: the rows.
        classes: C.
        double: compute in float64 whatever the dtype of the rows.

    Returns:
        The sums.

    Raises:
        ValueError: if a row is not finite.

    Example:
        >>> stretch = Stretch(np.array([[1.0], [3.0], [9.0]]), np.array([0, 0, 1]), None, 0)
        >>> class_sums(stretch, 2, double=False).scatter
        array([[2.]])
    """
    # TF32, which a program may have allowed on a GPU, would round to 10 bits.
    on_gpu = isinstance(stretch.rows, Tensor) and stretch.rows.is_cuda
    wide = double or on_gpu or dtype_name(stretch.rows) == "float64"
    for dtype in (np.float64,) if wide else (np.float32, np.float64):
        found = _on_device(stretch, classes) if on_gpu else _in_blocks(stretch, classes, dtype)
        if np.isfinite(found.scatter.diagonal()).all():
            return found
        refuse_not_finite(stretch.rows, stretch.first)
    raise invalid("x", "too large to be squared", "numbers below 1e150")


def _in_blocks(stretch: Stretch, classes: int, dtype: type) -> ClassSums:
    rows = stretch.rows
    if isinstance(rows, Tensor):
        # numpy has no bfloat16.
        rows = rows.detach().cpu().to(torch.promote_types(rows.dtype, torch.float32)).numpy()
    with np.errstate(all="ignore"):
        shift = _sample_means(rows, stretch.codes, classes).astype(dtype)
        width = rows.shape[1]
        sums, weights = np.zeros((classes, width)), np.zeros(classes)
        products = np.zeros((width, width), dtype, order="F")
        syrk = blas.dsyrk if dtype == np.float64 else blas.ssyrk
        step = max(_LEAST, _BLOCK // width)
        room = np.empty((min(step, len(rows)), width), dtype)
        for start in range(0, len(rows), step):
            codes = stretch.codes[start : start + step]
            # "clip" spares a copy; all codes are there.
            block = np.take(shift, codes, axis=0, out=room[: len(codes)], mode="clip")
            np.subtract(rows[start : start + step], block, out=block)
            if stretch.roots is None:
                weights += np.bincount(codes, minlength=classes)
                sums += _sum_by_class(block, codes, classes)
            else:
                roots = stretch.roots[start : start + step]
                weights += np.bincount(codes, roots**2, classes)
                block *= roots[:, None]
                sums += _sum_by_class(block * roots[:, None], codes, classes)
            syrk(1.0, block.T, beta=1.0, c=products, lower=1, overwrite_c=1)
        # Only one half has been written to; the other one is 0.
        scatter = (products + products.T).astype(np.float64, order="C")
        scatter[np.diag_indices(width)] /= 2
        return _about_means(weights, shift, sums, scatter, float(np.finfo(dtype).eps))


def _on_device(stretch: Stretch, classes: int) -> ClassSums:
    """Sum up where the rows lie, in float64."""
    rows = stretch.rows.detach().double()
    codes = torch.from_numpy(stretch.codes).to(rows.device)
    roots = torch.ones(len(rows), dtype=rows.dtype, device=rows.device)
    if stretch.roots is not None:
        roots = torch.from_numpy(stretch.roots).to(rows.device)
    one_hot = torch.zeros(len(rows), classes, dtype=rows.dtype, device=rows.device)
    one_hot[torch.arange(len(rows), device=rows.device), codes] = roots
    plain = (one_hot != 0).to(rows)
    shift = plain.mT @ rows / plain.sum(0).clamp(min=1)[:, None]
    block = (rows - shift[codes]) * roots[:, None]
    found = ((one_hot**2).sum(0), shift, one_hot.mT @ block, block.mT @ block)
    return _about_means(*(x.cpu().numpy() for x in found), float(np.finfo(np.float64).eps))


def _about_means(
    weights: np.ndarray, shift: np.ndarray, sums: np.ndarray, scatter: np.ndarray, rounding: float
) -> ClassSums:
    """Go from sums about the shifts to sums about the means."""
    safe = np.where(weights > 0, weights, 1.0)[:, None]
    scaled = sums / np.sqrt(safe)
    means = np.where(weights[:, None] > 0, shift.astype(np.float64) + sums / safe, 0.0)
    whole, rank_c = torch.from_numpy(scatter), torch.from_numpy(scaled)
    return ClassSums(weights, means, whole.addmm_(rank_c.mT, rank_c, alpha=-1).numpy(), rounding)


def _sum_by_class(rows: np.ndarray, codes: np.ndarray, classes: int) -> np.ndarray:
    """Sum rows [R, D] up to [C, D]."""
    sums = torch.zeros(classes, rows.shape[1], dtype=torch.from_numpy(rows).dtype)
    return sums.index_add_(0, torch.from_numpy(codes), torch.from_numpy(rows)).numpy()


def _sample_means(rows: np.ndarray, codes: np.ndarray, classes: int) -> np.ndarray:
    """Average the first few rows of each class; 0 where there are none."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    chosen = order[rank < _SAMPLE]
    counts = np.bincount(codes[chosen], minlength=classes)
    sums = _sum_by_class(rows[chosen].astype(np.float64), codes[chosen], classes)
    return sums / np.maximum(counts, 1)[:, None]
