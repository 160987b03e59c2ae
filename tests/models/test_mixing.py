"""Every kind of attention that an encoder may have, in a whole encoder against the definition."""

import math
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from kexue.models import KexueConfig, KexueModel
from kexue.models.masks import visible
from kexue.positions import rope2d_angles, rope_angles, rotate


def make(*, shake=0.3, **options):
    torch.manual_seed(0)
    config = KexueConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, **options
    )
    model = KexueModel(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * shake)
    return model


def unrolled(model, ids, seen, angles, weigh):
    """The encoder for one text, with explicit scores; `weigh(scores, seen)` gives the weights."""
    config = model.config
    post = config.norm == "post"
    hidden = model.embeddings(ids[None])[0]
    total = 0
    for layer in model.layers:
        into = hidden if post else layer.attention_norm(hidden)
        mixed = layer.query_key_value(into).unflatten(-1, (3, config.num_attention_heads, -1))
        query, key, value = mixed.permute(1, 2, 0, 3)
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        total = scores + total if config.residual_attention else scores
        out = (weigh(total, seen) @ value).transpose(0, 1).flatten(1)
        hidden = hidden + layer.attention_output(out)
        if post:
            hidden = layer.attention_norm(hidden)
        into = hidden if post else layer.feed_forward_norm(hidden)
        hidden = hidden + layer.feed_forward_output(F.gelu(layer.feed_forward_input(into)))
        if post:
            hidden = layer.feed_forward_norm(hidden)
    return model.norm(hidden)


def softmax(scores, seen):
    return scores.masked_fill(~seen, -torch.inf).softmax(-1)


def log_n(scores, seen):
    factors = torch.tensor([math.log(int(row.sum())) / math.log(512) for row in seen])
    return softmax(scores * factors[:, None].to(scores), seen)


def late_log_n(scores, seen):
    factors = torch.tensor([max(1, math.log(int(row.sum())) / math.log(4)) for row in seen])
    return softmax(scores * factors[:, None].to(scores), seen)


