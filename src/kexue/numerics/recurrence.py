"""A nonlinear recurrence: its step, and what more is known of it.

    x_t = f(x_(t-1), u_t),   t = 1 ... T

The step alone will do. A Jacobian written by hand saves D backward passes of autograd, and a loop
of one's own, such as the kernel behind `torch.nn.RNN`, is faster than one step after another.

Post: https://kexue.fm/archives/9783
Axes: T times, "..." any batch axes, D features of a state, K features of an input
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Recurrence:
    """A step with, where they are known, its derivatives and its loop.

    Attributes:
        step: f(x, u), from [..., D] and [..., K] to [..., D], with any number of leading axes that
            do not mix; it is called for many times at once.
        jacobian: (x, u, f(x, u)) to [..., D, D], the derivatives of f by x; autograd by default.
        pullback: (x, u, f(x, u), l) to [..., D], the transposed Jacobian times l [..., D]; autograd
            by default.
        unroll: (x_0, u) with x_0 [..., D] and u [T, ..., K] to all states [T, ..., D], one step
            after another; a loop of `step` by default.

    Example:
        >>> halve = Recurrence(lambda x, u: 0.5 * x + u)
        >>> halve.linearise(torch.zeros(2, 1), torch.ones(2, 1), torch.ones(2, 1)).flatten()
        tensor([0.5000, 0.5000])
    """

    step: Callable[[Tensor, Tensor], Tensor]
    jacobian: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    pullback: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None
    unroll: Callable[[Tensor, Tensor], Tensor] | None = None

    def linearise(self, x: Tensor, inputs: Tensor, y: Tensor) -> Tensor:
        """Compute the derivatives of the step.

        Args:
            x: [..., D] states.
            inputs: [..., K].
            y: [..., D] f(x, inputs).

        Returns:
            [..., D, D], entry i, j being the derivative of feature i of f by feature j of x.
        """
        if self.jacobian is not None:
            with torch.no_grad():
                return self.jacobian(x, inputs, y)
        return _differentiate(self.step, x, inputs)

    def pull_back(self, x: Tensor, inputs: Tensor, y: Tensor, felt: Tensor) -> Tensor:
        """Carry a gradient by the next states back to the states.

        Args:
            x: [..., D] states.
            inputs: [..., K].
            y: [..., D] f(x, inputs).
            felt: [..., D] the gradient by y.

        Returns:
            [..., D] the gradient by x.
        """
        if self.pullback is not None:
            with torch.no_grad():
                return self.pullback(x, inputs, y, felt)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = self.step(x, inputs.detach())
            if not y.requires_grad:
                return torch.zeros_like(x)
            (by_x,) = torch.autograd.grad(y, x, felt, allow_unused=True, materialize_grads=True)
        return by_x

    def run(self, start: Tensor, inputs: Tensor) -> Tensor:
        """Compute all states one after another.

        Args:
            start: [..., D] x_0.
            inputs: [T, ..., K].

        Returns:
            [T, ..., D] x_1 ... x_T.
        """
        if self.unroll is not None:
            return self.unroll(start, inputs)
        states, state = [], start
        for given in inputs.unbind(0):
            state = self.step(state, given)
            states.append(state)
        return torch.stack(states)


class Trajectory(NamedTuple):
    """States that a method arrived at.

    Attributes:
        states: [T, ..., D].
        residual: the largest of |x_t - f(x_(t-1), u_t)| / (1 + |x_t|); nan where a state is none.
        iterations: how many the method took.
        converged: the residual is within the tolerance.
        method: what found them.

    Example:
        >>> Trajectory(torch.zeros(1, 1), 0.0, 1, True).converged
        True
    """

    states: Tensor
    residual: float
    iterations: int
    converged: bool
    method: str = ""


def before(states: Tensor, start: Tensor) -> Tensor:
    """Shift states by one time.

    Args:
        states: [T, ...] x_1 ... x_T.
        start: [...] x_0.

    Returns:
        [T, ...] x_0 ... x_(T-1).

    Example:
        >>> before(torch.tensor([1, 2, 3]), torch.tensor(0))
        tensor([0, 1, 2])
    """
    return torch.cat((start.unsqueeze(0), states[:-1]))


def largest_residual(states: Tensor, stepped: Tensor) -> float:
    """Measure by how much states miss the recurrence.

    Args:
        states: [...] x_t.
        stepped: [...] f(x_(t-1), u_t).

    Returns:
        The largest |x - f| / (1 + |x|); nan or inf where a number is not finite.

    Example:
        >>> largest_residual(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        0.5
    """
    missed = (stepped - states).abs_().div_(states.abs().add_(1))
    return missed.max().item()


def _differentiate(step: Callable[[Tensor, Tensor], Tensor], x: Tensor, inputs: Tensor) -> Tensor:
    """Compute the Jacobian row by row, each with one backward pass for all times."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = step(x, inputs.detach())
        if not y.requires_grad:
            return x.new_zeros((*y.shape, x.shape[-1]))
        rows = [
            torch.autograd.grad(
                part.sum(), x, retain_graph=True, allow_unused=True, materialize_grads=True
            )[0]
            for part in y.unbind(-1)
        ]
    return torch.stack(rows, -2)
