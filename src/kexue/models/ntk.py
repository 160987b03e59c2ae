"""NTK-aware frequencies as types of rotary positions that any model of transformers can be given.

    config.rope_parameters.update(rope_type="ntk_mixed", factor=8.0)

The types are "ntk_old", "ntk_fixed" and "ntk_mixed", the last with an optional "exponent". They are
written to config.json like the types of transformers, which loads them once kexue is imported.

Post: https://kexue.fm/archives/9675, https://kexue.fm/archives/9706
Axes: d features of a head that are turned
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, RotaryEmbeddingConfigMixin

from kexue._check import invalid
from kexue.positions.ntk import ntk_frequencies

KINDS = ("old", "fixed", "mixed")


def register_ntk() -> None:
    """Let transformers know the types "ntk_old", "ntk_fixed" and "ntk_mixed".

    Importing `kexue.models` does so. A model is stretched by its configuration, before it is
    loaded; the parameters of its rotary positions are changed in place, because a dict without
    "rope_theta" would put the base back to 10000. To undo it, set "rope_type" back and load anew.

    Example:
        >>> register_ntk()
        >>> from transformers import LlamaConfig, LlamaModel
        >>> config = LlamaConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2
        ... )
        >>> config.rope_parameters.update(rope_type="ntk_mixed", factor=8.0)
        >>> LlamaModel(config).rotary_emb.inv_freq
        tensor([0.2597, 0.0012])
    """
    for kind in KINDS:
        ROPE_INIT_FUNCTIONS[f"ntk_{kind}"] = _frequencies_of(kind)
        # transformers looks the check of a type up by this name, and warns where there is none
        setattr(RotaryEmbeddingConfigMixin, f"_validate_ntk_{kind}_rope_parameters", _validate)


def _frequencies_of(kind: str) -> Callable[..., tuple[Tensor, float]]:
    """Make the function of one type, with the signature that all types of transformers have."""

    def frequencies(
        config: PreTrainedConfig,
        device: torch.device | None = None,
        seq_len: int | None = None,
        layer_type: str | None = None,
    ) -> tuple[Tensor, float]:
        config.standardize_rope_params()
        rope = config.rope_parameters
        rope = rope if layer_type is None else rope[layer_type]
        _validate(config, rope)
        if rope["rope_theta"] is None:
            raise invalid(
                "rope_theta",
                None,
                "the base that the model was trained with",
                "Change config.rope_parameters by update(), which keeps it.",
            )
        head = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        options = {"exponent": rope["exponent"]} if "exponent" in rope else {}
        found = ntk_frequencies(
            int(head * rope.get("partial_rotary_factor", 1.0)),
            rope["factor"],
            kind=kind,
            base=rope["rope_theta"],
            **options,
        )
        return found.to(device), 1.0

    return frequencies


def _validate(
    self: PreTrainedConfig, rope_parameters: dict, ignore_keys: set[str] | None = None
) -> None:
    """Check the parameters of our types, as the method of a configuration."""
    kind = rope_parameters["rope_type"].removeprefix("ntk_")
    extra = {"exponent"} if kind == "mixed" else set()
    self._check_received_keys(
        rope_parameters["rope_type"],
        set(rope_parameters),
        {"rope_type", "factor"},
        optional_keys={"rope_theta"} | extra,
        ignore_keys=ignore_keys,
    )
    factor = rope_parameters["factor"]
    if not isinstance(factor, int | float):
        raise invalid("factor", factor, "1 or more: length to read over length of training")
    ntk_frequencies(2, factor, kind=kind, exponent=rope_parameters.get("exponent", 0.625))
