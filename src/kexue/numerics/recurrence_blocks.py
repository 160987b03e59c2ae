"""Blockwise iteration: long pieces of a recurrence run side by side, from guessed beginnings.

    x^n in piece c = the loop from x^(n-1) at the end of piece c - 1

This is the Jacobi iteration of the recurrence whose steps are L steps of the given one. A sweep
costs L calls instead of T, and no Jacobian; where the recurrence forgets as fast as r^t, each sweep
takes the error down by r^L. After n sweeps the first n pieces are exact in any case.

Post: https://kexue.fm/archives/9783
Axes: T times, C pieces of L times, "..." any batch axes, D features, K features of an input
"""

import math

import torch
from torch import Tensor

from kexue.numerics.recurrence import Recurrence, Trajectory, largest_residual


def piece_length(times: int) -> int:
    """Choose L, near the square root of T.

    Args:
        times: T, 1 or more.

    Returns:
        A power of two.

    Example:
        >>> piece_length(16384), piece_length(100), piece_length(1)
        (128, 8, 1)
    """
    return 2 ** round(math.log2(times) / 2)


def sweep(recurrence: Recurrence, starts: Tensor, inputs: Tensor, length: int) -> Tensor:
    """Run all pieces side by side.

    Args:
        recurrence: the step, with its loop.
        starts: [C, ..., D] the state before each piece, C being T / L rounded up.
        inputs: [T, ..., K].
        length: L.

    Returns:
        [T, ..., D].

    Example:
        >>> count = Recurrence(lambda x, u: x + u)
        >>> sweep(count, torch.tensor([[0.0], [9.0]]), torch.ones(4, 1), 2).flatten()
        tensor([ 1.,  2., 10., 11.])
    """
    times, pieces = len(inputs), len(starts)
    if pieces * length > times:
        filler = inputs[-1:].expand(pieces * length - times, *inputs.shape[1:])
        inputs = torch.cat((inputs, filler))
    side_by_side = inputs.unflatten(0, (pieces, length)).transpose(0, 1)
    states = recurrence.run(starts, side_by_side)
    return states.transpose(0, 1).flatten(0, 1)[:times]


def solve_blockwise(
    recurrence: Recurrence,
    start: Tensor,
    inputs: Tensor,
    *,
    tolerance: float,
    most: int,
    patient: bool = False,
) -> Trajectory:
    """Sweep until the pieces fit together, or are seen not to in time.

    Args:
        recurrence: the step.
        start: [..., D] x_0.
        inputs: [T, ..., K].
        tolerance: the residual to stop at.
        most: how many sweeps may be made, 1 or more.
        patient: make them all, also where the residual falls too slowly to get there.

    Returns:
        The states of the last sweep. Within pieces the residual is 0, so that it is measured at
        their beginnings.

    Example:
        >>> halve = Recurrence(lambda x, u: 0.5 * x + u)
        >>> found = solve_blockwise(
        ...     halve, torch.zeros(1), torch.ones(1024, 1), tolerance=1e-6, most=9
        ... )
        >>> found.iterations, found.converged, found.states[-1].item()
        (2, True, 2.0)
    """
    length = piece_length(len(inputs))
    starts = start.unsqueeze(0).repeat(-(-len(inputs) // length), *[1] * start.ndim)
    residual = math.inf
    for count in range(1, most + 1):
        states, last = sweep(recurrence, starts, inputs, length), residual
        starts = torch.cat((start.unsqueeze(0), states[length - 1 : -1 : length]))
        if len(starts) == 1:
            return Trajectory(states, 0.0, count, True, "blockwise")
        residual = largest_residual(states[::length], recurrence.step(starts, inputs[::length]))
        if residual <= tolerance:
            break
        if not patient and _is_hopeless(residual, last, tolerance, most - count):
            break
    return Trajectory(states, residual, count, residual <= tolerance, "blockwise")


def _is_hopeless(residual: float, last: float, tolerance: float, left: int) -> bool:
    """Tell whether the sweeps left are too few, if each gains what the last one did."""
    if not math.isfinite(last):
        # There is nothing to compare the first sweep with.
        return not math.isfinite(residual)
    return not residual * (residual / last) ** left <= tolerance