WEIGHTS = {
    "none": ({}, softmax),
    "trained": ({"log_n": "trained"}, log_n),
    "post-hoc": ({"log_n": "post-hoc", "log_n_length": 4}, late_log_n),
}
IDS = torch.tensor([4, 9, 9, 23, 7, 11, 2])
SEGMENTS = torch.tensor([0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("norm", "mask", "sharp", "residual"),
    list(product(("pre", "post"), ("bidirectional", "causal", "unilm"), WEIGHTS, (False, True))),
)
def test_an_encoder_equals_the_loop_over_its_layers(norm, mask, sharp, residual):
    """Scaling the scores of each layer scales their sum, so one loop serves residual scores too."""
    options, weigh = WEIGHTS[sharp]
    model = make(norm=norm, mask=mask, residual_attention=residual, **options)
    seen = visible(mask, None, SEGMENTS[None], IDS[None])
    seen = torch.ones(7, 7, dtype=torch.bool) if seen is None else seen.expand(1, 1, 7, 7)[0, 0]
    angles = rope_angles(torch.arange(7.0).double(), 8)
    want = unrolled(model, IDS, seen, angles, weigh)
    got = model(IDS[None], None, SEGMENTS[None]).last_hidden_state[0]
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    # Padding at the end moves nothing.
    ids, segments = F.pad(IDS, (0, 2)), F.pad(SEGMENTS, (0, 2))
    kept = torch.tensor([[1] * 7 + [0] * 2])
    padded = model(ids[None], kept, segments[None]).last_hidden_state[0, :7]
    torch.testing.assert_close(padded, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
def test_activation_checkpointing_changes_no_gradient(residual, mask):
    gradients = []
    for checkpointing in (False, True):
        model = make(residual_attention=residual, mask=mask, hidden_dropout=0.0)
        if checkpointing:
            model.activation_checkpointing_enable()
        model.train()
        model(IDS[None]).last_hidden_state.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


def test_coordinates_of_a_grid_turn_both_halves_of_a_head():
    model = make()
    grid = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    ids = IDS[:6]
    angles = rope2d_angles(grid.double(), 8)
    want = unrolled(model, ids, torch.ones(6, 6, dtype=torch.bool), angles, softmax)
    got = model(ids[None], position_ids=grid[None].double()).last_hidden_state[0]
    torch.testing.assert_close(got, want)
    # Moving the whole picture changes nothing, transposing it does.
    moved = model(ids[None], position_ids=grid[None].double() + 5).last_hidden_state[0]
    torch.testing.assert_close(moved, got)
    turned = model(ids[None], position_ids=grid[None].flip(-1).double()).last_hidden_state[0]
    assert not torch.allclose(turned, got)


def test_without_positions_only_the_set_of_tokens_matters():
    model = make(positions="none")
    order = torch.tensor([6, 2, 0, 1, 5, 3, 4])
    got = model(IDS[order][None]).last_hidden_state[0]
    torch.testing.assert_close(got, model(IDS[None]).last_hidden_state[0][order])


@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
def test_linear_attention_equals_explicit_weights(mask):
    model = make(attention="linear", feature_map="elu1", mask=mask)
    seen = torch.ones(7, 7, dtype=torch.bool)
    seen = seen.tril() if mask == "causal" else seen
    angles = rope_angles(torch.arange(7.0).double(), 8)
    hidden = model.embeddings(IDS[None])[0]
    for layer in model.layers:
        mixed = layer.query_key_value(layer.attention_norm(hidden)).unflatten(-1, (3, 2, -1))
        query, key, value = mixed.permute(1, 2, 0, 3)
        query, key = F.elu(query) + 1, F.elu(key) + 1
        # Rotary positions turn the features above the line and leave the norm below it alone.
        above = (rotate(query, angles) @ rotate(key, angles).mT).masked_fill(~seen, 0)
        below = (query @ key.mT).masked_fill(~seen, 0).sum(-1, keepdim=True)
        out = (above / below @ value).transpose(0, 1).flatten(1)
        hidden = hidden + layer.attention_output(out)
        into = layer.feed_forward_norm(hidden)
        hidden = hidden + layer.feed_forward_output(F.gelu(layer.feed_forward_input(into)))
    want = model.norm(hidden)
    torch.testing.assert_close(model(IDS[None]).last_hidden_state[0], want, rtol=1e-6, atol=1e-6)
    ids, kept = F.pad(IDS, (0, 2)), torch.tensor([[1] * 7 + [0] * 2])
    padded = model(ids[None], kept).last_hidden_state[0, :7]
    torch.testing.assert_close(padded, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
def test_a_performer_approaches_softmax_as_features_grow(mask):
    # The variance grows with the exponential of the squared lengths: long vectors need too many.
    options = {"mask": mask, "log_n": "trained", "shake": 0.1}
    exact = make(**options)
    want = exact(IDS[None]).last_hidden_state
    errors = []
    for features in (16, 128, 1024):
        model = make(**options, attention="performer", performer_features=features)
        missing, unexpected = model.load_state_dict(exact.state_dict(), strict=False)
        assert not unexpected
        assert all(name.endswith("projection") for name in missing)
        errors.append((model(IDS[None]).last_hidden_state - want).square().mean().sqrt().item())
    assert errors[0] > errors[1] > errors[2]
    # 64 times the features: an eighth of the error, give or take the luck of one draw.
    assert errors[2] < errors[0] / 3, errors


def test_a_trained_encoder_is_loaded_as_a_performer(tmp_path):
    """Swapping softmax for random features takes one argument and keeps every weight."""
    exact = make().float()
    exact.save_pretrained(tmp_path / "exact")
    torch.manual_seed(1)
    swapped = KexueModel.from_pretrained(
        tmp_path / "exact", attention="performer", performer_features=2048
    )
    close = swapped(IDS[None]).last_hidden_state
    assert (close - exact(IDS[None]).last_hidden_state).abs().mean() < 0.2
    assert not torch.equal(swapped.layers[0].projection, swapped.layers[1].projection)
    # The directions are part of the model: it gives the same after saving.
    swapped.save_pretrained(tmp_path / "swapped")
    again = KexueModel.from_pretrained(tmp_path / "swapped")
    torch.testing.assert_close(again(IDS[None]).last_hidden_state, close)


def test_attention_dropout_is_for_training_alone():
    model = make(attention_dropout=0.5, hidden_dropout=0.0)
    calm = model(IDS[None]).last_hidden_state
    torch.testing.assert_close(model(IDS[None]).last_hidden_state, calm)
    model.train()
    assert not torch.allclose(model(IDS[None]).last_hidden_state, calm)
