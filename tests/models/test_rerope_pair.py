import pytest
import torch
from transformers import GlmConfig, LlamaConfig
from transformers.models.glm import modeling_glm
from transformers.models.llama import modeling_llama

from kexue.models.rerope_pair import FarPair
from kexue.positions import rotate


def make(kind="llama", *, dtype=torch.float64, **settings):
    parameters = settings.pop("rope_parameters", None)
    options = {"hidden_size": 64, "num_attention_heads": 4, "head_dim": 16}
    if parameters:
        options["rope_parameters"] = parameters
    if kind == "llama":
        rotary = modeling_llama.LlamaRotaryEmbedding(LlamaConfig(**options))
        turn = modeling_llama.apply_rotary_pos_emb
    else:
        rotary = modeling_glm.GlmRotaryEmbedding(GlmConfig(**options))
        turn = modeling_glm.apply_rotary_pos_emb
    settings = {"window": 6, "step": 0.25, "training_length": None, **settings}
    x = torch.randn(2, 3, 20, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    return FarPair(rotary, turn, **settings), x


def turned(pair, x, positions, *, layout):
    """Rotate with angles, without the model."""
    width = 2 * len(pair.rotary.inv_freq)
    angles = positions.double().unsqueeze(-1) * pair.rotary.inv_freq.double()
    part = rotate(x[..., :width], angles.unsqueeze(-3), layout=layout)
    return torch.cat((part * pair.rotary.attention_scaling, x[..., width:]), -1)


LAYOUTS = {"llama": "half", "glm": "interleaved"}


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("step", [0.0, 0.25, 1.0, 16.0])
def test_far_queries_and_keys_are_raw_ones_turned_to_their_place(kind, step):
    pair, x = make(kind, step=step)
    places = torch.stack((torch.arange(20), torch.arange(5, 25)))
    seen = turned(pair, x, places, layout=LAYOUTS[kind])
    far_key = turned(pair, x, places * step, layout=LAYOUTS[kind])
    torch.testing.assert_close(pair.key(seen, places), far_key, rtol=0, atol=3e-5)
    far_query = turned(pair, x, places * step + 6 * (1 - step), layout=LAYOUTS[kind])
    torch.testing.assert_close(pair.query(seen, places), far_query, rtol=0, atol=3e-5)


def test_keys_of_rerope_are_the_raw_keys():
    pair, x = make(step=0.0)
    places = torch.arange(20)[None]
    seen = turned(pair, x, places, layout="half")
    torch.testing.assert_close(pair.key(seen, places), x, rtol=0, atol=1e-5)


def test_a_factor_on_tables_is_kept_once():
    parameters = {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    pair, x = make(rope_parameters=parameters)
    assert pair.rotary.attention_scaling > 1.1
    places = torch.arange(20)[None]
    seen = turned(pair, x, places, layout="half")
    expected = turned(pair, x, places * 0.25, layout="half")
    torch.testing.assert_close(pair.key(seen, places), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("start", [0, 4000, 130_000, 1_000_000])
def test_far_positions_lose_no_digits(start):
    pair, x = make(step=0.0, dtype=torch.float32)
    places = torch.arange(start, start + 20)[None]
    cos, sin = pair.rotary(x, places)
    seen, _ = pair.turn(x, x, cos, sin)
    assert (pair.key(seen, places) - x).abs().max() < 2e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_and_close(dtype):
    pair, x = make(dtype=dtype)
    places = torch.arange(20)[None]
    found = pair.key(turned(pair, x.double(), places, layout="half").to(dtype), places)
    assert found.dtype == dtype
    expected = turned(pair, x.double(), places * 0.25, layout="half")
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.05)


def test_gradients_are_those_of_a_rotation():
    pair, x = make()
    leaf = x.clone().requires_grad_()
    places = torch.arange(20)[None]
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    pair.query(leaf, places).backward(grad)
    # A rotation's gradient is turned back, and as long as it came.
    torch.testing.assert_close(leaf.grad.norm(dim=-1), grad.norm(dim=-1), rtol=1e-6, atol=0)
    torch.testing.assert_close((leaf.grad * x).sum(), (grad * pair.query(x, places)).sum())


def test_the_layers_of_a_model_share_tables():
    pair, x = make()
    calls = []
    forward = pair.rotary.forward
    pair.rotary.forward = lambda *inputs: calls.append(1) or forward(*inputs)
    for _ in range(3):
        pair.key(x, range(5, 25))
        pair.query(x[:, :1], range(5, 25))
    assert len(calls) == 1
    places = torch.arange(20)[None]
    first = pair.key(x, places)
    assert torch.equal(pair.key(x, places), first)
    assert len(calls) == 2
    torch.testing.assert_close(pair.key(x, range(20)), first)


def test_tables_follow_what_they_were_made_from():
    pair, x = make()
    places = torch.arange(20)[None]
    found = [pair.key(x, places)]
    places.add_(3)
    found.append(pair.key(x, places))
    pair.rotary.inv_freq.mul_(0.5)
    found.append(pair.key(x, places))
    pair.rotary.inv_freq = pair.rotary.inv_freq * 2
    found.append(pair.key(x, places))
    for one, two in ((0, 1), (1, 2), (0, 3)):
        assert not torch.allclose(found[one], found[two])
    torch.testing.assert_close(found[1], found[3])
    assert pair.key(x.float(), places).dtype == torch.float32


def test_tables_of_inference_mode_serve_no_training_and_count_no_changes():
    pair, x = make()
    with torch.inference_mode():
        places = torch.arange(20)[None]
        before = pair.key(x, places)
        places.add_(3)
        assert not torch.allclose(pair.key(x, places), before)
        inside = pair.key(x, range(20))
    leaf = x.clone().requires_grad_()
    pair.key(leaf, range(20)).sum().backward()
    assert torch.equal(pair.key(x, range(20)), inside)
