import copy
import math
import warnings

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GlmConfig,
    GlmForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from kexue.models.rerope import apply_rerope, remove_rerope
from kexue.models.rerope_cache import TwoKeyLayer
from kexue.positions.rerope import rerope_distance

LENGTH = 24
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
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}


def build(kind="llama", **options):
    """A small random decoder whose attention is far from uniform."""
    torch.manual_seed(0)
    config, model = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
        "glm": (GlmConfig, GlmForCausalLM),
    }[kind]
    head = {"head_dim": 8} if kind == "llama" else {"head_dim": 16}
    made = model(config(**{**TINY, **head, **options})).eval()
    for name, weight in made.named_parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.5 if "_proj" in name else 0.2)
        elif "q_norm" in name:
            torch.nn.init.constant_(weight, 2.0)
    return made


def texts(count=1, length=LENGTH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 40, (count, length), generator=generator)


@torch.no_grad()
def logits(model, ids, **options):
    return model(ids, **{"use_cache": False, **options}).logits


def rotation(angle_of_one, distance, width, *, interleaved):
    """The dense matrix R(distance) [width, width]; what is not rotated stays."""
    matrix = torch.eye(width, dtype=torch.float64)
    count = len(angle_of_one)
    for m, frequency in enumerate(angle_of_one.tolist()):
        a, b = (2 * m, 2 * m + 1) if interleaved else (m, m + count)
        cos, sin = math.cos(distance * frequency), math.sin(distance * frequency)
        matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = cos, -sin, sin, cos
    return matrix


@torch.no_grad()
def oracle(model, ids, distance):
    """The whole model for one text, each score by its own relative position, in float64."""
    model = copy.deepcopy(model).double()
    inner, rotary = model.model, model.model.rotary_emb
    interleaved = type(model).__name__.startswith("Glm")
    hidden = inner.embed_tokens(ids[0])
    for layer in inner.layers:
        attention = layer.self_attn
        x = layer.input_layernorm(hidden)
        width = attention.head_dim
        q, k, v = (
            project(x).unflatten(-1, (-1, width))
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if hasattr(attention, "q_norm"):
            q, k = attention.q_norm(q), attention.k_norm(k)
        turns = [
            rotation(rotary.inv_freq, float(distance(r)), width, interleaved=interleaved)
            for r in range(len(x))
        ]
        mixed = torch.zeros(len(x), q.shape[1], width, dtype=torch.float64)
        for head in range(q.shape[1]):
            keys = k[:, head // (q.shape[1] // k.shape[1])]
            values = v[:, head // (q.shape[1] // k.shape[1])]
            for i in range(len(x)):
                scores = [(turns[i - j] @ q[i, head]) @ keys[j] for j in range(i + 1)]
                scores = torch.stack(scores) * attention.scaling * rotary.attention_scaling**2
                mixed[i, head] = scores.softmax(0) @ values[: i + 1]
        hidden = hidden + attention.o_proj(mixed.flatten(1))
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return model.lm_head(inner.norm(hidden))[None]


def rectified(window, step):
    return lambda r: rerope_distance(torch.tensor(r), window=window, step=step)


@pytest.mark.parametrize(("window", "step"), [(8, 0.0), (1, 0.0), (8, 0.25), (12, 1 / 16)])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "glm"])
def test_a_whole_model_equals_one_relative_position_per_score(kind, window, step):
    model, ids = build(kind), texts()
    plain = logits(model, ids)
    torch.testing.assert_close(plain.double(), oracle(model, ids, lambda r: r), rtol=0, atol=1e-3)
    expected = oracle(model, ids, rectified(window, step))
    apply_rerope(model, window=window, step=step)
    found = logits(model, ids)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3)
    assert (found - plain).abs().max() > 0.3


def test_equals_the_definition_closely_in_double_precision():
    model, ids = build().double(), texts()
    expected = oracle(model, ids, rectified(6, 0.5))
    apply_rerope(model, window=6, step=0.5)
    torch.testing.assert_close(logits(model, ids), expected, rtol=0, atol=1e-4)


