import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel

from kexue.models.rerope import apply_rerope
from kexue.models.rerope_check import check_rerope
from kexue.models.rerope_support import (
    attention_modules,
    rotary_attentions,
    rotary_module,
    turning_function,
)

TINY = {
    "num_hidden_layers": 4,
    "hidden_size": 32,
    "intermediate_size": 32,
    "vocab_size": 40,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
MLA = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
}
ROPE = {"rope_theta": 1e4, "factor": 2.0}


def build(kind, **options):
    return AutoModel.from_config(AutoConfig.for_model(kind, **{**TINY, **options})).eval()


WORKING = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "glm": {"head_dim": 8},
    "glm4": {"head_dim": 8},
    "phi": {},
    "phi3": {},
    "gemma": {"head_dim": 8},
    "olmo2": {},
    "cohere": {},
    "granite": {},
    "starcoder2": {},
    "gpt_neox": {},
    "stablelm": {},
    "ernie4_5": {},
    "mixtral": {"sliding_window": None, "num_local_experts": 8},
}


@pytest.mark.parametrize("kind", WORKING)
def test_decoders_of_many_families_agree_with_the_definition(kind):
    model = build(kind, **WORKING[kind])
    for step in (0.0, 0.25):
        apply_rerope(model, window=8, step=step)
        assert check_rerope(model) < 1e-4


REFUSED = {
    "MLA": ("deepseek_v3", MLA, "MLA"),
    "sliding windows": ("mistral", {"sliding_window": 8}, "another kind: sliding_attention"),
    "some sliding windows": ("gemma2", {"head_dim": 8}, "another kind: sliding_attention"),
    "chunks": ("llama4_text", {"head_dim": 8}, "another kind: chunked_attention"),
    "mrope": ("qwen2_vl_text", {}, "several axes"),
    "nope": ("smollm3", {}, "NoPE"),
    "dynamic": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", **ROPE}},
        r"change with the length of the text \(dynamic\)",
    ),
    "longrope": (
        "phi3",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0] * 4,
                "long_factor": [2.0] * 4,
                "original_max_position_embeddings": 32,
            }
        },
        r"change with the length of the text \(longrope\)",
    ),
    "outside the interface": ("gptj", {"n_embd": 32, "n_head": 4, "n_layer": 1}, "interface"),
    "RoFormer": ("roformer", {}, "interface"),
    "no rotary positions": ("bert", {}, "no rotary positions"),
    "learned positions": ("gpt2", {"n_embd": 32, "n_head": 4}, "no rotary positions"),
    "both directions": ("eurobert", {}, "both directions"),
    "encoder and decoder": ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 32}, "several models"),
    "its own attention": ("doge", {}, "a form of its own"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_models_are_refused_with_the_reason(name):
    kind, options, reason = REFUSED[name]
    model = build(kind, **options)
    before = model.config.to_dict()
    with pytest.raises(ValueError, match=rf"cannot take ReRoPE: .*{reason}"):
        apply_rerope(model, window=8)
    assert model.config.to_dict() == before
    assert not any(hasattr(module, "rerope") for module in model.modules())


def test_sinks_and_capped_scores_are_refused():
    model = build("llama")
    model.config.attn_logit_softcapping = 50.0
    with pytest.raises(ValueError, match="caps its scores"):
        rotary_attentions(model)
    model.config.attn_logit_softcapping = None
    model.layers[0].self_attn.sinks = torch.zeros(4)
    with pytest.raises(ValueError, match="has sinks"):
        rotary_attentions(model)


def test_a_function_of_another_form_is_refused(monkeypatch):
    model = build("llama")
    module = transformers.models.llama.modeling_llama
    monkeypatch.setattr(module, "apply_rotary_pos_emb", lambda x, cos, sin: x)
    assert turning_function(model.layers[0].self_attn) is None
    with pytest.raises(ValueError, match="a function of its own form"):
        rotary_attentions(model)
    monkeypatch.delattr(module, "apply_rotary_pos_emb")
    assert turning_function(model.layers[0].self_attn) is None


def test_two_rotary_modules_are_one_too_many():
    model = build("llama")
    assert rotary_module(model, model.layers[0].self_attn) is model.rotary_emb
    model.other = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(model.config)
    assert rotary_module(model, model.layers[0].self_attn) is None
    with pytest.raises(ValueError, match="no single module"):
        rotary_attentions(model)
    # A module that an attention has to itself comes first.
    model.layers[0].self_attn.own = model.other
    assert rotary_module(model, model.layers[0].self_attn) is model.other


def test_attention_modules_come_in_order():
    model = build("llama")
    assert attention_modules(model) == [layer.self_attn for layer in model.layers]
    assert attention_modules(build("roformer")) == []
