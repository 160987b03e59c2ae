"""Attention of the ReRoPE family in linear memory: near and far keys, merged exactly.

    score_ij = <R(i) q_i, R(j) k_j>                             if i - j < window
             = <R(i s + window (1 - s)) q_i, R(j s) k_j>        otherwise,     s = step

Both lines are R(-g(i - j)) between query and key, where the distance g grows by one per token
within the window and by `step` beyond it: 0 in ReRoPE, below 1 in Leaky, above 1 in Inverse Leaky
ReRoPE. As the far key depends on j alone, it is made once per token and kept; a step of decoding
turns nothing but its own query and key.

Post: https://kexue.fm/archives/9708
Axes: B texts, H heads of queries, K heads of keys and values, L queries, S keys, D features of a
    head, E features of a value
"""

from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from kexue._check import invalid
from kexue.attention.rerope_blocks import Inputs, attend_blocks, backward_blocks
from kexue.attention.rerope_kernel import attend_kernel, backward_kernel, kernel_fits


def rerope_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_far: Tensor,
    k_far: Tensor,
    *,
    window: int,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Mix the values causally, with one pair of queries and keys near and another far.

    Memory grows with the number of tokens, forwards and backwards. The last query belongs to the
    last key, so that a chunk of queries can follow keys of a cache.

    Args:
        q: [B, H, L, D] queries turned by their positions.
        k: [B, K, S, D] keys turned by their positions; H is a multiple of K.
        v: [B, K, S, E] values.
        q_far: [B, H, L, D] queries for keys at a distance of `window` or more.
        k_far: [B, K, S, D] keys for queries at that distance.
        window: distances below it are near, at least 1.
        mask: bool, broadcast to [B, H, L, S], True = keep; all keys up to the query by default.
            A query that may see nothing gets zeros.
        scale: factor on the scores, 1 / sqrt(D) by default.

    Returns:
        [B, H, L, E], in the dtype of `v`; the softmax is taken in float32 for half precision.

    Raises:
        ValueError: if shapes do not fit, there are more queries than keys, `window` is below 1, or
            the mask is not bool.

    Example:
        >>> import math
        >>> near = torch.zeros(1, 1, 4, 2)
        >>> far = near + math.sqrt(math.log(3) / 2)
        >>> v = torch.tensor([[[[1.0], [1.0], [0.0], [0.0]]]])
        >>> out = rerope_attend(near, near, v, far, far, window=2, scale=1.0)
        >>> out.flatten()  # the last query weighs its keys 3 : 3 : 1 : 1
        tensor([1.0000, 1.0000, 0.8000, 0.7500])
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    inputs = Inputs(q, k, v, q_far, k_far, mask, window, scale)
    _check(inputs)
    runs = _runs(inputs)
    if not runs:
        return _Attention.apply(*inputs)
    # Without the padding each run of tokens is a plain problem, which the fused kernel can do.
    pieces = []
    for texts, tokens in runs:
        tensors = (x[texts, :, tokens] for x in inputs[:5])
        mixed = _Attention.apply(*tensors, None, window, scale)
        around = (tokens.start, q.shape[2] - tokens.stop)
        pieces.append(F.pad(mixed, (0, 0, *around)))
    return torch.cat(pieces)


class _Attention(torch.autograd.Function):
    """Keeps one number per query for the backward pass instead of a row of scores."""

    @staticmethod
    def forward(ctx: FunctionCtx, *inputs: object) -> Tensor:
        inputs = Inputs(*inputs)
        ctx.kernel = kernel_fits(inputs)
        out, lse = attend_kernel(inputs) if ctx.kernel else attend_blocks(inputs)
        ctx.save_for_backward(*inputs[:6], out, lse)
        ctx.settings = (inputs.window, inputs.scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, out, lse = ctx.saved_tensors
        backward = backward_kernel if ctx.kernel else backward_blocks
        return *backward(Inputs(*tensors, *ctx.settings), out, lse, grad), None, None, None


def _runs(inputs: Inputs) -> list[tuple[slice, slice]]:
    """List texts that are padded alike with their tokens, or nothing where that is of no use."""
    q, k, mask = inputs.q, inputs.k, inputs.mask
    if mask is None or q.device.type != "cpu" or q.shape[2] != k.shape[2]:
        return []
    if mask.shape[1] != 1 or mask.shape[2] != 1 or mask.shape[3] != k.shape[2]:
        return []
    keep = mask[:, 0, 0].expand(len(q), -1)
    before = F.pad(keep, (1, 0))[:, :-1]
    if bool(((keep & ~before).sum(-1) != 1).any()):
        return []
    first = keep.int().argmax(-1)
    found, start = [], 0
    for (low, high), texts in groupby(torch.stack((first, first + keep.sum(-1)), -1).tolist()):
        stop = start + len(list(texts))
        found.append((slice(start, stop), slice(low, high)))
        start = stop
    return found


def _check(inputs: Inputs) -> None:
    q, k, v, q_far, k_far, mask, window, _ = inputs
    if window < 1:
        raise invalid("window", window, "1 or more", "Distances below it are exact.")
    for name, far, near in (("q_far", q_far, q), ("k_far", k_far, k)):
        if far.shape != near.shape:
            fix = "The far pair is the near pair, turned by other angles."
            raise invalid(name, tuple(far.shape), f"the shape {tuple(near.shape)}", fix)
    if v.shape[:3] != k.shape[:3] or q.shape[1] % k.shape[1] or q.shape[2] > k.shape[2]:
        raise invalid(
            "shapes of q, k, v",
            (tuple(q.shape), tuple(k.shape), tuple(v.shape)),
            "[B, H, L, D], [B, K, S, D], [B, K, S, E] with L <= S and H a multiple of K",
        )
    if mask is not None and (mask.dtype != torch.bool or mask.ndim != 4):
        raise invalid(
            "mask",
            f"{mask.dtype} {tuple(mask.shape)}",
            "bool, broadcast to [B, H, L, S], True = keep",
            "A mask of keys [B, S] is mask[:, None, None].",
        )