def test_tables_with_a_factor():
    model, ids = build(rope_parameters=YARN), texts()
    assert model.model.rotary_emb.attention_scaling > 1.1
    expected = oracle(model, ids, rectified(7, 0.0))
    apply_rerope(model, window=7)
    torch.testing.assert_close(logits(model, ids).double(), expected, rtol=0, atol=1e-3)


def test_linear_and_llama3_frequencies():
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    for parameters in ({"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}, llama3):
        model, ids = build(rope_parameters=parameters), texts()
        expected = oracle(model, ids, rectified(7, 0.0))
        apply_rerope(model, window=7)
        torch.testing.assert_close(logits(model, ids).double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "glm"])
def test_a_window_over_the_text_and_a_step_of_one_are_plain_rope(kind):
    model, ids = build(kind), texts()
    plain = logits(model, ids)
    for window, step in ((LENGTH, 0.0), (100, 0.5), (5, 1.0)):
        apply_rerope(model, window=window, step=step)
        torch.testing.assert_close(logits(model, ids), plain, rtol=0, atol=5e-4)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "glm"])
@pytest.mark.parametrize("chunks", [[1] * LENGTH, [10, 14], [13, 1, 1, 9], [1, 22, 1]])
def test_decoding_in_steps_equals_the_whole_text(kind, chunks):
    model, ids = build(kind), texts(2)
    apply_rerope(model, window=6, step=0.25)
    whole = logits(model, ids)
    cache, parts = None, []
    with torch.no_grad():
        for part in ids.split(chunks, 1):
            result = model(part, past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            parts.append(result.logits)
    assert type(cache.layers[0]) is TwoKeyLayer
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=5e-4)


def test_a_long_text_goes_through_the_fused_kernel_and_agrees():
    model, ids = build(), texts(2, 90)
    apply_rerope(model, window=20)
    whole = logits(model, ids)
    parts, cache = [], None
    with torch.no_grad():
        for part in ids.split(30, 1):
            result = model(part, past_key_values=cache, use_cache=True)
            parts, cache = [*parts, result.logits], result.past_key_values
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=5e-4)


@pytest.mark.parametrize("length", [14, 60])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("with_positions", [False, True])
def test_left_padding_changes_nothing(length, cached, with_positions):
    model = build()
    apply_rerope(model, window=5)
    ids, pad = texts(3, length), 7
    alone = logits(model, ids[:, pad:])
    mask = torch.ones_like(ids)
    mask[1:, :pad] = 0
    options = {"attention_mask": mask, "use_cache": cached}
    if with_positions:
        options["position_ids"] = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)
    padded = logits(model, ids, **options)
    torch.testing.assert_close(padded[1:, pad:], alone[1:], rtol=0, atol=5e-4)
    torch.testing.assert_close(padded[:1], logits(model, ids[:1]), rtol=0, atol=5e-4)


def test_right_padding_and_holes_change_nothing_before_them():
    model = build()
    apply_rerope(model, window=5)
    ids = texts(2, 50)
    whole = logits(model, ids)
    mask = torch.ones_like(ids)
    mask[1, 40:] = 0
    padded = logits(model, ids, attention_mask=mask)
    torch.testing.assert_close(padded[0], whole[0], rtol=0, atol=5e-4)
    torch.testing.assert_close(padded[1, :40], whole[1, :40], rtol=0, atol=5e-4)


@pytest.mark.parametrize("lengths", [[30, 18], [5, 40, 1, 2]])
def test_packed_texts_equal_texts_alone(lengths):
    model, ids = build(), texts(1, 48)
    apply_rerope(model, window=7, step=0.5)
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    packed = logits(model, ids, position_ids=positions)
    alone = torch.cat([logits(model, part) for part in ids.split(lengths, 1)], 1)
    torch.testing.assert_close(packed, alone, rtol=0, atol=5e-4)
    assert (packed - logits(model, ids)).abs().max() > 0.3


