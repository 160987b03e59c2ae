import copy
import math

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from kexue.models import log_n
from kexue.models.log_n import apply_log_n, check_log_n, log_n_attention, remove_log_n
from kexue.models.rerope import apply_rerope, remove_rerope

TINY = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": None,
    "bos_token_id": None,
}


def sharpen(model):
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.4)
    return model.double().eval()


def decoder(**options):
    return sharpen(LlamaForCausalLM(LlamaConfig(**{**TINY, "num_hidden_layers": 1, **options})))


def encoder(**options):
    config = {k: v for k, v in TINY.items() if k != "num_key_value_heads"}
    return sharpen(BertModel(BertConfig(**{**config, "num_hidden_layers": 1, **options})))


def texts(count=1, length=20):
    return torch.randint(1, 40, (count, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def states(model, ids, **options):
    options = {"use_cache": False, **options} if model.config.model_type == "llama" else options
    return getattr(model, "base_model", model)(ids, **options).last_hidden_state


def with_factor(model, ids, factor, **options):
    """The same model with its queries' projection multiplied, which moves the scores alike."""
    model = copy.deepcopy(model)
    for name, parameter in model.named_parameters():
        if "q_proj" in name or ".query." in name:
            parameter.data.mul_(factor)
    return states(model, ids, **options)


def post_hoc(n, length):
    return max(1.0, math.log(n) / math.log(length))


def test_each_query_of_a_decoder_is_scaled_by_what_it_sees():
    model, ids = decoder(), texts()
    expected = torch.cat(
        [with_factor(model, ids, post_hoc(n, 6))[:, n - 1 : n] for n in range(1, 21)], 1
    )
    plain = states(model, ids)
    apply_log_n(model, training_length=6)
    found = states(model, ids)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[:, :6], plain[:, :6], rtol=0, atol=1e-5)
    assert (found[:, 6:] - plain[:, 6:]).abs().max() > 1e-3


@pytest.mark.parametrize("min_n", [1, 5])
def test_the_train_time_form_of_a_decoder(min_n):
    model, ids = decoder(), texts()
    expected = [
        with_factor(model, ids, math.log(max(n, min_n)) / math.log(9))[:, n - 1 : n]
        for n in range(1, 21)
    ]
    apply_log_n(model, base_length=9, min_n=min_n)
    torch.testing.assert_close(states(model, ids), torch.cat(expected, 1), rtol=0, atol=1e-5)


def test_an_encoder_is_scaled_by_the_tokens_of_each_text():
    model, ids = encoder(), texts(3)
    mask = torch.ones_like(ids)
    mask[1, 13:] = mask[2, 4:] = 0
    expected = [
        with_factor(model, ids, post_hoc(n, 6), attention_mask=mask)[row, :n]
        for row, n in enumerate((20, 13, 4))
    ]
    plain = states(model, ids, attention_mask=mask)
    apply_log_n(model, training_length=6)
    found = states(model, ids, attention_mask=mask)
    for row, n in enumerate((20, 13, 4)):
        torch.testing.assert_close(found[row, :n], expected[row], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[2, :4], plain[2, :4])
    assert (found[0] - plain[0]).abs().max() > 1e-3


def test_padding_of_an_encoder_changes_nothing():
    model, ids = encoder(num_hidden_layers=2), texts(1, 30)
    apply_log_n(model, base_length=16)
    mask = (torch.arange(30) < 21).long()[None]
    padded = states(model, ids, attention_mask=mask)[:, :21]
    torch.testing.assert_close(padded, states(model, ids[:, :21]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("chunks", [[1] * 20, [8, 12], [15, 1, 1, 3]])
def test_decoding_in_steps_equals_the_whole_text(chunks):
    model, ids = decoder(num_hidden_layers=2), texts(2)
    mask = torch.ones_like(ids)
    mask[1, :7] = 0
    positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)
    apply_log_n(model, training_length=4)
    options = {"attention_mask": mask, "position_ids": positions}
    whole = model(ids, use_cache=False, **options).logits
    cache, parts, seen = None, [], 0
    with torch.no_grad():
        for part in ids.split(chunks, 1):
            seen += part.shape[1]
            options = {
                "attention_mask": mask[:, :seen],
                "position_ids": positions[:, seen - part.shape[1] : seen],
            }
            result = model(part, past_key_values=cache, use_cache=True, **options)
            cache, parts = result.past_key_values, [*parts, result.logits]
    keep = mask.bool()
    torch.testing.assert_close(torch.cat(parts, 1)[keep], whole[keep], rtol=0, atol=1e-5)
    alone = model(ids[1:, 7:], use_cache=False).logits
    torch.testing.assert_close(whole[1:, 7:], alone, rtol=0, atol=1e-5)


def test_packed_texts_equal_texts_alone():
    model, ids = decoder(num_hidden_layers=2), texts(1, 40)
    apply_log_n(model, training_length=4)
    lengths = [25, 15]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    packed = states(model, ids, position_ids=positions)
    alone = torch.cat([states(model, part) for part in ids.split(lengths, 1)], 1)
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-5)


def test_layers_with_a_window_count_the_window():
    options = {**TINY, "num_hidden_layers": 1, "sliding_window": 5}
    model = sharpen(AutoModel.from_config(AutoConfig.for_model("mistral", **options)))
    ids = texts()
    expected = torch.cat(
        [
            with_factor(model, ids, math.log(min(n, 5)) / math.log(9))[:, n - 1 : n]
            for n in range(1, 21)
        ],
        1,
    )
    apply_log_n(model, base_length=9)
    torch.testing.assert_close(states(model, ids), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("strategy", [{}, {"num_beams": 3}])
def test_generate_gives_the_same_tokens_as_without_a_cache(strategy):
    model = decoder(num_hidden_layers=2)
    apply_log_n(model, training_length=4)
    ids = texts(2, 9)
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    options = {"attention_mask": mask, "max_new_tokens": 16, "do_sample": False, **strategy}
    expected = model.generate(ids, use_cache=False, **options)
    assert torch.equal(model.generate(ids, **options), expected)
    remove_log_n(model)
    assert not torch.equal(model.generate(ids, **options), expected)


def test_gradients_are_those_of_a_scaled_projection():
    model, ids = encoder(), texts()
    twin = copy.deepcopy(model)
    apply_log_n(model, training_length=6)
    model(ids).last_hidden_state.square().sum().backward()
    attention = twin.encoder.layer[0].attention.self
    factor = post_hoc(20, 6)
    attention.query.weight.data.mul_(factor)
    attention.query.bias.data.mul_(factor)
    twin(ids).last_hidden_state.square().sum().backward()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        if ours.grad is not None:
            scale = factor if ".query." in name else 1.0
            torch.testing.assert_close(ours.grad, theirs.grad * scale, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [decoder, encoder])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_undoing_restores_the_model_to_the_bit(make, implementation):
    model, ids = make(), texts()
    model.set_attn_implementation(implementation)
    before, config = states(model, ids), model.config.to_dict()
    names = set(model.state_dict())
    apply_log_n(model, training_length=3)
    apply_log_n(model, training_length=6)
    assert not torch.equal(states(model, ids), before)
    assert set(model.state_dict()) == names
    remove_log_n(model)
    assert torch.equal(states(model, ids), before)
    assert model.config.to_dict() == config
    assert model.config._attn_implementation == implementation
    assert not any(hasattr(module, "log_n") for module in model.modules())
    remove_log_n(model)


@pytest.mark.parametrize("settings", [{"training_length": 6}, {"base_length": 9, "min_n": 3}])
def test_settings_survive_saving_and_loading(settings, tmp_path):
    model, ids = decoder(), texts()
    apply_log_n(model, **settings)
    expected = states(model, ids)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert (states(loaded, ids) - expected).abs().max() > 1e-3
    apply_log_n(loaded)
    torch.testing.assert_close(states(loaded, ids), expected, rtol=0, atol=1e-6)


KINDS = {
    "bert": {},
    "roberta": {},
    "electra": {},
    "ernie": {},
    "distilbert": {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 48},
    "modernbert": {},
    "eurobert": {},
    "llama": {},
    "qwen3": {},
    "glm": {"head_dim": 8},
    "mistral": {"sliding_window": 5},
    "gemma3_text": {"sliding_window": 5, "head_dim": 8},
    "gpt2": {},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"training_length": 5}, {"base_length": 64, "min_n": 2}])
