"""RealFormer: each layer adds its scores to those of all layers below, as a residual connection.

    A_l = scale Q_l K_l^T + A_(l-1),   A_0 = 0,   o_l = softmax(A_l where the mask keeps) V_l

What is carried is scaled and not masked. It is an argument and a result, not a state: so a layer
that is computed a second time, as under activation checkpointing, finds what it found before.

Post: https://kexue.fm/archives/8027
Paper: https://arxiv.org/abs/2012.11747, equation 3
Axes: B texts, H heads, L queries, S keys, D features of a head, E features of a value
"""

from collections.abc import Iterable, Iterator
from itertools import repeat

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from kexue._check import invalid


def residual_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    previous: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
    overwrite_previous: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mix the values by the softmax of this layer's scores plus those of all layers before.

    Args:
        q: [B, H, L, D] queries.
        k: [B, H, S, D] keys.
        v: [B, H, S, E] values.
        previous: [B, H, L, S] scores that the layer below gave; none in the first layer, or a bias
            for pairs of positions, which then counts once.
        mask: bool, broadcast to [B, H, L, S], True = keep; all by default. A query that may see
            nothing sees everything alike.
        scale: factor on this layer's scores, 1 / sqrt(D) by default.
        overwrite_previous: allow the new scores to take the memory of `previous`, which is lost.
            Then a model has one matrix of scores, not two. Only for inference, and not where a
            layer may be computed again; while gradients are recorded it does nothing.

    Returns:
        The mixed values [B, H, L, E] in the dtype of `v`, and the scores [B, H, L, S] for the next
        layer, in float32 for half precision, because their sum grows with the layers.

    Raises:
        ValueError: if `previous` has another shape or dtype than the scores.

    Example:
        >>> q = k = torch.zeros(1, 1, 1, 2)
        >>> k, v = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]]), torch.tensor([[[[1.0], [0.0]]]])
        >>> q = torch.tensor([[[[1.0, 0.0]]]])
        >>> one, scores = residual_attend(q, k, v, scale=1.0)
        >>> two, scores = residual_attend(q, k, v, scores, scale=1.0)
        >>> one.item(), two.item(), scores.flatten()  # surer in the second layer
        (0.731..., 0.880..., tensor([2., 0.]))
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    shape, wide = (*q.shape[:3], k.shape[2]), torch.promote_types(q.dtype, torch.float32)
    if previous is not None and (previous.shape != shape or previous.dtype != wide):
        raise invalid(
            "previous",
            f"{previous.dtype} {tuple(previous.shape)}",
            f"{wide} {shape}, the scores that residual_attend gave in the layer below",
        )
    mask = None if mask is None else mask.expand(shape)
    if torch.is_grad_enabled():
        return _ResidualAttention.apply(q, k, v, previous, mask, scale)
    return _forward(q, k, v, previous, mask, scale, overwrite_previous)


class _ResidualAttention(torch.autograd.Function):
    """Keeps the scores that it gives and no softmax of them."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        previous: Tensor | None,
        mask: Tensor | None,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        out, scores = _forward(q, k, v, previous, mask, scale, False)
        ctx.save_for_backward(q, k, v, mask, scores, out)
        ctx.scale = scale
        # The scores of the last layer have no gradient, and no matrix of zeros is made for it.
        ctx.set_materialize_grads(False)
        return out, scores

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, grad: Tensor | None, grad_scores: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        q, k, v, mask, scores, out = ctx.saved_tensors
        grad = torch.zeros_like(out) if grad is None else grad
        # <gradient, weights> of a row, known without the row
        shared = (grad.to(scores.dtype) * out).sum(-1, keepdim=True)
        grad_previous = torch.empty_like(scores) if ctx.needs_input_grad[3] else None
        grad_q, grad_k, grad_v = (torch.zeros_like(x, dtype=scores.dtype) for x in (q, k, v))
        rows = _rows(scores, 2**17)
        for here in _blocks(scores):
            key, value = k[here], v[here].mT.contiguous()
            read = (_split(x, here, rows) for x in (q, scores, mask, grad, shared, grad_scores))
            write = (_split(x, here, rows) for x in (grad_q, grad_previous))
            for query, held, keep, g, row, g_held, to_query, to_previous in zip(
                *read, *write, strict=False
            ):
                weights = _softmax(held, keep)
                grad_v[here].add_(torch.bmm(weights.to(v.dtype).mT, g))
                inner = torch.bmm(g, value).to(row.dtype).sub_(row).mul_(weights)
                if g_held is not None:
                    inner.add_(g_held)
                if to_previous is not None:
                    to_previous.copy_(inner)
                inner = inner.to(q.dtype)
                to_query.copy_(torch.bmm(inner, key).mul_(ctx.scale))
                grad_k[here].add_(torch.bmm(inner.mT, query), alpha=ctx.scale)
        grads = (grad_q.to(q.dtype), grad_k.to(k.dtype), grad_v.to(v.dtype))
        return *grads, grad_previous, None, None


def _blocks(scores: Tensor) -> Iterator[tuple[int, slice]]:
    """Walk over texts and heads; as many heads at once as there are threads to take one each."""
    texts, heads = scores.shape[:2]
    together = heads if scores.is_cuda else min(heads, torch.get_num_threads())
    for text in range(texts):
        for head in range(0, heads, together):
            yield text, slice(head, head + together)


def _rows(scores: Tensor, numbers: int) -> int:
    """Choose how many rows of scores stay in a core's cache between the steps that use them."""
    queries, keys = scores.shape[2:]
    return queries if scores.is_cuda else max(32, numbers // max(keys, 1))


def _split(x: Tensor | None, here: tuple[int, slice], rows: int) -> Iterable[Tensor | None]:
    return repeat(None) if x is None else x[here].split(rows, 1)


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    previous: Tensor | None,
    mask: Tensor | None,
    scale: float,
    overwrite: bool,
) -> tuple[Tensor, Tensor]:
    scores = previous
    # The older form of checkpointing runs without gradients what it will compute again with them.
    if previous is None or not overwrite or previous.requires_grad:
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = q.new_empty(*q.shape[:3], k.shape[2], dtype=wide)
    out = v.new_empty(*q.shape[:3], v.shape[-1])
    rows = _rows(scores, 2**15)
    for here in _blocks(scores):
        # Contiguous columns make the product a tenth faster than a transposed view.
        key, value = k[here].mT.contiguous(), v[here]
        parts = (_split(x, here, rows) for x in (previous, scores, q, mask, out))
        for old, new, query, keep, mixed in zip(*parts, strict=False):
            _add_product(new if previous is scores else old, query, key, scale, new)
            torch.bmm(_softmax(new, keep).to(v.dtype), value, out=mixed)
    return out, scores


def _add_product(old: Tensor | None, query: Tensor, key: Tensor, scale: float, new: Tensor) -> None:
    """Write old + scale * query @ key; a product in half precision is added in full."""
    if query.dtype == new.dtype:
        beta = 0 if old is None else 1
        torch.baddbmm(new if old is None else old, query, key, beta=beta, alpha=scale, out=new)
    elif old is None:
        torch.mul(torch.bmm(query, key), scale, out=new)
    else:
        torch.add(old, torch.bmm(query, key), alpha=scale, out=new)


def _softmax(scores: Tensor, keep: Tensor | None) -> Tensor:
    if keep is not None:
        scores = torch.where(keep, scores, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)
