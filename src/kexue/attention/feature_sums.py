"""What linear attention and Performer share: values mixed by products of features.

    o_i = sum_j <a_i, b_j> v_j / sum_j <a_i, b_j>          over all j, or, causal, over j <= i

Once the sum over j is taken first, no matrix of tokens by tokens exists.

Post: https://kexue.fm/archives/7546
Paper: https://arxiv.org/abs/2006.16236, equations 5 and 6
Axes: B texts, H heads, L queries, S keys, M features, E features of a value
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from kexue._check import invalid
from kexue.attention.causal_sums import causal_sums
from kexue.positions import rotate


def mix_by_features(
    query: Tensor,
    key: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    angles: Tensor | None = None,
) -> Tensor:
    """Mix the values with weights <query_i, key_j>, divided by their sum.

    Args:
        query: [B, H, L, M] features of queries, not negative; float32 or wider.
        key: [B, H, S, M] features of keys, not negative, 0 for keys that nobody may see.
        v: [B, H, S, E] values.
        causal: a query sees keys up to its own position; L is S then.
        angles: [..., L, M / 2] from `rope_angles`. They turn the features in the weights, not in
            their sum, which stays positive that way; L is S then.

    Returns:
        [B, H, L, E] in the dtype of `v`, 0 where all weights are 0.

    Raises:
        ValueError: if there are not as many queries as keys where there have to be.

    Example:
        >>> ones, v = torch.ones(1, 1, 3, 2), torch.tensor([[[[0.0], [2.0], [4.0]]]])
        >>> mix_by_features(ones, ones, v).flatten()
        tensor([2., 2., 2.])
        >>> mix_by_features(ones, ones, v, causal=True).flatten()
        tensor([0., 1., 2.])
    """
    if (causal or angles is not None) and query.shape[-2] != key.shape[-2]:
        raise invalid(
            "number of queries and keys",
            (query.shape[-2], key.shape[-2]),
            "the same number where attention is causal or has angles",
        )
    sums = causal_sums if causal else _all_sums
    # Sums over a text are more than half precision holds, and autocast would take them in it.
    with torch.autocast(query.device.type, enabled=False):
        values = v.to(query.dtype)
        if angles is None:
            # A last column of ones sums the weights along with the values.
            mixed = sums(query, key, F.pad(values, (0, 1), value=1.0))
        else:
            weighted = sums(rotate(query, angles), rotate(key, angles), values)
            seen = key.cumsum(-2) if causal else key.sum(-2, keepdim=True)
            mixed = torch.cat((weighted, (query * seen).sum(-1, keepdim=True)), -1)
    return divide_by_last(mixed).to(v.dtype)


def divide_by_last(sums: Tensor) -> Tensor:
    """Divide weighted sums by the sum of the weights, which is the last column.

    Args:
        sums: [..., E + 1].

    Returns:
        [..., E]; 0 where the weights are nothing, or so small that parts of them have underflowed.

    Example:
        >>> divide_by_last(torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 0.0]]))
        tensor([[0.5000, 1.5000],
                [0.0000, 0.0000]])
    """
    return _Ratio.apply(sums)


class _Ratio(torch.autograd.Function):
    """Autograd of the two slices would write everything twice more, and square the inverse."""

    @staticmethod
    def forward(ctx: FunctionCtx, sums: Tensor) -> Tensor:
        total, numbers = sums[..., -1:], torch.finfo(sums.dtype)
        nothing = total.abs() < numbers.tiny / numbers.eps
        inverse = total.masked_fill(nothing, 1).reciprocal().masked_fill(nothing, 0)
        out = sums[..., :-1] * inverse
        ctx.save_for_backward(out, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        out, inverse = ctx.saved_tensors
        return torch.cat((grad, -(grad * out).sum(-1, keepdim=True)), -1).mul_(inverse)


def _all_sums(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return a @ (b.mT @ c)


def key_column(mask: Tensor | None) -> Tensor | None:
    """Turn a mask of keys, as attention takes it, to lie along the features of keys.

    Args:
        mask: bool, broadcast to [B, H, 1, S], or None.

    Returns:
        [..., S, 1], or None where nothing is masked.

    Raises:
        ValueError: if the mask is not bool or differs between queries.

    Example:
        >>> key_column(torch.tensor([True, False]))
        tensor([[ True],
                [False]])
    """
    if mask is None:
        return None
    if mask.dtype != torch.bool or (mask.ndim > 1 and mask.shape[-2] != 1):
        raise invalid(
            "mask",
            f"{mask.dtype} {tuple(mask.shape)}",
            "bool, broadcast to [B, H, 1, S], True = keep",
            "Linear attention never sees pairs of tokens: give a mask of keys, and causal=True "
            "instead of a triangle.",
        )
    return mask.unsqueeze(-1) if mask.ndim == 1 else mask.mT
