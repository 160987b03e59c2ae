"""A trained network as a kernel machine: what each training example added to an output.

    f_T(x) = f_0(x) + sum_i sum_s rate a_{s,i} int_0^1 <df(x; theta_s + u D_s), df(x_i; theta_s)> du

with theta_s the parameters before step s, D_s the step, a_{s,i} how the loss pulls at the output of
example i. The article lets the rate go to 0; the integral over the step makes the sum exact at any
rate, for a linear model with any rule and else up to the rule's error, of fourth order in the step
with two nodes.

It holds along any path whatsoever, and so says nothing about examples that were not seen.

Post: https://kexue.fm/archives/8009
Paper: https://arxiv.org/abs/2012.00152
Axes: Q queries, N training examples, n examples of a step, C outputs, K most influential examples
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from kexue._check import invalid
from kexue.analysis.descent import DescentStep
from kexue.analysis.quadrature import gauss_legendre_rule
from kexue.analysis.tangent_kernel import tangent_features


@dataclass(frozen=True)
class PathKernel:
    """The outputs of a trained model, taken apart.

    Attributes:
        kernel: [Q, N] or [Q, N, C, C] tangent kernels, summed over the steps that the example
            took part in, times their rates.
        contributions: [Q, N] or [Q, N, C] what each training example added to the output.
        start: [Q] or [Q, C] outputs before training.
        decayed: [Q] or [Q, C] what weight decay added.
        outputs: [Q] or [Q, C] outputs after training.

    Example:
        >>> zero, one = torch.zeros(1), torch.ones(1)
        >>> PathKernel(torch.ones(1, 1), one[None], one, zero, 2 * one).gap
        tensor([0.])
    """

    kernel: Tensor
    contributions: Tensor
    start: Tensor
    decayed: Tensor
    outputs: Tensor

    @property
    def reconstruction(self) -> Tensor:
        """[Q] or [Q, C] the outputs after training, from the parts."""
        return self.start + self.contributions.sum(1) + self.decayed

    @property
    def gap(self) -> Tensor:
        """[Q] or [Q, C] how far the reconstruction is from the outputs."""
        return self.reconstruction - self.outputs

    def influential(self, count: int, *, output: int = 0) -> tuple[Tensor, Tensor]:
        """Find the training examples that moved each output most, up or down.

        Args:
            count: K, at most N.
            output: which of C outputs.

        Returns:
            [Q, K] numbers of examples and [Q, K] what they added, the largest first.

        Raises:
            ValueError: if there are not so many examples.
        """
        parts = (
            self.contributions if self.contributions.ndim == 2 else self.contributions[..., output]
        )
        if not 0 < count <= parts.shape[1]:
            raise invalid("count", count, f"1 to {parts.shape[1]}, the number of examples")
        rows = parts.abs().topk(count, 1).indices
        return rows, parts.gather(1, rows)

    def to_dict(self) -> dict[str, Any]:
        """Give the parts as a JSON object.

        Returns:
            Lists by name, the gap among them.
        """
        return {name: value.tolist() for name, value in vars(self).items()} | {
            "gap": self.gap.tolist()
        }


def path_kernel(
    model: nn.Module,
    steps: Iterable[DescentStep],
    x: Tensor,
    examples: Tensor,
    *,
    nodes: int = 2,
) -> PathKernel:
    """Take the outputs of a trained model apart by its training examples.

    Args:
        model: as for `tangent_kernel`; its own parameters play no part.
        steps: how it was trained, such as `descend` tells; used up one by one.
        x: [Q, ...] queries.
        examples: [N, ...] training examples, all that the steps speak of.
        nodes: of the rule for the integral over a step; 1 is exact for a linear model.

    Returns:
        The parts of the outputs.

    Raises:
        ValueError: if there are no steps or no nodes.

    Example:
        >>> from kexue.analysis.descent import descend
        >>> model = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)).double()
        >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double(), torch.tensor([1.0, -1.0])
        >>> def loss(outputs, rows):
        ...     return (outputs - y[rows]).square().mean()
        >>> found = path_kernel(model, descend(model, x, loss, rate=0.5, steps=9), x, x)
        >>> bool(found.gap.abs().max() < 1e-12)
        True
    """
    rule = gauss_legendre_rule(nodes)
    sums: _Sums | None = None
    step = None
    for step in steps:
        begun = tangent_features(model, examples[step.rows], parameters=step.before)
        if sums is None:
            sums = _Sums(_outputs(model, step.before, x), len(examples))
        for at, weight in zip(rule.nodes.tolist(), rule.weights.tolist(), strict=True):
            values = {name: v.lerp(step.after[name], at) for name, v in step.before.items()}
            features = tangent_features(model, x, parameters=values)
            sums.add(step, features.inner(begun) * (weight * step.rate))
            if step.decay:
                along = _along(model, values, step.before, x)
                sums.decayed -= weight * step.rate * step.decay * along
    if sums is None or step is None:
        raise invalid("steps", "no steps", "at least one", "A generator can be used but once.")
    outputs = _outputs(model, step.after, x)
    return PathKernel(sums.kernel, sums.contributions, sums.start, sums.decayed, outputs)


class _Sums:
    """What adds up over the steps."""

    def __init__(self, start: Tensor, examples: int) -> None:
        outputs = start.shape[1:]
        self.start = start
        self.kernel = start.new_zeros(len(start), examples, *outputs, *outputs)
        self.contributions = start.new_zeros(len(start), examples, *outputs)
        self.decayed = torch.zeros_like(start)

    def add(self, step: DescentStep, kernel: Tensor) -> None:
        """Add the kernel [Q, n] or [Q, n, C, C] of a step."""
        self.kernel.index_add_(1, step.rows, kernel)
        if kernel.ndim == 2:
            added = kernel * step.pulls
        else:
            added = torch.einsum("qncd,nd->qnc", kernel, step.pulls)
        self.contributions.index_add_(1, step.rows, added)


@torch.no_grad()
def _outputs(model: nn.Module, values: dict[str, Tensor], x: Tensor) -> Tensor:
    return functional_call(model, values, (x,))


def _along(
    model: nn.Module, values: dict[str, Tensor], direction: dict[str, Tensor], x: Tensor
) -> Tensor:
    """Differentiate the outputs along a direction of the parameters that are trained."""
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    moved = {name: value for name, value in values.items() if name in trained}

    def outputs(some: dict[str, Tensor]) -> Tensor:
        return functional_call(model, {**values, **some}, (x,))

    _, along = jvp(outputs, (moved,), ({name: direction[name] for name in moved},))
    return along.detach()
