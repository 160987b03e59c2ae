"""The tangent kernel: how much a step on one example moves the output for another.

    K(x, x') = <d f(x) / d theta, d f(x') / d theta>

A gradient by the weights of a layer is a product of what enters the layer and what comes back to
it, so that the inner product of two of them needs neither: one forward pass and one backward pass
for each output, and products of N times N. Layers of other kinds than nn.Linear, nn.Embedding and
nn.LayerNorm, and tables that several layers share, go by the gradients of single examples
(torch.func).

Post: https://kexue.fm/archives/8009
Paper: https://arxiv.org/abs/1806.07572
Axes: N, M examples, C outputs, P places, I inputs and O outputs of a layer
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from kexue._check import invalid
from kexue.analysis.layer_calls import LayerCalls
from kexue.analysis.layer_gradients import LinearGradients, RowGradients, TokenGradients

_AT_ONCE = 16  # examples whose gradients torch.func forms together


@dataclass(frozen=True)
class TangentFeatures:
    """Gradients of a model's outputs for some examples, in the form that inner products need.

    Attributes:
        outputs: [N] or [N, C] the outputs.
        parts: gradients by the parameters of each layer, in a fixed order.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> features = tangent_features(model, torch.tensor([[1.0, 2.0], [3.0, 0.0]]))
        >>> features.inner(features)[:, :, 0, 0]
        tensor([[ 6.,  4.],
                [ 4., 10.]])
    """

    outputs: Tensor
    parts: Sequence[RowGradients | LinearGradients | TokenGradients]

    def inner(self, other: "TangentFeatures") -> Tensor:
        """Multiply the gradients of all pairs of examples.

        Args:
            other: gradients for M examples, of the same model at any parameters.

        Returns:
            [N, M], or [N, M, C, C] for models with outputs [N, C].
        """
        kernel = sum(a.inner(b) for a, b in zip(self.parts, other.parts, strict=True))
        return kernel[:, 0, :, 0] if self.outputs.ndim == 1 else kernel.transpose(1, 2)


def tangent_kernel(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    parameters: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Compute the tangent kernel of two sets of examples.

    Args:
        model: takes [N, ...] inputs and gives [N] or [N, C] outputs, each from its own input; in
            evaluation mode. Parameters that need no gradient do not count.
        x: [N, ...] examples.
        y: [M, ...] other examples; by default the same ones.
        parameters: values to take in place of the model's own, by name.

    Returns:
        [N, M], or [N, M, C, C] for models with outputs [N, C].

    Raises:
        ValueError: if the outputs are not [N] or [N, C], or no parameter needs a gradient.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))
        >>> tangent_kernel(model, torch.randn(4, 2), torch.randn(5, 2)).shape
        torch.Size([4, 5])
    """
    first = tangent_features(model, x, parameters=parameters)
    return first.inner(first if y is None else tangent_features(model, y, parameters=parameters))


def tangent_features(
    model: nn.Module, x: Tensor, *, parameters: Mapping[str, Tensor] | None = None
) -> TangentFeatures:
    """Compute the gradients of a model's outputs by its parameters, in factors.

    Args:
        model: as for `tangent_kernel`.
        x: [N, ...] examples.
        parameters: values to take in place of the model's own, by name.

    Returns:
        What inner products are made of.

    Raises:
        ValueError: if the outputs are not [N] or [N, C], or no parameter needs a gradient.

    Example:
        >>> tangent_features(nn.Linear(2, 3), torch.ones(4, 2)).outputs.shape
        torch.Size([4, 3])
    """
    values = {name: value.detach() for name, value in model.named_parameters()}
    values |= {name: value.detach() for name, value in (parameters or {}).items()}
    wanted = {
        name: values[name].detach().requires_grad_()
        for name, value in model.named_parameters()
        if value.requires_grad
    }
    if not wanted:
        fix = "Call model.requires_grad_(True)."
        raise invalid("model", "a model without parameters to train", "one with some", fix)
    with torch.inference_mode(False), torch.enable_grad(), LayerCalls(model, wanted) as calls:
        outputs = functional_call(model, {**values, **wanted}, (x,))
        _check(outputs, x)
        parts = calls.gradients(outputs)
    rest = {name: values[name] for name in wanted if name not in calls.covered}
    if rest:
        parts.append(_row_by_row(model, x, values, rest))
    return TangentFeatures(outputs.detach(), parts)


def _row_by_row(
    model: nn.Module, x: Tensor, values: Mapping[str, Tensor], rest: dict[str, Tensor]
) -> RowGradients:
    """Form the gradients of each example by the parameters that no layer covers."""

    def outputs(some: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(model, {**values, **some}, (one[None],)).flatten()

    try:
        with warnings.catch_warnings():
            # It tells of operations that it maps one example at a time.
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            found = vmap(jacrev(outputs), (None, 0), chunk_size=_AT_ONCE)(rest, x)
    except RuntimeError:
        # Some operations, such as nn.PReLU, cannot be mapped over examples by torch.func.
        one_by_one = [_loop(outputs, rest, one) for one in x]
        found = {name: torch.stack([row[name] for row in one_by_one]) for name in rest}
    flat = [found[name].reshape(*found[name].shape[:2], -1) for name in rest]
    return RowGradients(torch.cat(flat, 2))


def _loop(
    outputs: Callable[[dict[str, Tensor], Tensor], Tensor], rest: dict[str, Tensor], one: Tensor
) -> dict[str, Tensor]:
    """Form the gradients [C, ...] for one example."""
    leaves = {name: value.clone().requires_grad_() for name, value in rest.items()}
    with torch.enable_grad():
        rows = [
            torch.autograd.grad(
                output,
                list(leaves.values()),
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for output in outputs(leaves, one)
        ]
    return {
        name: torch.stack(row) for name, row in zip(leaves, zip(*rows, strict=True), strict=True)
    }


def _check(outputs: Tensor, x: Tensor) -> None:
    if outputs.ndim not in (1, 2) or len(outputs) != len(x):
        given = f"a model that gives {tuple(outputs.shape)} for {len(x)} examples"
        fix = "Flatten what it gives for each example."
        raise invalid("model", given, f"[{len(x)}] or [{len(x)}, C]", fix)
