"""Linear attention: a similarity that is a product of features, so that sums come before products.

    o_i = sum_j <f(q_i), g(k_j)> v_j / sum_j <f(q_i), g(k_j)>

Time and memory grow with the length instead of its square, and the matrix of attention has at most
the rank of the features. RoPE turns the features in the numerator only, because turned features may
have a negative product, which a normaliser must not have.

Post: https://kexue.fm/archives/8338
Paper: https://arxiv.org/abs/2006.16236, equation 5
Axes: B texts, H heads, L queries, S keys, D features of a head, E features of a value
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kexue._check import invalid
from kexue.attention.feature_sums import key_column, mix_by_features
from kexue.positions import rotate


def linear_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: str | Callable[[Tensor], Tensor] = "exp",
    mask: Tensor | None = None,
    causal: bool = False,
    angles: Tensor | None = None,
) -> Tensor:
    """Mix the values by products of features of queries and keys.

    Args:
        q: [B, H, L, D] queries.
        k: [B, H, S, D] keys.
        v: [B, H, S, E] values.
        feature_map: "exp", which is Performer with its projection merged into those of q and k;
            "elu1", 1 + elu(x); "softmax2", over the features of q and over the positions of k;
            "relu"; "cos1", with the similarity 1 + cos(q, k); or any function of the last axis
            that gives no negative number, for queries and keys alike.
        mask: bool, broadcast to [B, H, 1, S], True = keep; all keys by default.
        causal: a query sees keys up to its own position; L is S then.
        angles: [..., L, D / 2] from `rope_angles` turns queries and keys; L is S then.

    Returns:
        [B, H, L, E] in the dtype of `v`; sums are taken in float32 for half precision. Where no
        key has anything in common with the query, as in a text that is all padding, 0.

    Raises:
        ValueError: if `feature_map` is unknown or looks at keys ahead of a causal query, the mask
            differs between queries, or there are not as many queries as keys where there have to
            be.

    Example:
        >>> q = k = torch.zeros(1, 1, 2, 4)
        >>> v = torch.tensor([[[[1.0], [3.0]]]])
        >>> linear_attend(q, k, v).flatten()
        tensor([2., 2.])
        >>> linear_attend(q, k, v, causal=True).flatten()
        tensor([1., 2.])
    """
    chosen = choose_feature_map(feature_map, causal=causal)
    keep = key_column(mask)
    wide = torch.promote_types(q.dtype, torch.float32)
    q, k = q.to(wide), k.to(wide)
    if chosen.turned_first and angles is not None:
        q, k, angles = rotate(q, angles), rotate(k, angles), None
    key, divisor = chosen.key(k, keep, angles is not None)
    return mix_by_features(chosen.query(q, divisor), key, v, causal=causal, angles=angles)


class FeatureMap(NamedTuple):
    """What a name of a feature map stands for.

    Args:
        key: gives the features of keys [B, H, S, M] from keys, the column of those to keep or None,
            and whether RoPE will turn the features; and the logarithm [B, H, 1, M or 1] of what
            they were divided by, lest they overflow.
        query: gives the features of queries, up to a factor per row, which cancels, from queries
            and that logarithm: what keys were divided by, queries are multiplied by.
        turned_first: whether RoPE turns queries and keys instead of their features.
        causal: whether each key has its features by itself.

    Example:
        >>> relu, q = choose_feature_map("relu", causal=True), torch.tensor([-1.0, 1.0])
        >>> relu.query(q, torch.zeros(1))
        tensor([0., 1.])
    """

    key: Callable[[Tensor, Tensor | None, bool], tuple[Tensor, Tensor]]
    query: Callable[[Tensor, Tensor], Tensor]
    turned_first: bool = False
    causal: bool = True


def choose_feature_map(
    feature_map: str | Callable[[Tensor], Tensor], *, causal: bool
) -> FeatureMap:
    """Look up a feature map, or make one of a function.

    Args:
        feature_map: a name or a function, as `linear_attend` takes it.
        causal: refuse one whose keys see each other.

    Returns:
        The functions to use.

    Raises:
        ValueError: if the name is unknown, or stands for keys that see each other.

    Example:
        >>> choose_feature_map("softmax2", causal=True)
        Traceback (most recent call last):
        ValueError: feature_map is 'softmax2'; allowed: one that looks at each key by itself, ...
    """
    if callable(feature_map):
        return _alike(feature_map)
    if feature_map not in _FEATURE_MAPS:
        names = ", ".join(map(repr, _FEATURE_MAPS))
        raise invalid("feature_map", feature_map, f"{names} or a function of the last axis")
    chosen = _FEATURE_MAPS[feature_map]
    if causal and not chosen.causal:
        raise invalid(
            "feature_map",
            feature_map,
            "one that looks at each key by itself, because a query must not see later keys",
            "'exp' is 'softmax2' without the softmax over positions.",
        )
    return chosen


def _alike(function: Callable[[Tensor], Tensor], *, turned_first: bool = False) -> FeatureMap:
    """Take the same features for queries and keys."""

    def key(k: Tensor, keep: Tensor | None, turned: bool) -> tuple[Tensor, Tensor]:
        features = function(k)
        features = features if keep is None else features.masked_fill(~keep, 0)
        return features, torch.zeros_like(features[..., :1, :1])

    return FeatureMap(key, lambda q, divisor: function(q), turned_first)


def _exp_of_keys(k: Tensor, keep: Tensor | None, turned: bool) -> tuple[Tensor, Tensor]:
    k = k if keep is None else k.masked_fill(~keep, -torch.inf)
    # The largest key of each feature is 1, so that each query finds a sum of 1 or more in one.
    largest = k.detach().amax(-2, keepdim=True)
    if turned:  # the features of a pair are mixed: one factor for both
        largest = largest.unflatten(-1, (-1, 2)).amax(-1).repeat_interleave(2, -1)
    # Not -inf, which the texts that are all padding would give
    largest = largest.clamp_min(torch.finfo(k.dtype).min / 2)
    return (k - largest).exp_(), largest


def _exp_of_queries(q: Tensor, divisor: Tensor) -> Tensor:
    return (q + divisor).softmax(-1)


def _softmax_of_keys(k: Tensor, keep: Tensor | None, turned: bool) -> tuple[Tensor, Tensor]:
    if keep is not None:
        k = k.masked_fill(~keep, torch.finfo(k.dtype).min)
    features = k.softmax(-2)
    # Where nothing is kept, the softmax is the same everywhere.
    features = features if keep is None else features.masked_fill(~keep, 0)
    return features, torch.zeros_like(features[..., :1, :1])


def _direction(x: Tensor) -> Tensor:
    return F.pad(F.normalize(x, dim=-1), (0, 1), value=1.0)


_FEATURE_MAPS = {
    "exp": FeatureMap(_exp_of_keys, _exp_of_queries),
    "elu1": _alike(lambda x: F.elu(x) + 1),
    "softmax2": FeatureMap(_softmax_of_keys, _exp_of_queries, causal=False),
    "relu": _alike(F.relu),
    "cos1": _alike(_direction, turned_first=True),
}
