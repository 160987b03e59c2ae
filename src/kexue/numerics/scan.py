"""Parallel scan: every state of a linear recurrence, without a loop over time.

    x_t = A_t x_(t-1) + b_t,   t = 1 ... T

Two steps are one step of the same form, (A, b) then (A', b') being (A' A, A' b + b'). So the even
times follow from a recurrence of half the length, and the odd ones from the even: T products in all
and 2 log T rounds. The backward pass is the same scan from the other end,

    l_t = g_t + A_(t+1)^T l_(t+1),   dL/db_t = l_t,   dL/dA_t = l_t x_(t-1)^T

The well-known form lambda^t cumsum(lambda^-t b) overflows after some hundreds of steps; no power
of a decay is ever divided by here.

Post: https://kexue.fm/archives/9554
Axes: T times, "..." any batch axes, D features
"""

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.scan_orders import scan_diagonals, scan_matrices


def scan_affine(matrices: Tensor, offsets: Tensor, start: Tensor) -> Tensor:
    """Compute all states of x_t = A_t x_(t-1) + b_t.

    Args:
        matrices: [T, ..., D, D] A_1 ... A_T, real or complex.
        offsets: [T, ..., D] b_1 ... b_T.
        start: [..., D] x_0.

    Returns:
        [T, ..., D] x_1 ... x_T, differentiable once by all three.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).expand(4, 2, 2)
        >>> scan_affine(turn, torch.zeros(4, 2), torch.tensor([1.0, 0.0]))
        tensor([[ 0.,  1.],
                [-1.,  0.],
                [ 0., -1.],
                [ 1.,  0.]])
    """
    wanted = (*offsets.shape, offsets.shape[-1] if offsets.ndim else 0)
    _check_offsets(offsets, start)
    if matrices.shape != wanted:
        raise invalid("matrices", tuple(matrices.shape), f"{wanted}, as the offsets have it")
    return _AffineScan.apply(matrices, offsets, start)


def scan_diagonal(factors: Tensor, offsets: Tensor, start: Tensor) -> Tensor:
    """Compute all states of x_t = a_t * x_(t-1) + b_t, feature by feature.

    Args:
        factors: [T, ..., D] a_1 ... a_T, real or complex; broadcast against the offsets, so [D]
            will do for factors that do not change.
        offsets: [T, ..., D] b_1 ... b_T.
        start: [..., D] x_0.

    Returns:
        [T, ..., D] x_1 ... x_T, differentiable once by all three.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> scan_diagonal(torch.tensor([0.5]), torch.ones(4, 1), torch.zeros(1)).flatten()
        tensor([1.0000, 1.5000, 1.7500, 1.8750])
    """
    _check_offsets(offsets, start)
    try:
        factors = factors.expand(offsets.shape)
    except RuntimeError:
        shape = tuple(offsets.shape)
        raise invalid("factors", tuple(factors.shape), f"what broadcasts to {shape}") from None
    return _DiagonalScan.apply(factors, offsets, start)


def adjoint_scan(matrices: Tensor, upstream: Tensor) -> Tensor:
    """Compute l_t = g_t + A_(t+1)^H l_(t+1), what a loss feels of each state of a recurrence.

    Args:
        matrices: [T, ..., D, D] A_1 ... A_T; the first is not used.
        upstream: [T, ..., D] g_1 ... g_T, the gradient by each state as if the others were fixed.

    Returns:
        [T, ..., D] l_1 ... l_T, the gradient by each state with all that follows from it.

    Example:
        >>> adjoint_scan(torch.full((3, 1, 1), 0.5), torch.ones(3, 1)).flatten()
        tensor([1.7500, 1.5000, 1.0000])
    """
    last, rest = upstream[-1], upstream[:-1]
    backwards = scan_matrices(matrices[1:].mH.flip(0), rest.flip(0), last)
    return torch.cat((backwards.flip(0), last.unsqueeze(0)))


def refuse_second_derivative(name: str) -> None:
    """Raise inside a backward pass that is recorded, to be differentiated once more.

    Nothing else would tell: where a gradient does not depend on what came before, torch goes on
    with a second derivative that lacks a part.

    Args:
        name: of what has one derivative only.

    Raises:
        NotImplementedError: if the pass is recorded.

    Example:
        >>> refuse_second_derivative("scan")
        Traceback (most recent call last):
        NotImplementedError: A scan has no second derivative: call backward without create_graph,
        or differentiate a loop over time.
    """
    if torch.is_grad_enabled():
        raise NotImplementedError(
            f"A {name} has no second derivative: call backward without create_graph, or "
            "differentiate a loop over time."
        )


def _check_offsets(offsets: Tensor, start: Tensor) -> None:
    if offsets.ndim < 2 or not offsets.shape[0]:
        raise invalid("offsets", tuple(offsets.shape), "[T, ..., D] with T of 1 or more")
    if start.shape != offsets.shape[1:]:
        raise invalid("start", tuple(start.shape), f"{tuple(offsets.shape[1:])}, one time's shape")


def _before(states: Tensor, start: Tensor) -> Tensor:
    """Shift states by one time: x_0 ... x_(T-1)."""
    return torch.cat((start.unsqueeze(0), states[:-1]))


def _match(gradient: Tensor, like: Tensor) -> Tensor:
    """Drop the imaginary part where a real tensor met complex ones, and come back to its dtype."""
    if gradient.is_complex() and not like.is_complex():
        gradient = gradient.real
    return gradient.to(like.dtype)


class _AffineScan(torch.autograd.Function):
    """`scan_matrices` with the scan from the other end as its gradient."""

    @staticmethod
    def forward(ctx, matrices: Tensor, offsets: Tensor, start: Tensor) -> Tensor:
        states = scan_matrices(matrices, offsets, start)
        ctx.save_for_backward(matrices, offsets, start, states)
        return states

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        refuse_second_derivative("scan")
        matrices, offsets, start, states = ctx.saved_tensors
        felt = adjoint_scan(matrices, upstream)
        by_matrix = felt.unsqueeze(-1) * _before(states, start).conj().unsqueeze(-2)
        by_start = (matrices[0].mH.to(felt.dtype) @ felt[0].unsqueeze(-1)).squeeze(-1)
        return _match(by_matrix, matrices), _match(felt, offsets), _match(by_start, start)


class _DiagonalScan(torch.autograd.Function):
    """`scan_diagonals` with the scan from the other end as its gradient."""

    @staticmethod
    def forward(ctx, factors: Tensor, offsets: Tensor, start: Tensor) -> Tensor:
        states = scan_diagonals(factors, offsets, start)
        ctx.save_for_backward(factors, offsets, start, states)
        return states

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        refuse_second_derivative("scan")
        factors, offsets, start, states = ctx.saved_tensors
        last, rest = upstream[-1], upstream[:-1]
        backwards = scan_diagonals(factors[1:].conj().flip(0), rest.flip(0), last)
        felt = torch.cat((backwards.flip(0), last.unsqueeze(0)))
        by_factor = felt * _before(states, start).conj()
        by_start = factors[0].conj() * felt[0]
        return _match(by_factor, factors), _match(felt, offsets), _match(by_start, start)
