"""The attention of a `KexueModel`'s layer, of whichever kind it is.

Axes: B texts, H heads, L tokens, d head size
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kexue.attention import attend, linear_attend, performer_attend, residual_attend
from kexue.models.config import KexueConfig
from kexue.positions import rotate


class Mixing(NamedTuple):
    """What the attention of all layers shares.

    Attributes:
        config: the encoder's.
        keep: bool, broadcast to [B, 1, L, L], True = visible; None where everything is.
        angles: of rotary positions, broadcast to [B, 1, L, d / 2].
        scale: factor on the scores of each query, broadcast to [B, 1, L, 1].
    """

    config: KexueConfig
    keep: Tensor | None
    angles: Tensor | None
    scale: Tensor | None


def mix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    previous: Tensor | None,
    mixing: Mixing,
    projection: Tensor | None = None,
    *,
    training: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Mix values by attention.

    Args:
        query: [B, H, L, d].
        key: [B, H, L, d].
        value: [B, H, L, d].
        previous: [B, H, L, L] residual scores of the layer below, where there are any.
        mixing: what all layers share.
        projection: [M, d] random directions of the Performer.
        training: whether to drop attention weights, and to keep the scores of the layer below.

    Returns:
        [B, H, L, d], and the residual scores for the layer above where there are any.
    """
    config, keep = mixing.config, mixing.keep
    causal = config.mask == "causal"
    if config.attention == "linear":
        kind = config.feature_map
        options = {"mask": keep, "causal": causal, "angles": mixing.angles}
        return linear_attend(query, key, value, feature_map=kind, **options), None
    if mixing.angles is not None:
        query, key = rotate(query, mixing.angles), rotate(key, mixing.angles)
    if mixing.scale is not None:
        query = query * mixing.scale.to(query.dtype)
    if config.attention == "performer":
        return performer_attend(query, key, value, projection, mask=keep, causal=causal), None
    if config.residual_attention:
        # Where nothing is trained, one copy of the scores is enough.
        once = not training
        return residual_attend(query, key, value, previous, mask=keep, overwrite_previous=once)
    dropout = config.attention_dropout if training else 0.0
    # On a CPU, torch's fused kernel is up to six times slower than the plain one in half precision.
    half = query.dtype in (torch.bfloat16, torch.float16)
    if query.device.type == "cpu" and half and not dropout:
        return attend(query, key, value, mask=keep), None
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keep, dropout_p=dropout)
    return mixed, None
