"""Softmax attention in the open: the reference for every other kind of attention.

    o_i = sum_j softmax_j(scale <q_i, k_j>) v_j   over the j that the mask keeps

Post: https://kexue.fm/archives/4765
Paper: https://arxiv.org/abs/1706.03762, equation 1
Axes: B texts, H heads, L queries, S keys, D features of a head
"""

import torch
from torch import Tensor


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Mix the values by the softmax of the scores.

    Args:
        q: [B, H, L, D] queries.
        k: [B, H, S, D] keys.
        v: [B, H, S, D] values.
        mask: bool, broadcast to [B, H, L, S], True = keep; all by default. A query that may see
            nothing sees everything alike.
        scale: factor on the scores, 1 / sqrt(D) by default.

    Returns:
        [B, H, L, D], in the dtype of `v`; the softmax is taken in float32 for half precision.

    Example:
        >>> q = k = torch.zeros(1, 1, 2, 4)
        >>> v = torch.tensor([[[[1.0], [3.0]]]])
        >>> attend(q, k, v).flatten()
        tensor([2., 2.])
        >>> attend(q, k, v, mask=torch.tensor([True, False])).flatten()
        tensor([1., 1.])
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = (q * scale) @ k.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    wide = torch.promote_types(scores.dtype, torch.float32)
    return scores.softmax(-1, dtype=wide).to(v.dtype) @ v