def test_rows_may_be_packed_differently():
    model, ids = build(), texts(2, 48)
    apply_rerope(model, window=7)
    rows = [[30, 18], [8, 16, 24]]
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in rows])
    packed = logits(model, ids, position_ids=positions)
    for row, lengths in enumerate(rows):
        parts = ids[row : row + 1].split(lengths, 1)
        alone = torch.cat([logits(model, part) for part in parts], 1)
        torch.testing.assert_close(packed[row : row + 1], alone, rtol=0, atol=5e-4)


def test_positions_may_begin_anywhere():
    model, ids = build(), texts()
    apply_rerope(model, window=5)
    shifted = torch.arange(LENGTH)[None] + 1000
    for cached in (False, True):
        moved = logits(model, ids, position_ids=shifted, use_cache=cached)
        torch.testing.assert_close(moved, logits(model, ids), rtol=0, atol=5e-3)


GENERATE = {
    "greedy": {"do_sample": False},
    "beam": {"do_sample": False, "num_beams": 3},
    "returned beams": {"do_sample": False, "num_beams": 4, "num_return_sequences": 2},
    "in chunks": {"do_sample": False, "prefill_chunk_size": 4},
}


@pytest.mark.parametrize("kind", ["llama", "qwen3", "glm"])
@pytest.mark.parametrize("name", GENERATE)
def test_generate_gives_the_same_tokens_as_without_a_cache(kind, name):
    model = build(kind)
    apply_rerope(model, window=5)
    ids = texts(3, 12)
    mask = torch.ones_like(ids)
    mask[1, :5] = 0
    options = {"attention_mask": mask, "max_new_tokens": 20, **GENERATE[name]}
    slow = {k: v for k, v in options.items() if k != "prefill_chunk_size"}
    expected = model.generate(ids, use_cache=False, **slow)
    assert torch.equal(model.generate(ids, **options), expected)
    remove_rerope(model)
    assert not torch.equal(model.generate(ids, **options), expected)


def test_generate_gives_each_padded_text_what_it_gets_alone():
    model = build()
    apply_rerope(model, window=5)
    ids = texts(2, 12)
    mask = torch.ones_like(ids)
    mask[1, :5] = 0
    both = model.generate(ids, attention_mask=mask, max_new_tokens=20, do_sample=False)
    alone = model.generate(ids[1:, 5:], max_new_tokens=20, do_sample=False)
    assert torch.equal(both[1, 12:], alone[0, 7:])


def test_assisted_generation_takes_tokens_back_from_the_cache():
    model, assistant = build(), build(num_hidden_layers=1)
    apply_rerope(model, window=5)
    ids = texts(1, 12)
    expected = model.generate(ids, max_new_tokens=16, do_sample=False)
    found = model.generate(ids, assistant_model=assistant, max_new_tokens=16, do_sample=False)
    assert torch.equal(found, expected)


def test_settings_survive_saving_and_loading(tmp_path):
    model, ids = build(), texts()
    apply_rerope(model, window=5, step=0.25, training_length=8)
    expected = logits(model, ids)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert (logits(loaded, ids) - expected).abs().max() > 0.3
    apply_rerope(loaded)
    torch.testing.assert_close(logits(loaded, ids), expected, rtol=0, atol=1e-6)
    remove_rerope(loaded)
    loaded.save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match="window is None"):
        apply_rerope(AutoModelForCausalLM.from_pretrained(tmp_path / "plain"))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_undoing_restores_the_model_to_the_bit(implementation):
    model, ids = build(), texts()
    model.set_attn_implementation(implementation)
    before, state = logits(model, ids), {k: v.clone() for k, v in model.state_dict().items()}
    config = model.config.to_dict()
    apply_rerope(model, window=5)
    apply_rerope(model, window=3, step=0.5)
    assert not torch.equal(logits(model, ids), before)
    assert set(model.state_dict()) == set(state)
    remove_rerope(model)
    assert torch.equal(logits(model, ids), before)
    assert model.config._attn_implementation == implementation
    assert model.config.to_dict() == config
    assert not any(hasattr(m, "rerope") or m._forward_pre_hooks for m in model.modules())
    remove_rerope(model)


