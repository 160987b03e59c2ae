"""ReRoPE for decoders of transformers: a trained model reads texts longer than its training.

    apply_rerope(model, window=512)                one call; `generate` needs nothing else
    remove_rerope(model)                           the model as it was, to the bit
    check_rerope(model)                            compare with the definition on a short input

`step` chooses the method: 0 is ReRoPE, between 0 and 1 Leaky ReRoPE. Above 1 it is Inverse Leaky
ReRoPE, which is for training: in training mode distances beyond the window grow by `step`, in
evaluation mode the model is plain RoPE at the speed of the stock attention.

The settings are saved with the model's config; after loading, `apply_rerope(model)` puts them into
force again.

Post: https://kexue.fm/archives/9708
Axes: B texts, L tokens, D hidden size
"""

from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from kexue._check import invalid
from kexue.models.rerope_attention import rerope_attention, rerope_mask
from kexue.models.rerope_cache import before_call
from kexue.models.rerope_pair import FarPair
from kexue.models.rerope_support import rotary_attentions, rotary_module, turning_function

# transformers looks for "flash", "sdpa" and "flex" in names and would treat those in its own way.
_NAME = "kexue_rerope"


def apply_rerope(
    model: PreTrainedModel,
    *,
    window: int | None = None,
    step: float = 0.0,
    training_length: int | None = None,
) -> None:
    """Let a decoder with rotary positions read texts longer than those it was trained on.

    Args:
        model: a decoder, or a model with a head on one, that follows transformers' attention
            interface.
        window: distances below it stay exact: a quarter to a half of the training length, never all
            of it. None takes all settings from the config of a model that was saved with ReRoPE.
        step: what a distance grows by for each token beyond the window: 0 for ReRoPE, 1 / k for
            Leaky ReRoPE, above 1 for training with Inverse Leaky ReRoPE.
        training_length: with the factor max(1, log n / log training_length) on a query that sees n
            keys, which the article found to help; none by default.

    Raises:
        ValueError: if the model cannot take ReRoPE, with the reason, or a setting is not allowed.

    Example:
        >>> import torch
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> config = LlamaConfig(
        ...     num_hidden_layers=1, hidden_size=16, intermediate_size=16, vocab_size=9,
        ...     num_attention_heads=2, eos_token_id=None,
        ... )
        >>> model = LlamaForCausalLM(config).eval()
        >>> apply_rerope(model, window=4)
        >>> model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=9, do_sample=False).shape
        torch.Size([1, 12])
        >>> remove_rerope(model)
    """
    if window is None:
        saved = getattr(model.config, _NAME, None)
        if not saved:
            raise invalid("window", window, "1 or more", "Take a quarter of the training length.")
        apply_rerope(model, **saved)
        return
    _check(window, step, training_length)
    attentions = rotary_attentions(model)
    if hasattr(model.config, "kexue_log_n"):
        fix = "Call remove_log_n(model) and apply_rerope(model, ..., training_length=...)."
        raise ValueError(f"The model has log n attention already. {fix}")
    remove_rerope(model)
    AttentionInterface.register(_NAME, rerope_attention)
    AttentionMaskInterface.register(_NAME, rerope_mask)
    pairs: dict[nn.Module, FarPair] = {}
    for module in attentions:
        rotary, turn = rotary_module(model, module), turning_function(module)
        pair = FarPair(rotary, turn, window, float(step), training_length)
        module.rerope = pairs.setdefault(rotary, pair)
    plain = model.config._attn_implementation
    handle = model.base_model.register_forward_pre_hook(before_call, with_kwargs=True)
    model.base_model.rerope_undo = (plain, handle)
    model.set_attn_implementation(_NAME)
    settings = {"window": window, "step": step, "training_length": training_length}
    setattr(model.config, _NAME, settings)


def remove_rerope(model: PreTrainedModel) -> None:
    """Undo `apply_rerope`; the model is as it was before. Without ReRoPE nothing happens.

    Args:
        model: a model that `apply_rerope` was called on.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> remove_rerope(LlamaModel(LlamaConfig(num_hidden_layers=0)))
    """
    if hasattr(model.config, _NAME):
        delattr(model.config, _NAME)
    if not hasattr(model.base_model, "rerope_undo"):
        return
    plain, handle = model.base_model.rerope_undo
    model.set_attn_implementation(plain)
    handle.remove()
    del model.base_model.rerope_undo
    for module in model.modules():
        if hasattr(module, "rerope"):
            del module.rerope


def _check(window: int, step: float, training_length: int | None) -> None:
    if window < 1:
        raise invalid("window", window, "1 or more", "Take a quarter of the training length.")
    if not 0 <= step < float("inf"):
        raise invalid("step", step, "0 or more", "0 is ReRoPE, 1 / k is Leaky ReRoPE.")
    if training_length is not None and training_length <= 1:
        raise invalid("training_length", training_length, "above 1, such as 512, or None")
