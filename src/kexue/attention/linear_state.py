"""Linear attention step by step: what a decoder keeps is a matrix, however long the text is.

    S = sum_j g(k_j) v_j,   z = sum_j g(k_j),   o = f(q) S / f(q) z

Post: https://kexue.fm/archives/7546
Paper: https://arxiv.org/abs/2006.16236, section 3.4
Axes: B texts, H heads, L queries, S new keys, D features of a head, E of a value, M mapped features
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kexue.attention.feature_sums import divide_by_last, key_column
from kexue.attention.linear import choose_feature_map
from kexue.positions import rotate


class LinearState(NamedTuple):
    """All that linear attention needs to know of the keys and values so far.

    Args:
        mixed: [B, H, M, E] sum over keys of features by values, the features turned if RoPE is.
        total: [B, H, M, 1] sum of features.
        divisor: [B, H, M or 1, 1] logarithm of what both were divided by, lest they overflow.

    Example:
        >>> state = extend_linear_state(torch.zeros(1, 1, 5, 4), torch.ones(1, 1, 5, 3))
        >>> state.mixed.shape, state.total.flatten()
        (torch.Size([1, 1, 4, 3]), tensor([5., 5., 5., 5.]))
    """

    mixed: Tensor
    total: Tensor
    divisor: Tensor


def extend_linear_state(
    k: Tensor,
    v: Tensor,
    *,
    state: LinearState | None = None,
    feature_map: str | Callable[[Tensor], Tensor] = "exp",
    mask: Tensor | None = None,
    angles: Tensor | None = None,
) -> LinearState:
    """Add keys and values, one or many, to what a decoder keeps.

    Args:
        k: [B, H, S, D] new keys.
        v: [B, H, S, E] their values.
        state: what came before; none at the beginning of a text.
        feature_map: as for `linear_attend`.
        mask: bool, broadcast to [B, H, 1, S], True = keep; all keys by default.
        angles: [..., S, D / 2] from `rope_angles` at the positions of the new keys.

    Returns:
        The new state; the old one is left as it was. In float32 for half precision.

    Example:
        >>> x = torch.randn(1, 1, 6, 4)
        >>> once = extend_linear_state(x, x)
        >>> begun = extend_linear_state(x[:, :, :5], x[:, :, :5])
        >>> then = extend_linear_state(x[:, :, 5:], x[:, :, 5:], state=begun)
        >>> torch.allclose(attend_linear_state(x, once), attend_linear_state(x, then), atol=1e-5)
        True
    """
    chosen = choose_feature_map(feature_map, causal=True)
    k = k.to(torch.promote_types(k.dtype, torch.float32))
    if angles is not None and chosen.turned_first:
        k, angles = rotate(k, angles), None
    key, divisor = chosen.key(k, key_column(mask), angles is not None)
    turned = key if angles is None else rotate(key, angles)
    with torch.autocast(k.device.type, enabled=False):
        mixed, total = turned.mT @ v.to(key.dtype), key.sum(-2).unsqueeze(-1)
    new = LinearState(mixed, total, divisor.mT)
    if state is None:
        return new
    divisor = torch.maximum(state.divisor, new.divisor)
    before, now = (state.divisor - divisor).exp(), (new.divisor - divisor).exp()
    return LinearState(
        state.mixed * before + new.mixed * now, state.total * before + new.total * now, divisor
    )


def attend_linear_state(
    q: Tensor,
    state: LinearState,
    *,
    feature_map: str | Callable[[Tensor], Tensor] = "exp",
    angles: Tensor | None = None,
) -> Tensor:
    """Mix all values so far, as `linear_attend` does for the last query.

    Args:
        q: [B, H, L, D] queries, each of which sees all keys of the state.
        state: from `extend_linear_state`, its own key and value included.
        feature_map: the one that the state was made with.
        angles: [..., L, D / 2] from `rope_angles` at the positions of the queries.

    Returns:
        [B, H, L, E] in the dtype of `q`; 0 where no key has anything in common with the query.

    Example:
        >>> k, v = torch.zeros(1, 1, 2, 4), torch.tensor([[[[1.0], [3.0]]]])
        >>> attend_linear_state(k[:, :, 1:], extend_linear_state(k, v)).item()
        2.0
    """
    chosen = choose_feature_map(feature_map, causal=True)
    wide = q.to(state.mixed.dtype)
    if angles is not None and chosen.turned_first:
        wide, angles = rotate(wide, angles), None
    query = chosen.query(wide, state.divisor.mT)
    turned = query if angles is None else rotate(query, angles)
    with torch.autocast(q.device.type, enabled=False):
        sums = torch.cat((turned @ state.mixed, query @ state.total), -1)
    return divide_by_last(sums).to(q.dtype)