def test_a_model_may_be_copied_and_given_in_parts():
    model, ids = build(), texts()
    plain = logits(model, ids)
    apply_rerope(model.model, window=5)
    rectified_logits = logits(model, ids)
    twin = copy.deepcopy(model)
    remove_rerope(model)
    assert torch.equal(logits(model, ids), plain)
    assert torch.equal(logits(twin, ids), rectified_logits)
    assert torch.equal(logits(twin, ids, use_cache=True), rectified_logits)
    remove_rerope(twin.model)
    assert torch.equal(logits(twin, ids), plain)


def test_layers_share_the_tables_of_a_call():
    model, ids = build(), texts()
    apply_rerope(model, window=5)
    first, second = (layer.self_attn.rerope for layer in model.model.layers)
    assert first is second
    calls, rotary = [], model.model.rotary_emb
    rotary.register_forward_hook(lambda *_: calls.append(1))
    logits(model, ids)
    # The model's own call, and one for all layers.
    assert len(calls) == 2


def test_two_models_do_not_disturb_each_other():
    one, two, ids = build(), build(), texts()
    apply_rerope(one, window=5)
    first = logits(one, ids)
    apply_rerope(two, window=9, step=0.5)
    assert torch.equal(logits(one, ids), first)
    assert not torch.equal(logits(two, ids), first)


def dense_attention(window, step):
    """An attention function with all scores, for gradients by autograd alone."""

    def attention(module, query, key, value, attention_mask, scaling=None, **_):
        # Llama turns by its tables; at these positions queries and keys come unturned.
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
        places = torch.arange(query.shape[2])
        r = places.unsqueeze(-1) - places
        shown = rerope_distance(r, window=window, step=step)
        angles = shown.unsqueeze(-1) * module.frequencies
        cos, sin = (torch.cat((x, x), -1) for x in (angles.cos(), angles.sin()))
        half = query.shape[-1] // 2
        turned = torch.cat((-query[..., half:], query[..., :half]), -1)
        scores = torch.einsum("bhid,ijd,bhjd->bhij", query, cos, key)
        scores = scores + torch.einsum("bhid,ijd,bhjd->bhij", turned, sin, key)
        scores = (scores * scaling).masked_fill(r < 0, -torch.inf)
        return (scores.softmax(-1) @ value).transpose(1, 2), None

    return attention


