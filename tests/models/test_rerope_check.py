import dataclasses

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

from kexue.models import rerope_attention
from kexue.models.rerope import apply_rerope
from kexue.models.rerope_check import check_rerope
from kexue.models.rerope_pair import FarPair


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("step", [0.0, 0.3, 1.0, 8.0])
@pytest.mark.parametrize("training_length", [None, 4])
def test_what_is_right_passes(model, step, training_length):
    apply_rerope(model, window=512, step=step, training_length=training_length)
    assert 0 < check_rerope(model) < 1e-4


def test_the_model_is_left_as_it_was(model):
    apply_rerope(model, window=512, step=8.0)
    pairs = [layer.self_attn.rerope for layer in model.model.layers]
    check_rerope(model)
    assert [layer.self_attn.rerope for layer in model.model.layers] == pairs
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_half_precision_passes(model):
    apply_rerope(model.bfloat16(), window=512)
    assert check_rerope(model) < 0.1


def test_a_wrong_turn_of_one_layer_is_found(model):
    apply_rerope(model, window=512)
    attention = model.model.layers[1].self_attn

    def turn(q, k, cos, sin):
        return modeling_llama.apply_rotary_pos_emb(q, k, cos, -sin)

    attention.rerope = dataclasses.replace(attention.rerope, turn=turn)
    with pytest.raises(ValueError, match=r"ReRoPE in model.layers.1.self_attn .*remove_rerope"):
        check_rerope(model)


@pytest.mark.parametrize("name", ["query", "key"])
def test_a_far_pair_that_is_not_turned_is_found(model, name, monkeypatch):
    monkeypatch.setattr(FarPair, name, lambda self, x, positions: x)
    apply_rerope(model, window=512)
    with pytest.raises(ValueError, match="deviates from its definition"):
        check_rerope(model)


def test_a_window_that_is_off_by_one_is_found(model, monkeypatch):
    attend = rerope_attention.rerope_attend

    def wrong(*tensors, window, **options):
        return attend(*tensors, window=window - 1, **options)

    monkeypatch.setattr(rerope_attention, "rerope_attend", wrong)
    apply_rerope(model, window=512, step=0.0)
    with pytest.raises(ValueError, match="deviates from its definition"):
        check_rerope(model)


def test_a_model_without_rerope_is_told_so(model):
    with pytest.raises(ValueError, match="has no ReRoPE"):
        check_rerope(model)


def test_an_attention_that_hands_nothing_on_is_told_so(model, monkeypatch):
    apply_rerope(model, window=512)
    forward = modeling_llama.LlamaAttention.forward

    def silent(self, hidden_states, position_embeddings, attention_mask, **_):
        return forward(self, hidden_states, position_embeddings, attention_mask)

    monkeypatch.setattr(modeling_llama.LlamaAttention, "forward", silent)
    with pytest.raises(ValueError, match="hands no options to its attention"):
        check_rerope(model)
