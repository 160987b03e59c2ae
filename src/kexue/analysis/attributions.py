"""What each part of an input adds to a score, with its sign or without.

The article draws the absolute value, which tells how much a token matters. The sign tells whether
it speaks for the score or against it, and only the signed parts add up.

Post: https://kexue.fm/archives/7533
Axes: B examples, "..." the axes of one example
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Attributions:
    """What each part of the inputs adds to their scores.

    Attributes:
        values: [B, ...] the part of each number of the input, in at least float32.
        score: [B] scores of the inputs.
        baseline_score: [B] scores of the baselines.
        gap: [B] sum of the parts less the difference of the two scores.
        steps: [B] gradients that were taken.
        converged: [B] bool, whether the gap is within the tolerance.

    Example:
        >>> import torch
        >>> one = torch.ones(1)
        >>> values = torch.tensor([[[3.0, -4.0]]])
        >>> found = Attributions(values, -one, 0 * one, 0 * one, one, one > 0)
        >>> found.signed, found.magnitude
        (tensor([[-1.]]), tensor([[5.]]))
    """

    values: Tensor
    score: Tensor
    baseline_score: Tensor
    gap: Tensor
    steps: Tensor
    converged: Tensor

    @property
    def relative_gap(self) -> Tensor:
        """[B] the gap as a share of the difference that it should add up to."""
        return self.gap.abs() / (self.score - self.baseline_score).abs()

    @property
    def signed(self) -> Tensor:
        """[B, ...] sums over the last axis: what each token adds, above or below 0."""
        return self.values.sum(-1)

    @property
    def magnitude(self) -> Tensor:
        """[B, ...] lengths over the last axis: how much each token matters, for or against."""
        return self.values.norm(dim=-1)

    def to_dict(self) -> dict[str, Any]:
        """Give the attributions as a JSON object.

        Returns:
            Lists and numbers by name.
        """
        return {name: value.tolist() for name, value in vars(self).items()}
