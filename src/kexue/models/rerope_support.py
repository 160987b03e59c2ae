"""Which decoders can read at rectified distances, and why the others cannot."""

import inspect
import sys
from collections.abc import Callable

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import get_layer_types_and_kwargs

_HELP = (
    "ReRoPE needs a decoder with rotary positions and full causal attention, such as Llama, Qwen2, "
    "Qwen3, GLM, Phi, or Mistral with sliding_window=None."
)


def rotary_attentions(model: PreTrainedModel) -> list[nn.Module]:
    """List the attention modules of a decoder that ReRoPE can serve.

    Args:
        model: any model of transformers.

    Returns:
        Its attention modules, in order.

    Raises:
        ValueError: if the model cannot take ReRoPE, with the reason.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(num_hidden_layers=1, hidden_size=12))
        >>> rotary_attentions(model)
        Traceback (most recent call last):
        ValueError: BertModel cannot take ReRoPE: it has no rotary positions. ReRoPE needs a ...
    """
    found = attention_modules(model)
    reason = _reason(model, found)
    if reason:
        raise ValueError(f"{type(model).__name__} cannot take ReRoPE: {reason}. {_HELP}")
    return found


def attention_modules(model: PreTrainedModel) -> list[nn.Module]:
    """List the modules of a model that go through the attention interface.

    Args:
        model: any model of transformers.

    Returns:
        Its attention modules, in order; nothing where the model does not follow the interface.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(num_hidden_layers=2, hidden_size=12))
        >>> [type(module).__name__ for module in attention_modules(model)]
        ['BertSelfAttention', 'BertSelfAttention']
    """
    return [
        module
        for module in model.modules()
        if "get_interface" in inspect.unwrap(type(module).forward).__code__.co_names
    ]


def rotary_module(model: PreTrainedModel, attention: nn.Module) -> nn.Module | None:
    """Find the module that gives an attention module its cosines and sines.

    Args:
        model: the model.
        attention: one of its attention modules.

    Returns:
        The attention's own rotary module or the only one of the model, or None.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> config = LlamaConfig(
        ...     num_hidden_layers=1, hidden_size=16, intermediate_size=16, vocab_size=9,
        ...     num_attention_heads=2,
        ... )
        >>> model = LlamaModel(config)
        >>> rotary_module(model, model.layers[0].self_attn) is model.rotary_emb
        True
    """
    for root in (attention, model):
        found = [module for module in root.modules() if hasattr(module, "inv_freq")]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def turning_function(attention: nn.Module) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """Find the function with which a model turns its queries and keys.

    Args:
        attention: an attention module.

    Returns:
        The function `(q, k, cos, sin) -> (q, k)`, or None where it has another form.

    Example:
        >>> from transformers.models.llama.modeling_llama import LlamaAttention
        >>> from transformers import LlamaConfig
        >>> turning_function(LlamaAttention(LlamaConfig(), 0)).__name__
        'apply_rotary_pos_emb'
    """
    function = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    if function is None:
        return None
    names = list(inspect.signature(function).parameters)
    return function if names[:4] == ["q", "k", "cos", "sin"] else None


def _reason(model: PreTrainedModel, attentions: list[nn.Module]) -> str | None:
    """Say in a clause why a model cannot take ReRoPE, or give None."""
    config = model.config
    if config.is_encoder_decoder or config.get_text_config() is not config:
        return "it is made of several models; give the decoder alone"
    kinds = sorted(set(get_layer_types_and_kwargs(config)[0]) - {"full_attention"})
    if kinds:
        return f"it has layers of another kind: {', '.join(kinds)}"
    if not attentions:
        return "its attention does not go through transformers' attention interface"
    reasons = _reasons_of_positions(model, attentions) | _reasons_of_attention(model, attentions)
    return next((reason for reason, applies in reasons.items() if applies), None)


def _reasons_of_positions(model: PreTrainedModel, attentions: list[nn.Module]) -> dict[str, bool]:
    parameters = getattr(model.config, "rope_parameters", None) or {}
    kind = parameters.get("rope_type")
    return {
        "it has no rotary positions": not parameters,
        "its positions have several axes (mrope)": any(
            hasattr(module, "mrope_section") for module in model.modules()
        ),
        "its layers turn by different frequencies": any(
            isinstance(value, dict) for value in parameters.values()
        ),
        f"its frequencies change with the length of the text ({kind})": kind
        in ("dynamic", "longrope"),
        "some of its layers have no positions (NoPE)": not all(
            getattr(module, "use_rope", True) for module in attentions
        ),
        "it has no single module with its rotary frequencies": not all(
            rotary_module(model, module) for module in attentions
        ),
    }


def _reasons_of_attention(model: PreTrainedModel, attentions: list[nn.Module]) -> dict[str, bool]:
    config = model.config
    return {
        "its keys are compressed, with rotary features beside others (MLA)": bool(
            getattr(config, "kv_lora_rank", None)
        ),
        "its attention has a form of its own": not all(
            hasattr(module, "is_causal") for module in attentions
        ),
        "it reads in both directions": not all(
            getattr(module, "is_causal", True) for module in attentions
        ),
        "its attention has sinks": any(hasattr(module, "sinks") for module in attentions),
        "it caps its scores": bool(getattr(config, "attn_logit_softcapping", None)),
        "it turns queries and keys by a function of its own form": not all(
            turning_function(module) for module in attentions
        ),
    }