def test_inverse_leaky_training_has_the_gradients_of_the_definition():
    from transformers import AttentionInterface

    model, ids = build().double().train(), texts(2)
    reference = copy.deepcopy(model)
    apply_rerope(model, window=6, step=8.0)
    loss = model(ids, labels=ids).loss
    loss.backward()
    for layer in reference.model.layers:
        layer.self_attn.frequencies = reference.model.rotary_emb.inv_freq.double()
    AttentionInterface.register("dense_for_test", dense_attention(6, 8.0))
    reference.set_attn_implementation("dense_for_test")
    expected = reference(ids, labels=ids, position_ids=torch.zeros(2, LENGTH)).loss
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    for (name, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(
            ours.grad, theirs.grad, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_inverse_leaky_reads_as_plain_rope():
    model, ids = build(), texts(2, 40)
    mask = torch.ones_like(ids)
    mask[1, :9] = 0
    positions = torch.cat([torch.arange(n) for n in (25, 15)])[None]
    ways = ({}, {"attention_mask": mask}, {"position_ids": positions}, {"use_cache": True})
    plain = [logits(model, ids[:1] if "position_ids" in way else ids, **way) for way in ways]
    tokens = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    apply_rerope(model, window=6, step=8.0)
    assert (model.train()(ids).logits - plain[0]).abs().max() > 0.3
    model.eval()
    for way, expected in zip(ways, plain, strict=True):
        found = logits(model, ids[:1] if "position_ids" in way else ids, **way)
        keep = mask.bool() if "attention_mask" in way else torch.ones(found.shape[:2]).bool()
        torch.testing.assert_close(found[keep], expected[keep], rtol=0, atol=5e-4)
    again = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert torch.equal(again, tokens)
    result = model(ids[:, :10], use_cache=True)
    assert type(result.past_key_values.layers[0]) is not TwoKeyLayer
    rest = model(ids[:, 10:], past_key_values=result.past_key_values).logits
    torch.testing.assert_close(rest, plain[0][:, 10:], rtol=0, atol=5e-4)


def test_training_rerope_is_warned_of_and_inverse_leaky_is_not():
    model, ids = build(), texts()
    apply_rerope(model, window=6)
    with pytest.warns(UserWarning, match=r"train it with plain RoPE \(remove_rerope\)"):
        model.train()(ids)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.eval()(ids)
        apply_rerope(model, window=6, step=16)
        model.train()(ids, labels=ids).loss.backward()


def test_checkpointed_layers_have_the_same_gradients():
    model, ids = build().train(), texts()
    apply_rerope(model, window=6, step=4.0)
    model(ids, labels=ids).loss.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.activation_checkpointing_enable()
    model(ids, labels=ids, use_cache=False).loss.backward()
    for ours, theirs in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(ours.grad, theirs)


@torch.no_grad()
def test_the_factor_of_the_logarithm_of_the_length():
    model, ids = build(num_hidden_layers=1), texts()
    apply_rerope(model, window=5)
    without = logits(model, ids)
    attention = model.model.layers[0].self_attn
    apply_rerope(model, window=5, training_length=6)
    found = logits(model, ids)
    torch.testing.assert_close(found[:, :6], without[:, :6])
    assert (found[:, 6:] - without[:, 6:]).abs().max() > 1e-3
    # The same factor on one query at a time, by its projection.
    apply_rerope(model, window=5)
    weight = attention.q_proj.weight.clone()
    for n in (7, 15, LENGTH):
        attention.q_proj.weight.copy_(weight * math.log(n) / math.log(6))
        expected = logits(model, ids)[:, n - 1]
        torch.testing.assert_close(found[:, n - 1], expected, rtol=0, atol=5e-4)
        attention.q_proj.weight.copy_(weight)


def test_the_factor_counts_real_tokens_only():
    model = build()
    apply_rerope(model, window=5, training_length=6)
    ids, pad = texts(2, 40), 9
    alone = logits(model, ids[1:, pad:])
    mask = torch.ones_like(ids)
    mask[1, :pad] = 0
    padded = logits(model, ids, attention_mask=mask)
    torch.testing.assert_close(padded[1:, pad:], alone, rtol=0, atol=5e-4)
    positions = torch.cat([torch.arange(n) for n in (pad, 40 - pad)])[None]
    packed = logits(model, ids[1:], position_ids=positions)
    torch.testing.assert_close(packed[:, pad:], alone, rtol=0, atol=5e-4)


def test_half_precision_stays_near():
    model, ids = build(), texts()
    apply_rerope(model, window=5)
    expected = logits(model, ids).softmax(-1)
    model = model.bfloat16()
    found = logits(model, ids).float().softmax(-1)
    assert (found - expected).abs().mean() < 0.01
    parts, cache = [], None
    with torch.no_grad():
        for part in ids.split([10, 1, 13], 1):
            result = model(part, past_key_values=cache, use_cache=True)
            parts, cache = [*parts, result.logits], result.past_key_values
    assert (torch.cat(parts, 1).float().softmax(-1) - expected).abs().mean() < 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window is 0; allowed: 1 or more"),
        ({"window": 4, "step": -1.0}, "step is -1.0; allowed: 0 or more"),
        ({"window": 4, "step": math.nan}, "step is nan"),
        ({"window": 4, "training_length": 1}, "training_length is 1; allowed: above 1"),
        ({}, "window is None; allowed: 1 or more"),
    ],
)
def test_wrong_settings_are_explained(settings, message):
    model, ids = build(), texts()
    before = logits(model, ids)
    with pytest.raises(ValueError, match=message):
        apply_rerope(model, **settings)
    assert torch.equal(logits(model, ids), before)
