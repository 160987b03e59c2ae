"""The gradient of a solved recurrence: one linear recurrence from the end, exact however solved.

    l_t = g_t + J_(t+1)^T l_(t+1),   dL/dtheta = sum_t l_t df/dtheta (x_(t-1), u_t)

It is what back-propagation through the loop computes, and the iterations do not appear in it. For
many features, where a scan multiplies large matrices, pieces of it are run side by side instead.

Post: https://kexue.fm/archives/9783
Paper: https://arxiv.org/abs/2309.12252, section 3.1.1
Axes: T times, "..." any batch axes, D features of a state, K features of an input
"""

import torch
from torch import Tensor

from kexue.numerics.recurrence import Recurrence, before
from kexue.numerics.recurrence_blocks import solve_blockwise
from kexue.numerics.recurrence_cost import scan_is_cheap, scan_pays, size_of
from kexue.numerics.scan import adjoint_scan, refuse_second_derivative

_SWEEPS = 10  # as many as the states themselves might have needed


def attach_gradient(
    recurrence: Recurrence, start: Tensor, inputs: Tensor, states: Tensor
) -> Tensor:
    """Make states that were found without a gradient differentiable.

    Args:
        recurrence: the step; the gradient flows to all that it is made of.
        start: [..., D] x_0.
        inputs: [T, ..., K].
        states: [T, ..., D] the solution, without a gradient.

    Returns:
        The same numbers, differentiable once; `states` itself where nothing asks for a gradient.

    Example:
        >>> rate = torch.tensor(0.5, requires_grad=True)
        >>> halve = Recurrence(lambda x, u: rate * x + u)
        >>> x0, u = torch.zeros(1), torch.ones(2, 1)
        >>> attach_gradient(halve, x0, u, torch.tensor([[1.0], [1.5]]))[-1].backward()
        >>> rate.grad  # of rate * (rate * 0 + 1) + 1
        tensor(1.)
    """
    previous = before(states, start)
    stepped = recurrence.step(previous, inputs)
    if not stepped.requires_grad:
        return states
    return _Implicit.apply(stepped, states, previous.detach(), inputs.detach(), recurrence)


def adjoint(
    recurrence: Recurrence, previous: Tensor, inputs: Tensor, stepped: Tensor, upstream: Tensor
) -> Tensor:
    """Compute l_t = g_t + J_(t+1)^T l_(t+1) by a scan, by pieces side by side, or by the loop.

    Args:
        recurrence: the step.
        previous: [T, ..., D] x_0 ... x_(T-1).
        inputs: [T, ..., K].
        stepped: [T, ..., D] f(x_(t-1), u_t).
        upstream: [T, ..., D] g_1 ... g_T.

    Returns:
        [T, ..., D] l_1 ... l_T.

    Example:
        >>> halve = Recurrence(lambda x, u: 0.5 * x + u)
        >>> zeros, ones = torch.zeros(3, 1), torch.ones(3, 1)
        >>> adjoint(halve, zeros, ones, ones, ones).flatten()
        tensor([1.7500, 1.5000, 1.0000])
    """
    if len(upstream) == 1:
        return upstream
    size = size_of(upstream[0], len(upstream))
    if not scan_is_cheap(size):
        scale = upstream.abs().max()
        # Linear as it is, it may be solved where numbers are near 1, as residuals are measured.
        scale = torch.where((scale > 0) & scale.isfinite(), scale, 1)
        given = torch.cat((upstream[:-1] / scale, previous[1:], inputs[1:], stepped[1:]), -1)
        problem = (_backwards(recurrence, size.width), upstream[-1] / scale, given.flip(0))
        tolerance = 32 * torch.finfo(upstream.dtype).eps
        found = solve_blockwise(*problem, tolerance=tolerance, most=_SWEEPS)
        if found.converged or not scan_pays(size):
            felt = found.states if found.converged else problem[0].run(*problem[1:])
            return torch.cat((felt.flip(0) * scale, upstream[-1:]))
    jacobians = recurrence.linearise(previous, inputs, stepped)
    felt = adjoint_scan(jacobians, upstream)
    return felt if _is_solved(jacobians, upstream, felt) else _adjoint_loop(jacobians, upstream)


def _backwards(recurrence: Recurrence, width: int) -> Recurrence:
    """Make the linear recurrence of l, of which an input is g, x, u and f(x, u) side by side."""

    def step(felt: Tensor, given: Tensor) -> Tensor:
        parts = (width, width, given.shape[-1] - 3 * width, width)
        upstream, previous, inputs, stepped = given.split(parts, -1)
        return upstream + recurrence.pull_back(previous, inputs, stepped, felt)

    return Recurrence(step)


def _is_solved(jacobians: Tensor, upstream: Tensor, felt: Tensor) -> bool:
    """Tell whether rounding left the scan right: products of growing matrices may spoil it."""
    later = felt[1:].unsqueeze(-1)
    carried = (jacobians[1:] * later).sum(-2)
    missed = (upstream[:-1] + carried - felt[:-1]).abs_()
    sizes = felt.abs().amax(-1, keepdim=True)
    eps = torch.finfo(felt.dtype).eps
    allowed = sizes[:-1].maximum(sizes[1:]).mul_(256).add_(sizes.max()).mul_(eps)
    return bool((missed <= allowed).all())


def _adjoint_loop(jacobians: Tensor, upstream: Tensor) -> Tensor:
    times, width = upstream.shape[0], upstream.shape[-1]
    rows = upstream.reshape(times, -1, 1, width).unbind(0)
    steps = jacobians.reshape(times, -1, width, width).unbind(0)
    felt = [rows[-1]]
    for row, step in zip(rows[-2::-1], steps[:0:-1], strict=True):
        felt.append(torch.baddbmm(row, felt[-1], step))
    return torch.stack(felt[::-1]).reshape(upstream.shape)


class _Implicit(torch.autograd.Function):
    """Pass states on, and give one step from them the gradient by the whole recurrence."""

    @staticmethod
    def forward(
        ctx,
        stepped: Tensor,
        states: Tensor,
        previous: Tensor,
        inputs: Tensor,
        recurrence: Recurrence,
    ) -> Tensor:
        ctx.save_for_backward(stepped, previous, inputs)
        ctx.recurrence = recurrence
        return states.clone()

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("recurrence solved in parallel")
        stepped, previous, inputs = ctx.saved_tensors
        felt = adjoint(ctx.recurrence, previous, inputs, stepped.detach(), upstream)
        return felt, None, None, None, None
