"""log n attention for models of transformers: as sharp on long texts as on those of training.

    apply_log_n(model, training_length=512)     a trained model: max(1, log n / log 512)
    apply_log_n(model, base_length=512)         a model to be trained with it: log n / log 512
    remove_log_n(model)                         the model as it was, to the bit
    check_log_n(model)                          compare with the definition on a short input

n is the number of keys that a query sees: all tokens up to it in a decoder, all that are no padding
in an encoder, those of the window in a layer with one. The factor multiplies the query, and the
stock attention does the rest.

The settings are saved with the model's config; after loading, `apply_log_n(model)` puts them into
force again.

Post: https://kexue.fm/archives/8823
Axes: B texts, H heads of queries, K heads of keys and values, L queries, S keys, D features
"""

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from kexue._check import invalid
from kexue.attention.entropy import count_keys, log_n_scale, post_hoc_log_n_scale
from kexue.models.rerope_support import attention_modules

_NAME = "kexue_log_n"


def apply_log_n(
    model: PreTrainedModel,
    *,
    training_length: int | None = None,
    base_length: int | None = None,
    min_n: int = 1,
) -> None:
    """Multiply every query by the logarithm of the number of keys that it sees.

    Args:
        model: a decoder or an encoder that follows transformers' attention interface.
        training_length: for a trained model, the length it was trained at. Queries that see no more
            keys stay as they are.
        base_length: in place of `training_length` for a model that is trained with the factor from
            the beginning, where the factor is 1. With neither, the settings come from the config of
            a model that was saved with log n attention.
        min_n: with `base_length`, smaller counts are taken as this one.

    Raises:
        ValueError: if the model cannot take it, with the reason, or a setting is not allowed.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(num_hidden_layers=1, hidden_size=12))
        >>> apply_log_n(model, training_length=512)
        >>> check_log_n(model) < 1e-4
        True
        >>> remove_log_n(model)
    """
    settings = {"training_length": training_length, "base_length": base_length, "min_n": min_n}
    if training_length is None and base_length is None:
        settings = getattr(model.config, _NAME, None)
    if not settings or None not in settings.values():
        raise invalid(
            "training_length and base_length",
            (training_length, base_length),
            "one of them",
            "training_length is for a model trained without the factor, base_length with it.",
        )
    _factor(torch.ones(1), settings)
    _refuse(model)
    remove_log_n(model)
    AttentionInterface.register(_NAME, log_n_attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    for module in attention_modules(model):
        module.log_n = settings
    model.base_model.log_n_undo = model.config._attn_implementation
    model.set_attn_implementation(_NAME)
    setattr(model.config, _NAME, settings)


def remove_log_n(model: PreTrainedModel) -> None:
    """Undo `apply_log_n`; the model is as it was before. Without it nothing happens.

    Args:
        model: a model that `apply_log_n` was called on.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> remove_log_n(BertModel(BertConfig(num_hidden_layers=1, hidden_size=12)))
    """
    if hasattr(model.config, _NAME):
        delattr(model.config, _NAME)
    if hasattr(model.base_model, "log_n_undo"):
        model.set_attn_implementation(model.base_model.log_n_undo)
        del model.base_model.log_n_undo
    for module in attention_modules(model):
        if hasattr(module, "log_n"):
            del module.log_n


def log_n_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    log_n_probe: list | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """Scale queries and attend, as an attention function of transformers.

    Args:
        module: the attention module, whose `log_n` holds the settings.
        query: [B, H, L, D] queries.
        key: [B, K, S, D] keys.
        value: [B, K, S, D] values.
        attention_mask: [B, 1, L, S] bool, or float to be added, or None.
        log_n_probe: a list that is given what went in and came out, for `check_log_n`.
        options: what else a model hands on.

    Returns:
        The mixed values [B, L, H, D], and None for the weights.
    """
    counts = _counts(module, query, key, attention_mask, options.get("is_causal"))
    scaled = query * _factor(counts, module.log_n).to(query.dtype)
    mixed, _ = sdpa_attention_forward(module, scaled, key, value, attention_mask, **options)
    if log_n_probe is not None:
        inputs = (query, key, value, attention_mask)
        log_n_probe.append((module, *inputs, options.get("scaling"), mixed))
    return mixed, None


@torch.no_grad()
def check_log_n(model: PreTrainedModel) -> float:
    """Compare the attention of every layer with the definition, on a short padded input.

    Args:
        model: a model that `apply_log_n` was called on.

    Returns:
        The largest deviation of any mixed value, relative to the largest value.

    Raises:
        ValueError: if the model has no log n attention, or a layer deviates by more than its number
            format explains.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(num_hidden_layers=1, hidden_size=12))
        >>> apply_log_n(model, base_length=512)
        >>> check_log_n(model) < 1e-4
        True
    """
    if not hasattr(model.base_model, "log_n_undo"):
        name = type(model).__name__
        raise ValueError(f"{name} has no log n attention; call apply_log_n(model, ...) first.")
    training = model.training
    probe: list[tuple] = []
    ids = torch.arange(24, device=model.device).view(2, 12) % model.config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    model.eval()
    try:
        model(input_ids=ids, attention_mask=mask, log_n_probe=probe)
    finally:
        model.train(training)
    worst = 0.0
    for module, *inputs, mixed in probe:
        expected = _definition(module, mask.bool(), *inputs)
        rows = mask.bool()
        deviation = (mixed.double() - expected)[rows].abs().max() / expected[rows].abs().max()
        allowed = 1e-3 if mixed.dtype.itemsize >= 4 else 0.1
        if not deviation <= allowed:
            raise ValueError(
                f"log n attention of {type(model).__name__} deviates from its definition by "
                f"{float(deviation):.2g} of the largest value; call remove_log_n(model)."
            )
        worst = max(worst, float(deviation))
    if not probe:
        name = type(model).__name__
        raise ValueError(f"{name} hands no options to its attention and cannot be checked.")
    return worst


def _factor(counts: Tensor, settings: dict[str, int | None]) -> Tensor:
    if settings["training_length"] is not None:
        return post_hoc_log_n_scale(counts, training_length=settings["training_length"])
    return log_n_scale(counts, base_length=settings["base_length"], min_n=settings["min_n"])


def _counts(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool | None
) -> Tensor:
    """Count the keys that each query sees, broadcast to [B, H, L, 1]."""
    queries, keys = query.shape[2], key.shape[2]
    if mask is not None:
        # In float masks hidden keys have the least number or minus infinity, or the caller's -1e4.
        return count_keys(mask if mask.dtype == torch.bool else mask > -5e3)
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if is_causal and queries > 1:
        return torch.arange(1, queries + 1, device=query.device).unsqueeze(-1)
    return torch.full((1, 1), keys, device=query.device)


def _refuse(model: PreTrainedModel) -> None:
    """Refuse models in which the factor would be missing somewhere, or be something else."""
    config, attentions = model.config, attention_modules(model)
    reason = None
    if config.is_encoder_decoder or config.get_text_config() is not config:
        reason = "it is made of several models; give the encoder or the decoder alone"
    elif not attentions:
        reason = "its attention does not go through transformers' attention interface"
    elif any(hasattr(module, "sinks") for module in attentions):
        reason = "its attention has sinks"
    elif getattr(config, "attn_logit_softcapping", None):
        reason = "it caps its scores"
    elif hasattr(config, "kexue_rerope"):
        reason = "it has ReRoPE; use apply_rerope(model, ..., training_length=...) for both"
    if reason:
        raise ValueError(f"{type(model).__name__} cannot take log n attention: {reason}.")


def _definition(
    module: nn.Module,
    real: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
) -> Tensor:
    """Mix [B, L, H, D] values of the tokens that are `real` by all scores in float64."""
    if mask is None:
        mask = real[:, None, None].expand(-1, -1, real.shape[1], -1)
        mask = mask.tril() if module.is_causal else mask
    groups = query.shape[1] // key.shape[1]
    query, key, value = (x.double() for x in (query, key, value))
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = scores * _factor(mask.sum(-1, keepdim=True), module.log_n).double()
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return (scores.softmax(-1) @ value).transpose(1, 2)
