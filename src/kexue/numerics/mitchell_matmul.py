"""Matrix products of Mitchell products: c_ij = sum_k a_ik (x) b_kj.

Only the products are approximate: they are added up in float32 or float64 as usual. For mantissas
that are spread evenly the result is 26/27 of the true one on average; an `offset` of 0.0566 evens
that out.

It imitates a processor without multipliers, and is slower than the product that it imitates: every
single product is made, see `mitchell_sums`. Numbers whose products all stay in the range of normal
floats, zeros included, take the short way; a single infinity, say, makes all take the long one.

Post: https://kexue.fm/archives/7991
Paper: https://arxiv.org/abs/2012.03458
Axes: N rows of a, K summed over, M columns of b, "..." batch axes that broadcast; G batches
"""

from functools import partial

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from kexue._check import invalid
from kexue.numerics.mitchell import check_options
from kexue.numerics.mitchell_operands import Operand, compute
from kexue.numerics.mitchell_sums import sum_products, sum_slopes


def mitchell_matmul(
    a: Operand, b: Operand, *, offset: float = 0.0, backward: str = "exact"
) -> Operand:
    """Multiply matrices with `mitchell_multiply` in place of every product.

    Args:
        a: [..., N, K] an array or a tensor, of floats or integers; or a vector [K].
        b: [..., K, M] likewise; or a vector [K].
        offset: what is added to the logarithms of products, between -1 and 1, for floats.
        backward: gradients of floats, as for `mitchell_multiply`: "exact", "mitchell" or
            "straight".

    Returns:
        [..., N, M], with the types and kinds of `mitchell_multiply`; the axis of a vector is
        left out.

    Raises:
        ValueError: for shapes that do not fit, unknown options, other types, or integers whose
            sums may reach 2^53.

    Example:
        >>> mitchell_matmul(torch.tensor([[1.5, 2.0]]), torch.tensor([[1.5], [3.0]]))
        tensor([[8.]])
    """
    check_options(offset, backward)
    floats = partial(_multiply, offset, backward)
    return compute((a, b), floats=floats, integers=_multiply_integers)


def _multiply(offset: float, backward: str, a: Tensor, b: Tensor) -> Tensor:
    """Bring all shapes to [G, N, K] and [G, K, M], where autograd sees it."""
    _check_shapes(a, b)
    rows, columns = a.shape[-2:-1], b.shape[1:] if b.dim() < 3 else b.shape[-1:]
    if a.dim() == 1:
        a = a.unsqueeze(0)
    if b.dim() == 1:
        b = b.unsqueeze(1)
    if b.dim() == 2:
        batch = a.shape[:-2]
        # An axis of length 0 leaves the others undetermined
        shape = (1, a.shape[:-1].numel(), a.shape[-1])
        result = Product.apply(a.reshape(shape), b.unsqueeze(0), offset, backward)
        return result.reshape((*batch, *rows, *columns))
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (t.expand(*batch, *t.shape[-2:]) for t in (a, b))
    count = batch.numel()
    a, b = (t.reshape(count, *t.shape[-2:]) for t in (a, b))
    return Product.apply(a, b, offset, backward).reshape((*batch, *rows, *columns))


def _check_shapes(a: Tensor, b: Tensor) -> None:
    """Refuse what torch.matmul refuses, with both shapes."""
    shapes = tuple(a.shape), tuple(b.shape)
    if not (a.dim() and b.dim()):
        raise invalid("the shapes", shapes, "one axis or more", "Use mitchell_multiply.")
    if a.shape[-1] != b.shape[-2 if b.dim() > 1 else 0]:
        raise invalid("the shapes", shapes, "[..., N, K] and [..., K, M] with the same K")
    try:
        torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except RuntimeError as error:
        raise invalid("the shapes", shapes, "batch axes that broadcast") from error


def _multiply_integers(a: Tensor, b: Tensor) -> Tensor:
    """Compute in float64, whose approximate products of integers below 2^53 are theirs."""
    largest = [
        max((abs(int(v)) for v in t.aminmax()), default=0) if t.numel() else 0 for t in (a, b)
    ]
    if max(largest) >= 2**53 or largest[0] * largest[1] * max(1, a.shape[-1]) >= 2**53:
        raise invalid(
            "the largest integers of a and b",
            tuple(largest),
            "sums below 2**53",
            "Convert to float64 for larger ones.",
        )
    return _multiply(0.0, "exact", a.double(), b.double()).long()


class Product(torch.autograd.Function):
    """Matrix products of batches [G, N, K] and [G, K, M] of one type."""

    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, b: Tensor, offset: float, backward: str) -> Tensor:
        """Multiply batch by batch."""
        ctx.save_for_backward(a, b)
        ctx.options = offset, backward
        return _each(partial(sum_products, offset=offset), a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients that are asked for."""
        offset, mode = ctx.options
        a, b = ctx.saved_tensors
        of_a = _gradient(mode, offset, a, b, grad) if ctx.needs_input_grad[0] else None
        of_b = None
        if ctx.needs_input_grad[1]:
            of_b = _gradient(mode, offset, b.mT, a.mT, grad.mT).mT
        return of_a, of_b, None, None


def _gradient(mode: str, offset: float, a: Tensor, b: Tensor, grad: Tensor) -> Tensor:
    """Differentiate by the left factor."""
    if mode == "straight":
        return grad @ b.mT
    if mode == "mitchell":
        return _each(partial(sum_products, offset=offset), grad, b.mT)
    return _each(partial(sum_slopes, offset=offset), a, b, grad)


def _each(function: partial[Tensor], *batches: Tensor) -> Tensor:
    """Apply a function of matrices to each batch."""
    if len(batches[0]) == 0:
        # Of the shape that the function gives
        shapes = [t.new_zeros(1, *t.shape[1:]) for t in batches]
        return _each(function, *shapes)[:0]
    return torch.stack([function(*matrices) for matrices in zip(*batches, strict=True)])
