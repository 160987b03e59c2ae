import copy

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

from kexue.models.rerope import apply_rerope, remove_rerope
from kexue.models.rerope_cache import TwoKeyLayer, before_call, rerope_cache
from kexue.models.rerope_pair import FarPair


def build():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.5 if "_proj" in name else 0.2)
    return model


def texts(count=1, length=24):
    return torch.randint(1, 40, (count, length), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    model = build()
    apply_rerope(model, window=5, step=0.25)
    return model


@torch.no_grad()
def whole(model, ids, **options):
    return model(ids, use_cache=False, **options).logits


@torch.no_grad()
def go_on(model, ids, cache):
    return model(ids, past_key_values=cache, use_cache=True).logits


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-4)


def test_keys_lie_in_turns_and_are_turned_once(model, monkeypatch):
    ids, turned = texts(), []
    move = FarPair.key
    monkeypatch.setattr(
        FarPair, "key", lambda self, k, places: turned.append(k.shape[2]) or move(self, k, places)
    )
    cache = rerope_cache(model)
    go_on(model, ids[:, :20], cache)
    for i in range(20, 24):
        go_on(model, ids[:, i : i + 1], cache)
    # Per layer: the prompt, and then one token a step.
    assert turned == [20, 20] + [1, 1] * 4
    layer = cache.layers[0]
    assert layer.keys.shape == (1, 4, 24, 8)
    assert layer.values.shape == (1, 2, 24, 8)
    near, far = layer.keys.unflatten(1, (-1, 2)).unbind(2)
    torch.testing.assert_close(near[:, :, 0], far[:, :, 0])
    torch.testing.assert_close(near.norm(dim=-1), far.norm(dim=-1))
    assert not torch.allclose(near[:, :, 5], far[:, :, 5])


