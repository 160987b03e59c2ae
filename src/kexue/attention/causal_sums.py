"""Causal sums over keys in linear time, forwards and backwards.

    s_i = sum_{j <= i} <a_i, b_j> c_j

A scan over chunks of tokens: within a chunk the small matrix is formed, everything before it is one
matrix of features by values. The backward pass is the same scan, from both ends.

Post: https://kexue.fm/archives/7546
Paper: https://arxiv.org/abs/2006.16236, section 3.3
Axes: L tokens, M features, E features of a value, "..." any batch axes
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def causal_sums(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Sum <a_i, b_j> c_j over j <= i.

    Args:
        a: [..., L, M].
        b: [..., L, M].
        c: [..., L, E]; all of one dtype and with the same leading axes.

    Returns:
        [..., L, E].

    Example:
        >>> one = torch.ones(3, 1)
        >>> causal_sums(one, one, torch.tensor([[1.0], [2.0], [4.0]])).flatten()
        tensor([1., 3., 7.])
    """
    rows = (x.unsqueeze(0).flatten(0, -3) for x in (a, b, c))
    return _CausalSums.apply(*rows).reshape(c.shape)


def _chunks(a: Tensor) -> Iterator[slice]:
    # A core keeps the small matrices in its cache; a GPU wants fewer and larger kernels.
    size = 256 if a.is_cuda else 64
    return (slice(start, start + size) for start in range(0, a.shape[1], size))


class _CausalSums(torch.autograd.Function):
    """Keeps its inputs only; the small matrices are formed again on the way back."""

    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, c)
        return _forward_scan(a, b, c)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b, c = ctx.saved_tensors
        with torch.autocast(a.device.type, enabled=False):
            return _forward_scan(grad, c, b), *_backward_scan(a, b, c, grad)


def _forward_scan(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    out = torch.empty_like(c)
    before = a.new_zeros(a.shape[0], a.shape[2], c.shape[2])  # [BH, M, E]
    for part in _chunks(a):
        x, y, z = a[:, part], b[:, part], c[:, part]
        out[:, part] = torch.bmm(x, before).baddbmm_(torch.bmm(x, y.mT).tril_(), z)
        before.baddbmm_(y.mT, z)
    return out


def _backward_scan(a: Tensor, b: Tensor, c: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Give the gradients of `b` and `c`, which come from the queries that follow."""
    grad_b, grad_c = torch.empty_like(b), torch.empty_like(c)
    after = a.new_zeros(a.shape[0], a.shape[2], c.shape[2])  # [BH, M, E]
    for part in reversed(list(_chunks(a))):
        x, y, z, g = a[:, part], b[:, part], c[:, part], grad[:, part]
        grad_b[:, part] = torch.bmm(z, after.mT).baddbmm_(torch.bmm(z, g.mT).triu_(), x)
        grad_c[:, part] = torch.bmm(y, after).baddbmm_(torch.bmm(y, x.mT).triu_(), g)
        after.baddbmm_(x.mT, g)
    return grad_b, grad_c
