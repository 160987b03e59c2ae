"""Scores and their gradients at points of the straight path from a baseline to an input.

Points go through the function a few at a time, so that memory does not grow with their number.

Post: https://kexue.fm/archives/7533
Axes: B examples, N points, K chosen examples, n points at once, "..." the axes of one example
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kexue._check import invalid


class GradientPath:
    """Straight paths from baselines to inputs, and a score along them.

    Args:
        f: takes [n, ...] inputs and what is given with them, and returns [n] scores.
        x: [B, ...] ends of the paths.
        baseline: their beginnings, of a shape that broadcasts to that of `x`; zeros for None.
        given: [B, ...] tensors that go with each input.
        chunk_size: points that go through `f` at once.

    Raises:
        ValueError: if the baseline or what is given does not fit the inputs.

    Example:
        >>> path = GradientPath(lambda x: (x**2).sum(-1), torch.ones(1, 2), None, (), 8)
        >>> path.evaluate(torch.tensor([0.5]), torch.tensor([0]))
        (tensor([[1., 1.]]), tensor([0.5000]))
    """

    def __init__(
        self,
        f: Callable[..., Tensor],
        x: Tensor,
        baseline: Tensor | None,
        given: Sequence[Tensor],
        chunk_size: int,
    ) -> None:
        self.f, self.chunk_size = f, chunk_size
        self.x = x.detach()
        self.baseline = _fitting(baseline, self.x)
        self.given = tuple(given)
        for tensor in self.given:
            if tensor.shape[:1] != x.shape[:1]:
                allowed = f"tensors of {len(x)} rows, one for each input"
                raise invalid("given", f"a tensor {tuple(tensor.shape)}", allowed)
        self.eps = torch.finfo(x.dtype).eps
        # Sums over many nodes would lose what half precision has left.
        self.exact = torch.promote_types(x.dtype, torch.float32)
        self.difference = self.x.to(self.exact) - self.baseline.to(self.exact)

    def of(self, rows: Tensor) -> "GradientPath":
        """Choose some of the paths.

        Args:
            rows: [K] their numbers.

        Returns:
            A new object.
        """
        given = [tensor[rows] for tensor in self.given]
        return GradientPath(self.f, self.x[rows], self.baseline[rows], given, self.chunk_size)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Score both ends of each path.

        Returns:
            [B] scores of the inputs, and [B] of the baselines.
        """
        both = []
        with torch.no_grad():
            for points in (self.x, self.baseline):
                rows = range(0, len(points), self.chunk_size)
                parts = [slice(first, first + self.chunk_size) for first in rows]
                scores = [self._score(points[p], [g[p] for g in self.given]) for p in parts]
                both.append(torch.cat(scores).to(self.exact))
        return both[0], both[1]

    def evaluate(self, places: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Compute scores and gradients at points of some paths.

        Args:
            places: [N] where on its path each point is, 0 the baseline and 1 the input.
            chosen: [N] the number of its path.

        Returns:
            [N, ...] gradients and [N] scores, in at least float32.

        Raises:
            ValueError: if the scores cannot be differentiated.
        """
        slopes = self.difference.new_empty(len(places), *self.x.shape[1:])
        scores = self.difference.new_empty(len(places))
        for first in range(0, len(places), self.chunk_size):
            part = slice(first, first + self.chunk_size)
            slopes[part], scores[part] = self._slopes(places[part], chosen[part])
        return slopes, scores

    def _slopes(self, at: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiate the scores of [n] points."""
        # What was made in inference mode cannot be differentiated, not even outside of it.
        with torch.inference_mode(False), torch.enable_grad():
            place = at.to(self.difference).clone().view(-1, *[1] * (self.x.ndim - 1))
            points = self.baseline[owner].to(self.exact) + place * self.difference[owner]
            points = points.to(self.x.dtype).clone().requires_grad_()
            scores = self._score(points, [g[owner].clone() for g in self.given])
            (slope,) = _gradient(scores, points)
        return slope, scores.detach()

    def _score(self, points: Tensor, given: Sequence[Tensor]) -> Tensor:
        scores = self.f(points, *given)
        if scores.shape != points.shape[:1]:
            allowed = f"[n], one for each of n inputs, here ({len(points)},)"
            raise invalid("f", f"a function that gives {tuple(scores.shape)}", allowed)
        return scores


def _gradient(scores: Tensor, points: Tensor) -> tuple[Tensor]:
    found: tuple[Tensor | None] = (None,)
    if scores.requires_grad:
        found = torch.autograd.grad(scores.sum(), points, allow_unused=True)
    if found[0] is None:
        fix = "Leave out detach(), argmax and torch.no_grad() on the way to the score."
        given = "a function whose scores do not depend on its inputs by autograd"
        raise invalid("f", given, "a differentiable function of its inputs", fix)
    return found


def _fitting(baseline: Tensor | None, x: Tensor) -> Tensor:
    if baseline is None:
        return torch.zeros_like(x)
    try:
        return baseline.detach().to(x).expand(x.shape)
    except RuntimeError:
        allowed = f"a shape that broadcasts to {tuple(x.shape)}"
        raise invalid("baseline", tuple(baseline.shape), allowed) from None
