"""Other people's checkpoints as a `KexueModel`, with the same outputs: BERT, RoFormer, RoFormer-V2.

Once converted they take every option of the encoder: no limit of length for RoFormer, residual
scores, log n, hierarchical positions, linear attention.

Post: https://kexue.fm/archives/8265 (RoFormer), https://kexue.fm/archives/8998 (RoFormer-V2)
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kexue._check import invalid
from kexue.models.config import KexueConfig
from kexue.models.encoder import KexueModel
from kexue.models.masked_lm import KexueForMaskedLM

# What a name of theirs begins with, and what ours does; a layer's names follow `encoder.layer.N.`.
_OUTSIDE = {
    "embeddings.word_embeddings": "embeddings.tokens",
    "embeddings.position_embeddings": "embeddings.positions",
    "embeddings.token_type_embeddings": "embeddings.segments",
    "embeddings.LayerNorm": "embeddings.norm",
    "embeddings_project": "embeddings.project",
}
_INSIDE = {
    "attention.output.dense": "attention_output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "feed_forward_input",
    "output.dense": "feed_forward_output",
    "output.LayerNorm": "feed_forward_norm",
}
_HEAD = {
    "predictions.transform.dense": "transform",
    "predictions.transform.LayerNorm": "transform_norm",
    "predictions.bias": "bias",
}


def convert(model: PreTrainedModel, **options: Any) -> KexueModel | KexueForMaskedLM:
    """Turn a BERT or RoFormer model of transformers into ours.

    Args:
        model: `BertModel`, `RoFormerModel`, or one of them with the head that names hidden tokens.
        options: fields of `KexueConfig` to set otherwise, such as `residual_attention=True`.

    Returns:
        A `KexueForMaskedLM` if the model names hidden tokens, else a `KexueModel`; on the same
        input it gives the same states, in evaluation mode.

    Raises:
        ValueError: if it is another kind of model, a decoder, or one whose values are rotated.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> theirs = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1,
        ...     num_attention_heads=2, intermediate_size=8))
        >>> convert(theirs).config.norm
        'post'
    """
    theirs = model.config
    _check(theirs)
    config = _config(theirs, options)
    state = model.state_dict()
    named = any("predictions" in name for name in state)
    prefix = f"{theirs.model_type}." if named else ""
    weights = {name.removeprefix(prefix): value for name, value in state.items()}
    ours = KexueForMaskedLM(config) if named else KexueModel(config)
    inner = ours.model if named else ours
    _fill(inner, _renamed(weights))
    if named:
        head = {
            ours_name + name.removeprefix(f"cls.{begin}"): value
            for name, value in weights.items()
            for begin, ours_name in _HEAD.items()
            if name.startswith(f"cls.{begin}")
        }
        for name, value in head.items():
            ours.get_parameter(name).data.copy_(value)
    return ours.to(next(model.parameters()).dtype).eval()


def _check(config: Any) -> None:
    if config.model_type not in ("bert", "roformer"):
        raise invalid("model", config.model_type, "a BERT or RoFormer model of transformers")
    if getattr(config, "is_decoder", False):
        raise invalid("model", "a decoder", "an encoder", "Load it with is_decoder=False.")
    if getattr(config, "rotary_value", False):
        raise invalid("rotary_value", True, "False", "Our rotary positions leave the values alone.")


def _config(theirs: Any, options: Mapping[str, Any]) -> KexueConfig:
    rope = theirs.model_type == "roformer"
    same = {
        "vocab_size": theirs.vocab_size,
        "hidden_size": theirs.hidden_size,
        "num_hidden_layers": theirs.num_hidden_layers,
        "num_attention_heads": theirs.num_attention_heads,
        "intermediate_size": theirs.intermediate_size,
        "embedding_size": getattr(theirs, "embedding_size", None),
        "type_vocab_size": theirs.type_vocab_size,
        "hidden_act": theirs.hidden_act,
        "hidden_dropout": theirs.hidden_dropout_prob,
        "attention_dropout": theirs.attention_probs_dropout_prob,
        "positions": "rope" if rope else "learned",
        "max_position_embeddings": None if rope else theirs.max_position_embeddings,
        "norm": "post",
        "layer_norm_eps": theirs.layer_norm_eps,
        "pad_token_id": theirs.pad_token_id,
    }
    return KexueConfig(**{**same, **options})


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate names; query, key and value of a layer become one matrix."""
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        layer = re.match(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)$", name)
        if layer is None:
            begin = next((b for b in _OUTSIDE if name.startswith(f"{b}.")), None)
            if begin is not None:
                found[_OUTSIDE[begin] + name.removeprefix(begin)] = value
            continue
        number, part, kind = layer.groups()
        if part in _INSIDE:
            found[f"layers.{number}.{_INSIDE[part]}.{kind}"] = value
        elif part == "attention.self.query":
            begin = f"encoder.layer.{number}.attention.self"
            parts = [weights[f"{begin}.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"layers.{number}.query_key_value.{kind}"] = torch.cat(parts)
    return found


def _fill(model: KexueModel, weights: Mapping[str, Tensor]) -> None:
    """Copy weights in; each of ours must be there, whatever else theirs may have."""
    missing = sorted(set(dict(model.named_parameters())) - set(weights))
    if missing:
        raise invalid(
            "weights",
            f"none for {missing[0]}",
            f"all of a model with {model.config.num_hidden_layers} layers",
            "Does the configuration fit the checkpoint?",
        )
    for name, parameter in model.named_parameters():
        if parameter.shape != weights[name].shape:
            raise invalid(name, tuple(weights[name].shape), f"the shape {tuple(parameter.shape)}")
        parameter.data.copy_(weights[name])


def from_tensorflow(arrays: Mapping[str, np.ndarray], config: KexueConfig) -> KexueModel:
    """Build an encoder from the variables of a TensorFlow checkpoint of BERT's layout.

    Such as the published RoFormer-V2, whose layers have neither biases nor parameters in their
    norms: `KexueConfig(norm="post", rms_norm=True, use_bias=False, ...)`.

    Args:
        arrays: variables by name, such as "bert/encoder/layer_0/attention/self/query/kernel".
        config: what the checkpoint is a model of.

    Returns:
        The encoder, in evaluation mode.

    Raises:
        ValueError: if a weight of the model is not among the variables or has another shape.

    Example:
        >>> from_tensorflow({}, KexueConfig(num_hidden_layers=0))
        Traceback (most recent call last):
        ValueError: weights is 'none for embeddings.tokens.weight'; allowed: all of a model with...
    """
    weights = {}
    for name, array in arrays.items():
        plain = re.sub(r"^bert/", "", name)
        plain = re.sub(r"/layer_(\d+)/", r"/layer/\1/", plain).replace("/", ".")
        plain = re.sub(r"\.gamma$|\.kernel$", ".weight", plain)
        plain = re.sub(r"\.beta$", ".bias", plain)
        plain = re.sub(r"(_embeddings)$", r"\1.weight", plain)
        value = torch.from_numpy(np.ascontiguousarray(array))
        weights[plain] = value.T.contiguous() if name.endswith("/kernel") else value
    model = KexueModel(config)
    _fill(model, _renamed(weights))
    return model.eval()
