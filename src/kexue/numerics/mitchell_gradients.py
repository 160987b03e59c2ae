"""Gradients of approximate products, quotients and roots, of three kinds.

A result r = 2^k (1 + z) is linear in the fraction of an operand a = 2^n (1 + x) as long as no digit
is carried, so that dr/da = 2^k / 2^n: this is "exact". "mitchell" is the chain rule of the true
product with approximate products in it, "straight" the same with true ones.

Post: https://kexue.fm/archives/7991
Paper: https://arxiv.org/abs/2305.17190, section 2
Axes: "..." any axes, the same in all tensors
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from kexue.numerics.mitchell_bits import leading_power, mantissa
from kexue.numerics.mitchell_combine import combine
from kexue.numerics.mitchell_roots import root


class Combination(torch.autograd.Function):
    """Product or quotient of tensors of one shape and type."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, a: Tensor, b: Tensor, divide: bool, offset: float, backward: str
    ) -> Tensor:
        """Compute the result of `combine`."""
        result = combine(a, b, divide=divide, offset=offset)
        ctx.save_for_backward(a, b, result)
        ctx.options = divide, offset, backward
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of the tensors."""
        divide, offset, mode = ctx.options
        gradients = {"exact": _slopes, "mitchell": _approximate, "straight": _straight}[mode]
        return *gradients(grad, *ctx.saved_tensors, divide, offset), None, None, None


def _slopes(
    grad: Tensor, a: Tensor, b: Tensor, result: Tensor, divide: bool, offset: float
) -> tuple[Tensor, Tensor]:
    """Weigh a unit of the result against a unit of each operand; at 0 those of 1 are taken."""
    of_a = leading_power(combine(mantissa(a), b, divide=divide, offset=offset))
    if divide:
        return grad * of_a, -grad * leading_power(combine(result, leading_power(b), divide=True))
    return grad * of_a, grad * leading_power(combine(a, mantissa(b), offset=offset))


def _approximate(
    grad: Tensor, a: Tensor, b: Tensor, result: Tensor, divide: bool, offset: float
) -> tuple[Tensor, Tensor]:
    """Multiply approximately."""
    of_a = combine(grad, b, divide=divide, offset=offset)
    if divide:
        return of_a, -combine(of_a, result)
    return of_a, combine(grad, a, offset=offset)


def _straight(
    grad: Tensor, a: Tensor, b: Tensor, result: Tensor, divide: bool, offset: float
) -> tuple[Tensor, Tensor]:
    """Differentiate the true product or quotient."""
    return (grad / b, -grad / b * (a / b)) if divide else (grad * b, grad * a)


class Root(torch.autograd.Function):
    """Square root of a tensor."""

    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, offset: float, backward: str) -> Tensor:
        """Compute the result of `root`."""
        result = root(a, offset=offset)
        ctx.save_for_backward(a, result)
        ctx.backward_mode = backward
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of the tensors."""
        a, result = ctx.saved_tensors
        if ctx.backward_mode == "mitchell":
            return combine(grad, 2 * result, divide=True), None, None
        if ctx.backward_mode == "straight":
            return grad / (2 * a.sqrt()), None, None
        slope = leading_power(combine(result, leading_power(a), divide=True)) / 2
        return grad * torch.where(result == 0, torch.inf, slope), None, None
