"""Longer texts for encoders with learned positions: n trained rows become up to n^2.

    row t = row (t mod n) + alpha / (1 - alpha) (row (t // n) - row 0)

What the encoder says about texts of up to n tokens does not change, bit for bit. Longer ones it
reads at once, and well after some training on long texts. The new rows are an ordinary table, so
the model is saved, loaded and trained like any other.

Post: https://kexue.fm/archives/7947
Axes: n trained positions, D width of the table
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from kexue._check import invalid
from kexue.positions.hierarchical import hierarchical_table

# Those whose only limit is a table of learned positions, at `embeddings.position_embeddings`.
FAMILIES = (
    *("albert", "bert", "camembert", "convbert", "data2vec-text", "distilbert", "electra", "ernie"),
    *("megatron-bert", "mobilebert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"),
    "xlm-roberta-xl",
)
_REASONS = {
    "roformer": "its positions are fixed sinusoids that turn queries and keys",
    "kexue": "its configuration says how far it reads",
    "deberta": "it learns distances between tokens, not positions",
    "deberta-v2": "it learns distances between tokens, not positions",
    "longformer": "its attention is made for long texts, and its windows would have to follow",
    "big_bird": "its attention is made for long texts, and its blocks would have to follow",
}


def lengthen_positions(model: nn.Module, length: int, *, alpha: float = 0.4) -> None:
    """Let an encoder with learned positions read longer texts, in place.

    The table of positions, its buffers and the configuration change, and the change is checked on
    the model itself. The parameter is a new one, so an optimizer is made afterwards. Tell the
    tokenizer by `tokenizer.model_max_length = length`. `restore_positions` undoes it.

    Args:
        model: BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, ERNIE, ALBERT or another of `FAMILIES`, or
            a model that contains one.
        length: tokens to read, special tokens included; more than the n that the model reads now,
            at most n^2.
        alpha: weight of the stretch of n tokens against the place in it, between 0 and 1 but not
            1/2.

    Raises:
        ValueError: if the model has no learned positions or several tables of them, reads texts of
            that length already, has been lengthened before, or `length` or `alpha` is not allowed.
        RuntimeError: if the check fails; the model is then as it was.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> config = BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1
        ... )
        >>> model = BertModel(config).eval()
        >>> lengthen_positions(model, 1024)
        >>> model(torch.ones(1, 1000, dtype=torch.long)).last_hidden_state.shape
        torch.Size([1, 1000, 8])
        >>> restore_positions(model)
        >>> model.config.max_position_embeddings
        512
    """
    found = _find(model)
    rows = found.table.num_embeddings
    trained = rows - found.offset
    if before := getattr(found.config, "lengthened_from", None):
        raise invalid(
            "model",
            f"lengthened from {before - found.offset} to {trained} tokens",
            "a model with the positions it was trained with",
            "Call restore_positions(model) first.",
        )
    if length <= trained:
        raise invalid(
            "length",
            length,
            f"more than {trained}",
            f"This {found.config.model_type} model reads {trained} tokens already.",
        )
    old = found.table.weight.detach()
    new = torch.cat(
        (old[: found.offset], hierarchical_table(old[found.offset :], length, alpha=alpha))
    )
    short = _embed(found, trained)
    _replace(model, found, new, lengthened_from=rows)
    try:
        _check(found, old, short, length)
    except Exception:
        _replace(model, found, old, lengthened_from=None)
        raise


def restore_positions(model: nn.Module) -> None:
    """Undo `lengthen_positions`, in place, also on a model that was saved and loaded.

    The first rows stay, as they are now: what training has changed in them since is kept.

    Args:
        model: a model that was lengthened.

    Raises:
        ValueError: if the model was not lengthened.

    Example:
        See `lengthen_positions`.

        >>> restore_positions(nn.Linear(2, 2))
        Traceback (most recent call last):
        ValueError: model is 'Linear'; allowed: ...
    """
    found = _find(model)
    rows = getattr(found.config, "lengthened_from", None)
    if rows is None:
        raise invalid("model", found.config.model_type, "one that lengthen_positions has changed")
    _replace(model, found, found.table.weight.detach()[:rows].clone(), lengthened_from=None)


class _Found(NamedTuple):
    embeddings: nn.Module
    table: nn.Embedding
    config: PreTrainedConfig
    offset: int  # rows at the beginning of the table that are no positions


def _find(model: nn.Module) -> _Found:
    """Find the one table of learned positions in a model, or say why there is none."""
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    owners = [
        part
        for part in parts
        if part.config.model_type in FAMILIES
        and hasattr(getattr(part, "embeddings", None), "position_embeddings")
    ]
    if not owners:
        raise invalid(
            "model",
            parts[0].config.model_type if parts else type(model).__name__,
            f"one with learned positions: {', '.join(FAMILIES)}",
            _reason(parts[0].config) if parts else "Pass a model of transformers.",
        )
    if len(owners) > 1:
        kinds = " and ".join(part.config.model_type for part in owners)
        raise invalid(
            "model", kinds, "one encoder", "Lengthen each by itself: pass the parts in turn."
        )
    config, embeddings = owners[0].config, owners[0].embeddings
    table = embeddings.position_embeddings
    if getattr(config, "sinusoidal_pos_embds", False):
        raise invalid(
            "model",
            config.model_type,
            "one with learned positions",
            "Its positions are sinusoids (sinusoidal_pos_embds), a formula that gives any row.",
        )
    # RoBERTa and its kin count from the row after that of padding.
    offset = 0 if table.padding_idx is None else table.padding_idx + 1
    return _Found(embeddings, table, config, offset)


def _reason(config: PreTrainedConfig) -> str:
    """Say why a model has no table that could be lengthened."""
    if getattr(config, "rope_parameters", None):
        reason = "it has rotary positions, which ReRoPE and the type ntk_mixed lengthen"
    else:
        reason = _REASONS.get(config.model_type, "where its positions are is not known here")
    return f"Not {config.model_type}: {reason}."


def _configurations(model: nn.Module) -> Iterator[PreTrainedConfig]:
    """Give every configuration in a model, nested ones too; a task model holds a copy."""
    for part in model.modules():
        config = getattr(part, "config", None)
        if isinstance(config, PreTrainedConfig):
            yield config
            yield from (c for c in vars(config).values() if isinstance(c, PreTrainedConfig))


def _replace(
    model: nn.Module, found: _Found, weight: Tensor, *, lengthened_from: int | None
) -> None:
    """Put another table in place, with the buffers and the configurations that belong to it."""
    table, embeddings, rows = found.table, found.embeddings, found.table.num_embeddings
    table.weight = nn.Parameter(weight, requires_grad=table.weight.requires_grad)
    table.num_embeddings = len(weight)
    embeddings.position_ids = torch.arange(len(weight), device=weight.device)[None]
    if hasattr(embeddings, "token_type_ids"):
        embeddings.token_type_ids = torch.zeros_like(embeddings.position_ids)
    for config in list(_configurations(model)):
        same = config.model_type == found.config.model_type
        if same and config.max_position_embeddings == rows:
            config.max_position_embeddings = len(weight)
            vars(config).pop("lengthened_from", None)
            if lengthened_from is not None:
                config.lengthened_from = lengthened_from


def _embed(found: _Found, length: int) -> Tensor:
    """Embed a text of some tokens without padding, as for prediction."""
    words = found.embeddings.word_embeddings
    token = 1 if words.padding_idx == 0 else 0
    ids = torch.full((1, length), token, device=words.weight.device)
    modes = {module: module.training for module in found.embeddings.modules()}
    found.embeddings.eval()
    try:
        with torch.no_grad():
            return found.embeddings(input_ids=ids)
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check(found: _Found, old: Tensor, short: Tensor, length: int) -> None:
    """Check a model that has just been lengthened."""
    if not torch.equal(found.table.weight[: len(old)], old):
        raise RuntimeError("the first rows of the longer table are not the trained ones")
    if not torch.equal(_embed(found, short.shape[1]), short):
        raise RuntimeError("a short text is no longer read as it was")
    if _embed(found, length).shape[1] != length:
        raise RuntimeError(f"a text of {length} tokens is not read whole")