def test_models_of_many_families_agree_with_the_definition(kind, settings):
    config = AutoConfig.for_model(kind, **{**TINY, **KINDS[kind]})
    model = AutoModel.from_config(config).eval()
    apply_log_n(model, **settings)
    assert check_log_n(model) < 1e-4
    assert not model.training


def test_a_task_model_takes_it_too():
    config = {k: v for k, v in TINY.items() if k != "num_key_value_heads"}
    model = AutoModelForMaskedLM.from_config(BertConfig(**config)).eval()
    apply_log_n(model, training_length=5)
    assert check_log_n(model) < 1e-4
    remove_log_n(model.base_model)
    assert not hasattr(model.config, "kexue_log_n")


@pytest.mark.parametrize("broken", ["scale", "count"])
def test_the_check_finds_what_is_wrong(broken, monkeypatch):
    model = decoder()
    apply_log_n(model, training_length=5)
    if broken == "scale":
        attend = log_n.sdpa_attention_forward
        monkeypatch.setattr(
            log_n,
            "sdpa_attention_forward",
            lambda module, query, *rest, **options: attend(module, query * 1.2, *rest, **options),
        )
    else:
        count = log_n._counts
        monkeypatch.setattr(log_n, "_counts", lambda *inputs: count(*inputs) + 9)
    with pytest.raises(ValueError, match=r"deviates from its definition .*remove_log_n"):
        check_log_n(model)


