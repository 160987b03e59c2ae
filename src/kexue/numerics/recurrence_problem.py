"""A recurrence to be solved, by a method and for as long as it is worth it.

    auto = blockwise while the residual falls fast enough, then newton for half of what the loop
           would take

A method that needs a guess begins with pieces run side by side, which is right from wherever the
recurrence has forgotten how a piece began.

Post: https://kexue.fm/archives/9783
Axes: T times, "..." any batch axes, D features of a state, K features of an input
"""

from dataclasses import dataclass

from torch import Tensor

from kexue.numerics.recurrence import Recurrence, Trajectory
from kexue.numerics.recurrence_blocks import piece_length, solve_blockwise, sweep
from kexue.numerics.recurrence_cost import affordable_iterations, size_of
from kexue.numerics.recurrence_solvers import corrections, iterate

METHODS = (
    *("newton", "damped", "quasi", "improved", "simple", "jacobi"),
    *("blockwise", "auto", "sequential"),
)
_MOST = 100


@dataclass(frozen=True, eq=False)
class Problem:
    """A recurrence to be solved, and how far to go.

    Attributes:
        recurrence: the step.
        start: [..., D] x_0.
        inputs: [T, ..., K].
        tolerance: the residual to stop at.
        most: how many iterations may be made; 100 where it is None.
        fallback: the loop may be run instead, so that no more are made than it is worth.

    Example:
        >>> import torch
        >>> halve = Recurrence(lambda x, u: 0.5 * x + u)
        >>> problem = Problem(
        ...     halve,
        ...     torch.zeros(1),
        ...     torch.ones(5000, 1),
        ...     tolerance=1e-6,
        ...     most=None,
        ...     fallback=True,
        ... )
        >>> problem.solve("blockwise", None).iterations
        2
    """

    recurrence: Recurrence
    start: Tensor
    inputs: Tensor
    tolerance: float
    most: int | None
    fallback: bool

    def solve(self, method: str, guess: Tensor | None) -> Trajectory | None:
        """Solve by a method.

        Args:
            method: one of METHODS.
            guess: [T, ..., D] states to begin with, or None.

        Returns:
            What was found, converged or not; None where the loop is known to be faster.
        """
        if method == "sequential":
            return None
        if method != "auto":
            most = self._worth(method)
            return self._iterate(method, guess, most) if most else None
        sweeps, scans = self._worth("blockwise"), self._worth("newton", share=2)
        first = self._iterate("blockwise", None, sweeps) if sweeps else None
        if (first is not None and first.converged) or not scans:
            return first
        if first is None:
            return self._iterate("newton", None, scans)
        second = self._iterate("newton", first.states.nan_to_num(0.0, 0.0, 0.0), scans)
        return second._replace(iterations=first.iterations + second.iterations)

    def _worth(self, method: str, *, share: int = 1) -> int:
        """Count the iterations to make before the loop would have been faster."""
        most = _MOST if self.most is None else self.most
        if not self.fallback:
            return most
        size = size_of(self.start, len(self.inputs))
        native = self.recurrence.unroll is not None
        # Two would be a guess and its confirmation.
        worth = affordable_iterations(method, size, native=native) // share
        return min(most, worth) if worth >= 3 else 0

    def _iterate(self, method: str, guess: Tensor | None, most: int) -> Trajectory:
        given = {"start": self.start, "inputs": self.inputs}
        until = {"tolerance": self.tolerance, "most": most}
        if method == "blockwise":
            return solve_blockwise(self.recurrence, **given, **until, patient=not self.fallback)
        guess = self._guess() if guess is None else guess
        correct = corrections(self.recurrence, method, **given)
        found = iterate(correct, self.recurrence, guess, **given, **until)
        return found._replace(method=method)

    def _guess(self) -> Tensor:
        """Run pieces side by side, each from x_0."""
        length = piece_length(len(self.inputs))
        pieces = -(-len(self.inputs) // length)
        starts = self.start.expand(pieces, *self.start.shape)
        return sweep(self.recurrence, starts, self.inputs, length).nan_to_num(0.0, 0.0, 0.0)
