"""What a loop over time and one parallel iteration cost, so that nobody waits for the dearer one.

    loop         T (call + N row)
    sweep        sqrt(T) call + T N row + 2 rounds
    newton       log2(T) round + T N (row + D^2 + D^3 products)

On a CPU the constants are microseconds, measured on one core; it is their ratios that matter. On a
GPU launches are counted and arithmetic is not.

Post: https://kexue.fm/archives/9783
Axes: T times, N recurrences side by side, D features of a state
"""

import math
from typing import NamedTuple

from torch import Tensor

from kexue.numerics.recurrence_blocks import piece_length

_CALL, _NATIVE_CALL = 12.0, 4.0  # a step in Python, and in the kernels behind torch.nn
_ROUND, _BACK_STEP = 60.0, 9.0  # one halving of a scan; a step of the loop from the end
_PULL_BACK = 60.0  # a step of the same, without its matrix


class Size(NamedTuple):
    """How large a recurrence is.

    Attributes:
        times: T.
        rows: N.
        width: D.
        launches_only: arithmetic costs nothing, as on a GPU that is not full.

    Example:
        >>> Size(16384, 1, 4, False).times
        16384
    """

    times: int
    rows: int
    width: int
    launches_only: bool


def size_of(state: Tensor, times: int) -> Size:
    """Measure a recurrence.

    Args:
        state: [..., D] one time's states.
        times: T.

    Returns:
        Its size.

    Example:
        >>> import torch
        >>> size_of(torch.zeros(8, 4), 100)
        Size(times=100, rows=8, width=4, launches_only=False)
    """
    rows, width = math.prod(state.shape[:-1]), state.shape[-1]
    return Size(times, rows, width, state.device.type != "cpu")


def affordable_iterations(method: str, size: Size, *, native: bool = False) -> int:
    """Count the iterations that take as long as the loop.

    Args:
        method: as for `solve_recurrence`, other than "auto" and "sequential".
        size: of the recurrence.
        native: the loop is a kernel, not one step after another in Python.

    Returns:
        0 where so few could be afforded that they are not worth beginning.

    Example:
        >>> affordable_iterations("newton", Size(16384, 1, 4, False)) > 20
        True
        >>> affordable_iterations("newton", Size(100, 1, 4, False))
        0
        >>> affordable_iterations("newton", Size(16384, 64, 64, False))
        0
    """
    call = _NATIVE_CALL if native else _CALL
    states = 0 if size.launches_only else size.times * size.rows
    few, many = 0.003 + 0.006 * size.width, 3e-5 * size.width**2
    # A step of a few rows reads the weights for these few alone.
    work, loop_work = states * (few + many), states * (few + 2 * many)
    loop = size.times * call + loop_work
    costs = {
        # Pieces are laid side by side and back, and looked at from Python.
        "blockwise": piece_length(size.times) * call + 1.3 * work + 2 * _ROUND,
        "jacobi": _ROUND + 2 * work,
        "quasi": 2 * scan_cost(size, diagonal=True) + 3 * work + size.width * _CALL,
    }
    cost = costs.get(method, scan_cost(size) + 3 * work + size.width * _CALL)
    # Two are often enough, and a little less than three is worth to begin with.
    count = int(loop / cost + 0.6)
    return count if count >= 3 else 0


def scan_cost(size: Size, *, diagonal: bool = False) -> float:
    """Estimate how long one scan takes.

    Args:
        size: of the recurrence.
        diagonal: its matrices are diagonal.

    Returns:
        Microseconds, of one core or of nothing but launches.

    Example:
        >>> scan_cost(Size(16384, 1, 4, False)) < scan_cost(Size(16384, 1, 16, False))
        True
    """
    width = size.width
    each = 0.02 * width if diagonal else 5e-3 * width**2 + 1e-4 * width**3
    work = 0.0 if size.launches_only else size.times * size.rows * each
    return _ROUND * (1 + math.log2(size.times)) + work


def scan_pays(size: Size) -> bool:
    """Tell whether a scan of matrices is faster than the loop of matrix times vector.

    Args:
        size: of the recurrence.

    Returns:
        True for a long recurrence of few features.

    Example:
        >>> scan_pays(Size(16384, 1, 4, False)), scan_pays(Size(512, 64, 64, False))
        (True, False)
    """
    row = 0.0 if size.launches_only else 1e-3 * size.width**2
    return scan_cost(size) < size.times * (_BACK_STEP + size.rows * row)


def scan_is_cheap(size: Size) -> bool:
    """Tell whether a scan of matrices is faster than the few sweeps back that may do instead.

    Args:
        size: of the recurrence.

    Returns:
        True for few features.

    Example:
        >>> scan_is_cheap(Size(16384, 1, 4, False)), scan_is_cheap(Size(16384, 1, 64, False))
        (True, False)
    """
    row = 0.0 if size.launches_only else 0.06 + 2.4e-4 * size.width**2
    sweep = piece_length(size.times) * _PULL_BACK + size.times * size.rows * row
    return scan_cost(size) < 3 * sweep