def test_the_check_tells_what_it_cannot_check():
    model = decoder()
    with pytest.raises(ValueError, match="has no log n attention"):
        check_log_n(model)
    apply_log_n(model, training_length=5)
    model.set_attn_implementation("sdpa")
    with pytest.raises(ValueError, match="cannot be checked"):
        check_log_n(model)


REFUSED = {
    "outside the interface": ("roformer", {}, "interface"),
    "DeBERTa": ("deberta-v2", {}, "interface"),
    "encoder and decoder": ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 32}, "several models"),
    "sinks": ("gpt_oss", {"num_local_experts": 4, "head_dim": 8}, "sinks"),
    "capped scores": ("gemma2", {"head_dim": 8}, "caps its scores"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_models_are_refused_with_the_reason(name):
    kind, options, reason = REFUSED[name]
    model = AutoModel.from_config(AutoConfig.for_model(kind, **{**TINY, **options}))
    with pytest.raises(ValueError, match=f"cannot take log n attention: .*{reason}"):
        apply_log_n(model, training_length=512)
    assert not hasattr(model.config, "kexue_log_n")


def test_with_rerope_one_call_does_both():
    model = decoder()
    apply_rerope(model, window=5)
    with pytest.raises(ValueError, match=r"apply_rerope\(model, ..., training_length"):
        apply_log_n(model, training_length=5)
    remove_rerope(model)
    apply_log_n(model, training_length=5)
    with pytest.raises(ValueError, match=r"Call remove_log_n\(model\)"):
        apply_rerope(model, window=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of them"),
        ({"training_length": 5, "base_length": 5}, "one of them"),
        ({"training_length": 1}, "training_length is 1; allowed: above 1"),
        ({"base_length": 1}, "base_length is 1; allowed: above 1"),
        ({"base_length": 9, "min_n": 0}, "min_n is 0; allowed: 1 or more"),
    ],
)
def test_wrong_settings_are_explained(settings, message):
    model = encoder()
    with pytest.raises(ValueError, match=message):
        apply_log_n(model, **settings)
    assert not hasattr(model.config, "kexue_log_n")


def test_float_masks_of_a_caller_are_counted():
    module = torch.nn.Module()
    module.log_n, module.is_causal = {"training_length": 2, "base_length": None, "min_n": 1}, True
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 6, 4, generator=generator) for _ in range(3))
    keep = torch.ones(6, 6, dtype=torch.bool).tril()
    expected, _ = log_n_attention(module, q, k, v, keep[None, None])
    for least in (-1e4, torch.finfo(torch.float32).min, -torch.inf):
        mask = torch.zeros(1, 1, 6, 6).masked_fill(~keep, least)
        found, _ = log_n_attention(module, q, k, v, mask)
        torch.testing.assert_close(found, expected)
    found, _ = log_n_attention(module, q, k, v, None)
    torch.testing.assert_close(found, expected)
