"""A matrix of any kind, read a block of shifted rows at a time.

numpy arrays, memory maps and tensors on any device go through the same few steps: a block of rows
minus a vector lands in a buffer that stays in a core's cache, and the pages of a memory map that
have been read are handed back, so that a file larger than the memory can be gone through.

Post: https://kexue.fm/archives/8069
Axes: N rows, D columns
"""

import mmap
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kexue._check import invalid

_BLOCK = 2**18  # numbers in a buffer, a megabyte of float32
_AROUND = 2**22  # bytes, two huge pages
_LEAST = 256  # rows below which a product of matrices is slow, however wide they are


def check_matrix(x: np.ndarray | Tensor, width: int | None) -> None:
    """Refuse what is not a matrix of floating-point numbers.

    Args:
        x: what was given.
        width: D, or None where any number of columns will do.

    Raises:
        ValueError: if it is no array or tensor, has another shape, or holds other numbers.

    Example:
        >>> check_matrix(np.zeros((3, 2), int), None)
        Traceback (most recent call last):
        ValueError: the dtype of x is 'int64'; allowed: float16, bfloat16, float32 or float64. ...
    """
    if not isinstance(x, np.ndarray | Tensor):
        allowed = "a numpy array or a torch tensor"
        raise invalid("x", type(x), allowed, "Write np.asarray(x, np.float32) for a list.")
    if x.ndim != 2 or x.shape[1] != (width or x.shape[1]) or not x.shape[1]:
        allowed = f"[N, {width or 'D'}]"
        fix = "Write x[None] for a single vector." if x.ndim == 1 else ""
        raise ValueError(f"x has shape {tuple(x.shape)}; allowed: {allowed}. {fix}".strip())
    if _dtype_name(x) not in ("float16", "bfloat16", "float32", "float64"):
        allowed = "float16, bfloat16, float32 or float64"
        raise invalid("the dtype of x", _dtype_name(x), allowed, "Convert it to float32 first.")


def _dtype_name(x: np.ndarray | Tensor) -> str:
    return str(x.dtype).removeprefix("torch.") if isinstance(x, Tensor) else x.dtype.name


def work_dtype(x: np.ndarray | Tensor) -> np.dtype:
    """Choose the precision to compute in: float64 for float64, float32 for anything narrower.

    Args:
        x: [N, D] the matrix.

    Returns:
        The dtype, of numpy.

    Example:
        >>> work_dtype(torch.zeros(1, 1, dtype=torch.bfloat16))
        dtype('float32')
    """
    return np.dtype(np.float64 if _dtype_name(x) == "float64" else np.float32)


def on_gpu(x: np.ndarray | Tensor) -> bool:
    """Tell whether a matrix is better worked on where it lies.

    Args:
        x: the matrix.

    Returns:
        True for a tensor on a CUDA device.

    Example:
        >>> on_gpu(torch.zeros(1, 1))
        False
    """
    return isinstance(x, Tensor) and x.device.type == "cuda"


def block_rows(width: int) -> int:
    """Count the rows of a block: as many as fit in a core's cache.

    Args:
        width: D.

    Returns:
        The number of rows.

    Example:
        >>> block_rows(768)
        341
    """
    return max(_LEAST, _BLOCK // width)


def shifted_blocks(
    x: np.ndarray | Tensor, shift: np.ndarray, room: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Go through the rows of a matrix that is not on a GPU, less a vector.

    Args:
        x: [N, D] the matrix.
        shift: [D] what to subtract from each row.
        room: [R, D] a buffer of the dtype to compute in; what it held is lost.

    Yields:
        The number of the first row, and the next rows minus `shift`, up to R of them. They lie in
        `room` and are overwritten by the next ones.

    Example:
        >>> x = np.arange(6.0).reshape(3, 2)
        >>> [(i, b.tolist()) for i, b in shifted_blocks(x, np.array([1.0, 1.0]), np.empty((2, 2)))]
        [(0, [[-1.0, 0.0], [1.0, 2.0]]), (2, [[3.0, 4.0]])]
    """
    for start in range(0, len(x), len(room)):
        part = x[start : start + len(room)]
        block = room[: len(part)]
        if isinstance(part, Tensor):
            subtrahend = torch.from_numpy(shift)
            torch.sub(part.detach().cpu(), subtrahend, out=torch.from_numpy(block))
        else:
            # What is not finite in x is found, and named, later
            with np.errstate(invalid="ignore", over="ignore"):
                np.subtract(part, shift, out=block)
            hand_back(part)
        yield start, block


def hand_back(rows: np.ndarray) -> None:
    """Tell the system that the pages of a memory map under some rows are not needed for now.

    They would be counted as memory of this process until it ends, and be read again from the file,
    or its cache, if need be. Nothing is done for an array that is no memory map, and nothing for a
    private map (mode "c"), whose changes are nowhere else.

    Args:
        rows: consecutive rows of the map.

    Example:
        >>> hand_back(np.zeros((2, 2)))
    """
    whole = rows
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    mapped = whole.base
    shared = isinstance(whole, np.memmap) and whole.mode != "c"
    if not (shared and isinstance(mapped, mmap.mmap) and hasattr(mapped, "madvise")):
        return
    if rows.flags.c_contiguous and rows.nbytes:
        begin = rows.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
        # With a page the system may map a whole huge one, of rows that were handed back before too:
        # so from further back. Pages of others in use come again when they are read.
        start = max(0, begin - _AROUND)
        start -= start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_DONTNEED, start, begin + rows.nbytes - start)
