"""The stages of a `KexueModel`, for many masked copies of one text.

Axes: B copies, L tokens, K places, D width, H heads, d head size
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue.analysis.staged_encoder import StagedEncoder
from kexue.models.config import KexueConfig
from kexue.models.encoder import KexueModel
from kexue.models.mixing import Mixing, mix
from kexue.positions import rotate

_WIDEST = 7  # tokens of a convolution: more would take more copies than most texts


def kexue_stages(model: KexueModel, layers: int) -> StagedEncoder | None:
    """Take a `KexueModel` apart.

    Args:
        model: the encoder.
        layers: how many of its layers to use, 2 or more.

    Returns:
        Its stages; None where its layers cannot be parted: with residual scores, attention that is
        not softmax or goes in one direction, or a wide convolution.

    Example:
        >>> config = KexueConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
        >>> encode = kexue_stages(KexueModel(config).eval(), 4)
        >>> encode(torch.tensor([[2, 5, 3]])).shape
        torch.Size([1, 3, 8])
    """
    config = model.config
    plain = config.attention == "softmax" and not config.residual_attention
    if not plain or config.mask != "bidirectional" or config.convolution > _WIDEST:
        return None
    stack = list(model.layers[:layers])
    # The states between the layers are given as they are.
    norm = model.norm if layers == len(model.layers) else nn.Identity()

    def inputs(ids: Tensor) -> Tensor:
        hidden = model.embeddings(ids)
        projected = _project(stack[0], hidden, model._mixing(hidden, None, None, None))
        return torch.cat((hidden, *(x.transpose(1, 2).flatten(2) for x in projected)), -1)

    def first(rows: Tensor) -> Tensor:
        hidden, *rest = rows.chunk(4, -1)
        split = (x.unflatten(-1, (stack[0].heads, -1)).transpose(1, 2) for x in rest)
        return _finish(stack[0], config, hidden, *split)

    def middle(hidden: Tensor) -> Tensor:
        mixing = model._mixing(hidden, None, None, None)
        for layer in stack[1:-1]:
            hidden = _finish(layer, config, hidden, *_project(layer, hidden, mixing))
        return hidden

    def last(hidden: Tensor, places: Tensor) -> Tensor:
        mixing = model._mixing(hidden, None, None, None)
        projected = _project(stack[-1], hidden, mixing, places)
        return norm(_finish(stack[-1], config, _pick(hidden, places), *projected))

    return StagedEncoder(inputs, first, middle, last, reach=config.convolution // 2)


def _pick(hidden: Tensor, places: Tensor) -> Tensor:
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))


def _project(
    layer: nn.Module, hidden: Tensor, mixing: Mixing, places: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Make queries, of some places or of all, keys and values: [B, H, L, d], turned and scaled."""
    into = hidden if layer.post else layer.attention_norm(hidden)
    if places is None:
        query, key, value = layer.query_key_value(into).chunk(3, -1)
    else:
        width, whole = hidden.shape[-1], layer.query_key_value
        bias = (None, None) if whole.bias is None else whole.bias.split((width, 2 * width))
        query = F.linear(_pick(into, places), whole.weight[:width], bias[0])
        key, value = F.linear(into, whole.weight[width:], bias[1]).chunk(2, -1)
    query, key, value = (
        x.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for x in (query, key, value)
    )
    if mixing.angles is not None:
        own = mixing.angles if places is None else mixing.angles[places][:, None]
        query, key = rotate(query, own), rotate(key, mixing.angles)
    if mixing.scale is not None:
        query = query * mixing.scale.to(query.dtype)
    return query, key, value


def _finish(
    layer: nn.Module, config: KexueConfig, hidden: Tensor, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Do what is left of a layer for the tokens of the queries: [B, K, D]."""
    seen, _ = mix(query, key, value, None, Mixing(config, None, None, None))
    hidden = hidden + layer.attention_output(seen.transpose(1, 2).flatten(2))
    if layer.post:
        hidden = layer.attention_norm(hidden)
    into = hidden if layer.post else layer.feed_forward_norm(hidden)
    hidden = hidden + layer.feed_forward_output(layer.activation(layer.feed_forward_input(into)))
    return layer.feed_forward_norm(hidden) if layer.post else hidden
