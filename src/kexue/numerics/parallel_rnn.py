"""Nonlinear recurrences solved for all times in parallel, with exact gradients by one scan.

    x_t = f(x_(t-1), u_t),   t = 1 ... T

A loop over T tiny steps leaves a machine idle. Each iteration here treats all times at once, either
by a linear scan (`recurrence_solvers`, Newton's being the least iterations) or by pieces run side
by side (`recurrence_blocks`, the cheapest sweeps). The result counts as solved when its residual
says so. Where a method would take longer than the loop, or does not get there, the loop is run.

The gradient does not go through iterations. With J_t the Jacobians at the solution,

    l_t = g_t + J_(t+1)^T l_(t+1)

is linear: one scan from the end, and one backward pass of f for all times, whatever solved it.

Post: https://kexue.fm/archives/9783
Paper: https://arxiv.org/abs/2309.12252, sections 3.1 and 3.2
Axes: T times, "..." any batch axes, D features of a state, K features of an input
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.recurrence import Recurrence
from kexue.numerics.recurrence_adjoint import attach_gradient
from kexue.numerics.recurrence_cost import scan_pays, size_of
from kexue.numerics.recurrence_problem import METHODS, Problem


@dataclass(frozen=True, eq=False)
class RecurrenceResult:
    """States of a recurrence and how they were found.

    Attributes:
        states: [T, ..., D] x_1 ... x_T, differentiable by whatever f was made of.
        converged: the residual is within the tolerance, or the loop has been run.
        iterations: how many iterations were made, also if the loop was run after all.
        residual: the largest |x_t - f(x_(t-1), u_t)| / (1 + |x_t|) of the states; 0 of the loop.
        method: which method the states are from: "sequential" where the loop has been run.

    Example:
        >>> RecurrenceResult(torch.zeros(3, 1), True, 2, 1e-8, "newton").to_dict()
        {'converged': True, 'iterations': 2, 'residual': 1e-08, 'method': 'newton'}
    """

    states: Tensor
    converged: bool
    iterations: int
    residual: float
    method: str

    def to_dict(self) -> dict[str, bool | int | float | str]:
        """Give all but the states.

        Returns:
            A JSON object.
        """
        names = ("converged", "iterations", "residual", "method")
        return {name: getattr(self, name) for name in names}


def solve_recurrence(
    f: Callable[[Tensor, Tensor], Tensor] | Recurrence,
    x0: Tensor,
    inputs: Tensor,
    *,
    method: str = "newton",
    guess: Tensor | None = None,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    fallback: bool = True,
) -> RecurrenceResult:
    """Compute all states of x_t = f(x_(t-1), u_t).

    Args:
        f: the step, from [..., D] and [..., K] to [..., D], with any number of leading axes, which
            must not mix; or a `Recurrence`, which knows its Jacobian or its loop as well.
        x0: [..., D] the state before the first.
        inputs: [T, ..., K] u_1 ... u_T, T of 1 or more.
        method: "newton", "damped" (Newton's, held back far from the solution), "quasi" (the
            diagonal of the Jacobian), "improved" (the Jacobian at state 0), "simple" (at state 0
            and input 0), "jacobi" (none), "blockwise" (pieces side by side), "auto" (blockwise,
            then Newton's) or "sequential" (the loop).
        guess: [T, ..., D] states to begin with; by default those of pieces side by side that each
            begin at `x0`. "blockwise" and "auto" always begin so.
        tolerance: the residual to stop at; 32 roundings by default, 2 in half precision.
        max_iterations: by default 100, or as many as the loop would be worth if there are fewer
            and `fallback` is set.
        fallback: run the loop instead where the method would take longer at this size, and where
            it does not converge.

    Returns:
        The states, and how they were found.

    Raises:
        ValueError: if the shapes do not fit or an option is not allowed.

    Example:
        >>> a = torch.tensor([[0.0, -0.9], [0.9, 0.0]], requires_grad=True)
        >>> found = solve_recurrence(
        ...     lambda x, u: torch.tanh(x @ a.T + u), torch.zeros(2), torch.ones(5000, 2)
        ... )
        >>> found.method, found.converged
        ('newton', True)
        >>> found.states[-1]
        tensor([0.2405, 0.8386], grad_fn=<SelectBackward0>)
        >>> found.states.sum().backward()
        >>> a.grad.shape
        torch.Size([2, 2])
    """
    recurrence = f if isinstance(f, Recurrence) else Recurrence(f)
    _check(x0, inputs, guess, method)
    if max_iterations is not None and max_iterations < 1:
        raise invalid("max_iterations", max_iterations, "1 or more, or None")
    if tolerance is None:
        tolerance = torch.finfo(x0.dtype).eps * (2 if x0.dtype.itemsize == 2 else 32)
    limits = {"tolerance": tolerance, "most": max_iterations, "fallback": fallback}
    with torch.no_grad():
        problem = Problem(recurrence, x0.detach(), inputs.detach(), **limits)
        found = problem.solve(method, guess)
    if found is None or (fallback and not found.converged):
        count = 0 if found is None else found.iterations
        return RecurrenceResult(_loop(recurrence, x0, inputs), True, count, 0.0, "sequential")
    states, residual, count, converged, name = found
    if torch.is_grad_enabled():
        states = attach_gradient(recurrence, x0, inputs, states)
    return RecurrenceResult(states, converged, count, residual, name)


def _loop(recurrence: Recurrence, x0: Tensor, inputs: Tensor) -> Tensor:
    """Run the loop, and leave its gradient to autograd where a scan would take longer."""
    if not torch.is_grad_enabled() or not scan_pays(size_of(x0, len(inputs))):
        return recurrence.run(x0, inputs)
    with torch.no_grad():
        states = recurrence.run(x0, inputs)
    return attach_gradient(recurrence, x0, inputs, states)


def _check(x0: Tensor, inputs: Tensor, guess: Tensor | None, method: str) -> None:
    if method not in METHODS:
        raise invalid("method", method, ", ".join(map(repr, METHODS)))
    if not x0.ndim or not x0.numel() or not x0.is_floating_point():
        given = f"{x0.dtype} {tuple(x0.shape)}"
        raise invalid("x0", given, "[..., D] of floating point, no axis empty")
    batch = tuple(x0.shape[:-1])
    if inputs.ndim != x0.ndim + 1 or inputs.shape[1:-1] != batch or not len(inputs):
        allowed = f"[T, {', '.join(map(str, (*batch, 'K')))}] for x0 {tuple(x0.shape)}, T >= 1"
        fix = "Put the axis of time first, as with inputs.transpose(0, 1)."
        raise invalid("inputs", tuple(inputs.shape), allowed, fix)
    wanted = (len(inputs), *x0.shape)
    if guess is not None and guess.shape != wanted:
        raise invalid("guess", tuple(guess.shape), f"{wanted}, a state for each time")