def test_a_step_copies_no_cache(model):
    ids = texts()
    cache = rerope_cache(model)
    go_on(model, ids[:, :10], cache)
    before = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
    for i in range(10, 24):
        go_on(model, ids[:, i : i + 1], cache)
    assert before == [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
    assert cache.get_seq_length() == 24


def test_room_grows_when_it_is_full(model):
    ids = texts(1, 400)
    expected = whole(model, ids)
    cache, parts, places = rerope_cache(model), [], set()
    for part in ids.split([10, *[13] * 30], 1):
        parts.append(go_on(model, part, cache))
        places.add(cache.layers[0].keys.data_ptr())
    close(torch.cat(parts, 1), expected)
    assert len(places) > 1


def test_cropping_and_going_on(model):
    ids = texts()
    expected = whole(model, ids)
    cache = rerope_cache(model)
    go_on(model, texts(1, 30)[:, 12:], cache)
    cache = rerope_cache(model)
    go_on(model, ids[:, :18], cache)
    go_on(model, ids[:, :6], cache)
    cache.crop(-6)
    assert cache.get_seq_length() == 18
    close(go_on(model, ids[:, 18:], cache), expected[:, 18:])
    cache.crop(-10)
    close(go_on(model, ids[:, 14:], cache), expected[:, 14:])


def test_an_older_view_keeps_its_rows_after_a_crop(model):
    ids = texts()
    cache = rerope_cache(model)
    go_on(model, ids, cache)
    view = cache.layers[0].keys
    rows = view.clone()
    cache.crop(-10)
    go_on(model, texts(1, 40)[:, 30:], cache)
    assert torch.equal(view, rows)


def test_a_copy_goes_its_own_way(model):
    ids = texts()
    expected = whole(model, ids)
    cache = rerope_cache(model)
    go_on(model, ids[:, :12], cache)
    for twin in (copy.deepcopy(cache), copy.copy(cache)):
        twin.layers = [copy.copy(layer) for layer in twin.layers]
        go_on(model, ids[:, :5], twin)
        assert twin.get_seq_length() == 17
    close(go_on(model, ids[:, 12:], cache), expected[:, 12:])


def test_texts_may_be_chosen_repeated_and_reordered(model):
    ids = texts(3)
    expected = whole(model, ids)
    cache = rerope_cache(model)
    go_on(model, ids[:, :15], cache)
    order = torch.tensor([2, 0, 1])
    cache.reorder_cache(order)
    close(go_on(model, ids[order, 15:20], cache), expected[order, 15:20])
    cache.batch_select_indices(torch.tensor([0, 2]))
    chosen = order[[0, 2]]
    close(go_on(model, ids[chosen, 20:22], cache), expected[chosen, 20:22])
    cache.batch_repeat_interleave(2)
    repeated = chosen.repeat_interleave(2)
    close(go_on(model, ids[repeated, 22:], cache), expected[repeated, 22:])


def test_a_cache_filled_in_inference_mode_goes_on_outside(model):
    ids = texts()
    expected = whole(model, ids)
    cache = rerope_cache(model)
    with torch.inference_mode():
        model(ids[:, :12], past_key_values=cache, use_cache=True)
    close(go_on(model, ids[:, 12:], cache), expected[:, 12:])


def test_gradients_flow_through_the_cache(model):
    ids = texts()
    weight = model.model.layers[0].self_attn.k_proj.weight
    whole_loss = model(ids, use_cache=False).logits[:, 12:].square().sum()
    expected = torch.autograd.grad(whole_loss, weight)[0]
    cache = rerope_cache(model)
    model(ids[:, :12], past_key_values=cache, use_cache=True)
    loss = model(ids[:, 12:], past_key_values=cache, use_cache=True).logits.square().sum()
    found = torch.autograd.grad(loss, weight)[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)


def test_a_reset_cache_begins_anew(model):
    ids = texts()
    cache = rerope_cache(model)
    go_on(model, ids[:, :9], cache)
    cache.reset()
    assert cache.get_seq_length() == 0
    close(go_on(model, ids, cache), whole(model, ids))


def test_empty_caches_of_others_are_exchanged_and_filled_ones_are_served(model):
    ids = texts()
    expected = whole(model, ids)
    for cache in (DynamicCache(), DynamicCache(config=model.config)):
        close(go_on(model, ids[:, :12], cache), expected[:, :12])
        assert all(type(layer) is TwoKeyLayer for layer in cache.layers)
        close(go_on(model, ids[:, 12:], cache), expected[:, 12:])
    plain = build()
    filled = plain(ids[:, :1], use_cache=True).past_key_values
    apply_rerope(plain, window=5, step=0.25)
    close(go_on(plain, ids[:, 1:], filled), expected[:, 1:])
    assert type(filled.layers[0]) is not TwoKeyLayer


def test_a_cache_comes_by_itself_where_it_is_wanted(model):
    ids = texts()
    with torch.no_grad():
        assert type(model(ids).past_key_values.layers[0]) is TwoKeyLayer
        assert type(model.model(ids).past_key_values.layers[1]) is TwoKeyLayer
        assert model(ids, use_cache=False).past_key_values is None
    model.config.use_cache = False
    assert model(ids).past_key_values is None


def test_the_hook_leaves_other_calls_alone(model):
    inner = model.model
    assert before_call(inner, (), {"use_cache": False}) is None
    args, kwargs = before_call(inner, (1,), {"use_cache": True, "position_ids": 2})
    assert args == (1,)
    assert set(kwargs) == {"use_cache", "position_ids", "past_key_values"}


def test_a_static_cache_is_refused(model):
    cache = StaticCache(config=model.config, max_cache_len=32)
    with pytest.raises(ValueError, match="static cache"):
        model(texts(), past_key_values=cache)
    with pytest.raises(ValueError, match="static cache"):
        model.generate(texts(), max_new_tokens=2, cache_implementation="static")


def test_a_model_without_rerope_has_no_such_cache(model):
    remove_rerope(model)
    with pytest.raises(ValueError, match="LlamaForCausalLM has no ReRoPE"):
        rerope_cache(model)
