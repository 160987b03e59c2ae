"""Iterations that solve a nonlinear recurrence for all times at once, each by one linear scan.

    r_t = f(x_(t-1), u_t) - x_t,   d_t = J_t d_(t-1) + r_t,   d_0 = 0,   x_t <- x_t + d_t

They differ in J alone. In exact arithmetic each ends within T iterations, since n of them make n
states exact, whatever J is:

    newton      the Jacobian of f at x_(t-1), u_t                (DEER) few iterations, D^3 each
    damped      it times 1 - min(mean |r_t| / (1 + |x_t|), 1/2)  held back where far off
    quasi       its diagonal                                     more iterations, D each
    improved    the Jacobian at 0, u_t                           found once
    simple      the Jacobian at 0, 0: A for f = tanh(A x + u)    the article's; small states only
    jacobi      0                                                as long as the memory of f

A residual is what they stop on. That two iterates agree proves nothing where they are clipped.
The damped form is Newton's near the solution, and keeps the bound of T iterations. It takes fewer
where a network is a little unstable; far from stability it may take more.

Post: https://kexue.fm/archives/9783
Paper: https://arxiv.org/abs/2309.12252, section 3; https://arxiv.org/abs/2407.19115 on damping
Axes: T times, "..." any batch axes, D features of a state, K features of an input
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from kexue.numerics.recurrence import Recurrence, Trajectory, before, largest_residual
from kexue.numerics.scan_orders import scan_diagonals, scan_matrices

Correction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x before, f of it, residuals) to what is added to the states."""


def iterate(
    correct: Correction,
    recurrence: Recurrence,
    guess: Tensor,
    *,
    start: Tensor,
    inputs: Tensor,
    tolerance: float,
    most: int,
) -> Trajectory:
    """Correct states until they satisfy the recurrence.

    Args:
        correct: one of those that `corrections` makes.
        recurrence: the step.
        guess: [T, ..., D] states to begin with.
        start: [..., D] x_0.
        inputs: [T, ..., K].
        tolerance: the residual to stop at.
        most: how many corrections may be made; 0 only measures.

    Returns:
        The last states with their own residual.

    Example:
        >>> halve = Recurrence(lambda x, u: 0.5 * x + u)
        >>> x0, u = torch.zeros(1), torch.ones(64, 1)
        >>> newton = corrections(halve, "newton", x0, u)
        >>> found = iterate(
        ...     newton, halve, torch.zeros(64, 1), start=x0, inputs=u, tolerance=1e-6, most=9
        ... )
        >>> found.iterations, found.converged
        (1, True)
    """
    states, count = guess, 0
    while True:
        previous = before(states, start)
        stepped = recurrence.step(previous, inputs)
        residual = largest_residual(states, stepped)
        if residual <= tolerance or count == most:
            return Trajectory(states, residual, count, residual <= tolerance)
        if not math.isfinite(residual):
            # What an unstable scan has thrown out of the numbers begins anew, from 0.
            states = states.nan_to_num(0.0, 0.0, 0.0)
            previous = before(states, start)
            stepped = recurrence.step(previous, inputs)
        states = states + correct(previous, stepped, stepped - states)
        count += 1


def corrections(recurrence: Recurrence, method: str, start: Tensor, inputs: Tensor) -> Correction:
    """Make the correction of a method.

    Args:
        recurrence: the step.
        method: "newton", "damped", "quasi", "improved", "simple" or "jacobi".
        start: [..., D] x_0, of which the shape counts.
        inputs: [T, ..., K].

    Returns:
        The function that `iterate` calls.

    Example:
        >>> halve = Recurrence(lambda x, u: 0.5 * x + u)
        >>> x0, u = torch.zeros(1), torch.ones(3, 1)
        >>> simple = corrections(halve, "simple", x0, u)
        >>> simple(torch.zeros(3, 1), torch.ones(3, 1), torch.ones(3, 1)).flatten()
        tensor([1.0000, 1.5000, 1.7500])
    """
    nothing = torch.zeros_like(start)

    def newton(x: Tensor, y: Tensor, missed: Tensor) -> Tensor:
        return scan_matrices(recurrence.linearise(x, inputs, y), missed, nothing)

    def quasi(x: Tensor, y: Tensor, missed: Tensor) -> Tensor:
        diagonal = recurrence.linearise(x, inputs, y).diagonal(dim1=-2, dim2=-1)
        return scan_diagonals(diagonal, missed, nothing)

    def fixed(given: Tensor) -> Correction:
        states = start.new_zeros((len(given), *start.shape))
        matrices = recurrence.linearise(states, given, recurrence.step(states, given))
        matrices = matrices.expand(len(inputs), *matrices.shape[1:])
        return lambda _x, _y, missed: scan_matrices(matrices, missed, nothing)

    def damped(x: Tensor, y: Tensor, missed: Tensor) -> Tensor:
        far = (missed.abs() / (1 + (y - missed).abs())).mean().clamp(max=0.5)
        return scan_matrices(recurrence.linearise(x, inputs, y) * (1 - far), missed, nothing)

    makers: dict[str, Callable[[], Correction]] = {
        "newton": lambda: newton,
        "damped": lambda: damped,
        "quasi": lambda: quasi,
        "improved": lambda: fixed(inputs),
        "simple": lambda: fixed(torch.zeros_like(inputs[:1])),
        "jacobi": lambda: lambda _x, _y, missed: missed,
    }
    return makers[method]()
