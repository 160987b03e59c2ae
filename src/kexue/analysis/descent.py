"""Gradient descent that tells of every step what it took from which example.

    theta_{s+1} = (1 - rate decay) theta_s + rate sum_i a_i df(x_i) / d theta
    a_i = - dL / df(x_i)

Post: https://kexue.fm/archives/8009
Axes: N examples, n examples of a batch, C outputs
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from kexue._check import invalid


class DescentStep(NamedTuple):
    """One step of gradient descent.

    Attributes:
        before: the parameters it starts from, by name.
        after: those it leads to.
        rows: [n] numbers of the examples of its batch.
        pulls: [n] or [n, C] how the loss wants their outputs to move: minus its gradient by them.
        rate: the learning rate.
        decay: the weight decay.

    Example:
        >>> step = DescentStep({}, {}, torch.tensor([2]), torch.tensor([0.5]), 0.1)
        >>> step.decay
        0.0
    """

    before: dict[str, Tensor]
    after: dict[str, Tensor]
    rows: Tensor
    pulls: Tensor
    rate: float
    decay: float = 0.0


def descend(
    model: nn.Module,
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    rate: float,
    steps: int,
    batch_size: int | None = None,
    decay: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[DescentStep]:
    """Train a model by gradient descent; the model itself stays as it is.

    Args:
        model: takes [n, ...] inputs and gives [n] or [n, C] outputs; where it begins.
        x: [N, ...] examples.
        loss: takes the outputs of some examples and their numbers [n], and gives a scalar, such as
            the mean of what each loses.
        rate: the learning rate, positive.
        steps: how many.
        batch_size: examples of a step, drawn anew after all were seen; all of them by default.
        decay: what each step takes off the parameters, times the rate.
        generator: for the order of the examples.

    Returns:
        The steps, each made when it is asked for. `after` of the last one holds the trained
        parameters: `model.load_state_dict(step.after, strict=False)`.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten(0))
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([2.0, 4.0])
        >>> def loss(outputs, rows):
        ...     return (outputs - y[rows]).square().mean()
        >>> *_, last = descend(model, x, loss, rate=0.1, steps=50)
        >>> last.after["0.weight"].round(decimals=4)
        tensor([[2.]])
    """
    batch = len(x) if batch_size is None else batch_size
    for name, value in (("rate", rate), ("batch_size", batch)):
        if not value > 0:
            raise invalid(name, value, "a positive number")
    drawn = _batches(len(x), batch, steps, generator)
    return _steps(model, x, loss, (rows.to(x.device) for rows in drawn), rate, decay)


def _batches(
    examples: int, size: int, steps: int, generator: torch.Generator | None
) -> Iterator[Tensor]:
    """Draw [n] numbers of examples for each step."""
    queue: list[Tensor] = []
    for _ in range(steps):
        if not queue:
            order = torch.arange(examples)
            if size < examples:
                order = torch.randperm(examples, generator=generator)
            queue = list(order.split(size))
        yield queue.pop(0)


def _steps(
    model: nn.Module,
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterator[Tensor],
    rate: float,
    decay: float,
) -> Iterator[DescentStep]:
    values = {name: value.detach().clone() for name, value in model.named_parameters()}
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    for rows in batches:
        leaves = {name: values[name].detach().requires_grad_() for name in trained}
        with torch.enable_grad():
            outputs = functional_call(model, {**values, **leaves}, (x[rows],))
            (slope,) = torch.autograd.grad(loss(outputs, rows), outputs, retain_graph=True)
            slopes = torch.autograd.grad(
                outputs, list(leaves.values()), slope, allow_unused=True, materialize_grads=True
            )
        after = dict(values)
        for name, by_name in zip(trained, slopes, strict=True):
            after[name] = values[name] * (1 - rate * decay) - rate * by_name
        yield DescentStep(values, after, rows, -slope, rate, decay)
        values = after
