"""ReRoPE as an attention function and a mask function of transformers' interfaces.

    attention_mask     None                 all tokens up to the query
                       bool [B, 1, 1, S]    of these, the keys that are no padding
                       long [B, L]          packed texts: the first token of each query's text
                       bool [B, 1, L, S]    anything else

Post: https://kexue.fm/archives/9708
Axes: B texts, H heads of queries, K heads of keys and values, L queries, S keys, D features
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, prepare_padding_mask, sdpa_mask

from kexue.attention.entropy import count_keys, post_hoc_log_n_scale
from kexue.attention.rerope import rerope_attend

# Queries whose masks are made at once when looking for packed texts.
_ROWS = 256


def rerope_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_ids: Tensor | None = None,
    rerope_probe: list | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """Mix values at rectified distances, as an attention function of transformers.

    Args:
        module: the attention module, whose `rerope` is a `FarPair`.
        query: [B, H, L, D] queries, already turned.
        key: [B, K, S, D] keys, already turned, or [B, 2 K, S, D] from a cache with two keys.
        value: [B, K, S, D] values.
        attention_mask: what `rerope_mask` gave, or a mask [B, 1, L, S] of the caller.
        scaling: factor on the scores.
        dropout: must be 0.
        position_ids: [B, L] positions by which queries were turned.
        rerope_probe: a list that is given what went in and came out, for `check_rerope`.
        options: what else a model hands on.

    Returns:
        The mixed values [B, L, H, D], and None for the weights, which are never formed.

    Raises:
        ValueError: if the model asks for what this attention does not have.
    """
    pair = module.rerope
    _refuse(dropout, options)
    far_key = None
    if key.shape[1] == 2 * value.shape[1]:
        key, far_key = key.unflatten(1, (-1, 2)).unbind(2)
    near_query, near_key, mask = query, key, _keep(attention_mask)
    if pair.step > 1 and not module.training:
        dense = _dense(mask, query.shape[2], key.shape[2], key.device)
        return sdpa_attention_forward(module, query, key, value, dense, scaling=scaling)
    places = range(key.shape[2] - query.shape[2], key.shape[2])
    if far_key is None:
        # Without a cache the true positions spare digits; else the place in the cache serves.
        if position_ids is not None and position_ids.shape[-1] == key.shape[2]:
            places = position_ids
        far_key = pair.key(key, places if places is position_ids else range(key.shape[2]))
    if pair.training_length is not None:
        seen = _seen(mask, query.shape[2], key.shape[2], key.device)
        factor = post_hoc_log_n_scale(seen, training_length=pair.training_length)
        query = query * factor.to(query.dtype)
    far_query = pair.query(query, places)
    tensors = (query, key, value, far_query, far_key)
    if mask is not None and mask.ndim == 2:
        mixed = _packed(tensors, mask, pair.window, scaling)
    else:
        mixed = rerope_attend(*tensors, window=pair.window, mask=mask, scale=scaling)
    mixed = mixed.transpose(1, 2).contiguous()
    if rerope_probe is not None:
        rerope_probe.append((near_query, near_key, value, mixed, scaling))
    return mixed, None


def rerope_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    *,
    mask_function: Callable = causal_mask_function,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **options: object,
) -> Tensor | None:
    """Say which keys each query may see, in the least memory, as a mask function of transformers.

    Args:
        batch_size: B.
        q_length: L.
        kv_length: S.
        q_offset: place of the first query.
        kv_offset: place of the first key.
        mask_function: tells for indices of text, head, query and key whether they may meet.
        attention_mask: [B, S] padding, True = keep.
        allow_is_causal_skip: False where packed texts or a caller ask for more than causality.
        use_vmap: how `mask_function` is to be called.
        device: of the result.
        options: what `sdpa_mask` takes besides.

    Returns:
        One of the forms in the head of this module.
    """
    padding = prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if mask_function is causal_mask_function and allow_is_causal_skip:
        if padding is None or bool(padding.all()):
            return None
        return padding[:, None, None, kv_offset : kv_offset + kv_length]
    if not use_vmap and padding is None and q_length == kv_length and batch_size:
        first = _first_tokens(mask_function, batch_size, q_length, device)
        if first is not None:
            return first
    return sdpa_mask(
        *(batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask),
        allow_is_causal_skip=False,
        use_vmap=use_vmap,
        device=device,
        **options,
    )


def _first_tokens(
    mask_function: Callable, texts: int, length: int, device: torch.device | str
) -> Tensor | None:
    """Give the first key [B, L] of each query if all keys from there to the query are visible."""
    text = torch.arange(texts, device=device)[:, None, None, None]
    head = text.new_zeros(1, 1, 1, 1)
    key = torch.arange(length, device=device)[None, None, None]
    found = []
    for rows in torch.arange(length, device=device).split(_ROWS):
        query = rows[None, None, :, None]
        keep = mask_function(text, head, query, key).expand(texts, 1, len(rows), length)
        first = keep.int().argmax(-1, keepdim=True)
        if not bool((keep == ((key >= first) & (key <= query))).all()):
            return None
        found.append(first[:, 0, :, 0])
    first = torch.cat(found, 1)
    # Runs of one first token must begin with it, or they are no texts of their own.
    return first if bool((first.gather(1, first) == first).all()) else None


def _packed(tensors: tuple[Tensor, ...], first: Tensor, window: int, scale: float) -> Tensor:
    """Attend within each text of a packed row."""
    rows = []
    for row in range(len(first)):
        starts = torch.unique_consecutive(first[row]).tolist()
        pieces = []
        for start, stop in zip(starts, [*starts[1:], first.shape[1]], strict=True):
            part = (x[row : row + 1, :, start:stop] for x in tensors)
            pieces.append(rerope_attend(*part, window=window, scale=scale))
        rows.append(torch.cat(pieces, 2))
    return torch.cat(rows)


def _keep(mask: Tensor | None) -> Tensor | None:
    """Read a mask of the caller, which may be a float one to be added to scores."""
    if mask is None or mask.dtype == torch.long:
        return mask
    if mask.dtype != torch.bool:
        keep = mask == 0
        if not bool((keep | (mask < -1e4)).all()):
            raise ValueError(
                "The attention mask adds to scores; ReRoPE takes masks that hide only."
            )
        mask = keep
    if mask.shape[2] > 1 and bool((mask & ~mask.tril(mask.shape[3] - mask.shape[2])).any()):
        raise ValueError("The attention mask shows later tokens; ReRoPE is for causal attention.")
    return mask


def _dense(mask: Tensor | None, queries: int, keys: int, device: torch.device) -> Tensor | None:
    """Write a mask out for plain attention, which knows causality for all tokens at once alone."""
    if mask is None and queries in (1, keys):
        return None
    query = torch.arange(keys - queries, keys, device=device).unsqueeze(-1)
    key = torch.arange(keys, device=device)
    keep = (key <= query)[None, None]
    if mask is None:
        return keep
    return keep & (mask if mask.ndim == 4 else key >= mask[:, None, :, None])


def _seen(mask: Tensor | None, queries: int, keys: int, device: torch.device) -> Tensor:
    """Count the keys that each query may see, broadcast to [B, H, L, 1]."""
    if mask is None or mask.ndim == 2:
        place = torch.arange(keys - queries, keys, device=device)
        count = place + 1 if mask is None else place + 1 - mask.unsqueeze(1)
        return count.unsqueeze(-1)
    return count_keys(mask, causal=True)[..., -queries:, :]


def _refuse(dropout: float, options: dict[str, object]) -> None:
    """Refuse what would silently be left out."""
    if dropout:
        raise ValueError(
            f"attention_dropout is {dropout}; ReRoPE attention has none. "
            "Set config.attention_dropout of every layer to 0."
        )
    for name in ("softcap", "s_aux", "position_bias", "sliding_window", "cache"):
        if options.get(name) is not None:
            raise ValueError(f"The model asks its attention for {name}, which ReRoPE has not.")
