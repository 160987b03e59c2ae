"""Two optimisers as one: against the two stepped by hand, against the definition, and saved."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon
from torch.optim.lr_scheduler import LambdaLR
from transformers import BertConfig, BertForMaskedLM

from kexue.models import KexueConfig, KexueForMaskedLM
from kexue.training.muon import MuonAdamW, matrices


class Tied(nn.Module):
    """Tables, matrices, vectors, a convolution, a tied decoder and one that is not tied."""

    def __init__(self, tie=True):
        super().__init__()
        self.words, self.places = nn.Embedding(40, 8), nn.Embedding(8, 8)
        self.inner, self.outer = nn.Linear(8, 12), nn.Linear(12, 8)
        self.mix = nn.Conv1d(8, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.decoder = nn.Linear(8, 40)
        if tie:
            self.decoder.weight = self.words.weight

    def forward(self, ids):
        hidden = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        hidden = hidden + self.mix(hidden.mT).mT
        return self.decoder(self.norm(self.outer(self.inner(hidden).relu())))


def make(seed=0, **options):
    torch.manual_seed(seed)
    return Tied(**options)


def backward(model, step):
    ids = torch.randint(0, 40, (4, 8), generator=torch.Generator().manual_seed(step))
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    loss.backward()
    return loss.item()


def train(model, optimizer, steps, *, first=0, schedule=None):
    losses = []
    for step in range(first, first + steps):
        losses.append(backward(model, step))
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return losses


def names(model, weights):
    found = {id(weight) for weight in weights}
    return {name for name, weight in model.named_parameters() if id(weight) in found}


@pytest.mark.parametrize("tie", [True, False])
def test_muon_gets_the_matrices_between_hidden_states(tie):
    model = make(tie=tie)
    # A table of eight places is no vocabulary: `outer` is as tall, and a matrix all the same.
    assert names(model, matrices(model)) == {"inner.weight", "outer.weight"}


def test_of_real_models_muon_gets_all_matrices_and_no_table():
    model = KexueForMaskedLM(KexueConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1))
    chosen = names(model, matrices(model))
    linear = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert chosen == linear
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    model = BertForMaskedLM(config)
    chosen = names(model, matrices(model))
    assert "bert.encoder.layer.0.attention.self.query.weight" in chosen
    assert "cls.predictions.transform.dense.weight" in chosen
    assert not any("embeddings" in name or "decoder" in name for name in chosen)


def test_frozen_weights_belong_to_nobody():
    model = make()
    model.inner.requires_grad_(False)
    model.norm.requires_grad_(False)
    optimizer = MuonAdamW(model, lr=0.1)
    ours = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert ours == {id(p) for p in model.parameters() if p.requires_grad}


def test_it_is_muon_and_adamw_stepped_one_after_the_other():
    model, other = make(), make()
    optimizer = MuonAdamW(model, lr=0.02, weight_decay=0.1, momentum=0.9, betas=(0.8, 0.95))
    muon = Muon(
        [other.inner.weight, other.outer.weight],
        lr=0.02,
        weight_decay=0.1,
        momentum=0.9,
        adjust_lr_fn="match_rms_adamw",
    )
    tables = [other.words.weight, other.places.weight, other.mix.weight]
    vectors = [p for p in other.parameters() if p.ndim == 1]
    adamw = AdamW(
        [
            {"params": tables, "weight_decay": 0.1},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=0.02,
        betas=(0.8, 0.95),
    )
    for step in range(5):
        backward(model, step)
        backward(other, step)
        optimizer.step()
        muon.step()
        adamw.step()
    for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_step_of_a_matrix_is_nearly_orthogonal_and_of_adams_size():
    """The definition: 0.2 sqrt(max(n, m)) U V' of the gradient's singular vectors."""
    torch.manual_seed(0)
    model = nn.Linear(48, 24, bias=False)
    before = model.weight.detach().clone()
    model(torch.randn(64, 48)).pow(2).sum().backward()
    left, _, right = torch.linalg.svd(model.weight.grad, full_matrices=False)
    MuonAdamW(model, lr=0.5, weight_decay=0.0).step()
    step = (before - model.weight.detach()) / 0.5
    definition = 0.2 * 48**0.5 * left @ right
    cosine = nn.functional.cosine_similarity(step.flatten(), definition.flatten(), dim=0)
    assert cosine > 0.97
    # Adam's steps have a root mean square of about 0.2 to 0.4.
    assert 0.15 < step.pow(2).mean().sqrt() < 0.25


def test_weight_decay_shrinks_tables_and_matrices_but_no_vectors():
    model = make()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    MuonAdamW(model, lr=0.1, weight_decay=0.5).step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim > 1 else 1
        torch.testing.assert_close(parameter.detach(), factor * before[name], msg=name)


def test_a_schedule_changes_both_parts():
    model = make()
    optimizer = MuonAdamW(model, lr=0.1)
    schedule = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    train(model, optimizer, 3, schedule=schedule)
    rates = [group["lr"] for part in optimizer.parts for group in part.param_groups]
    assert rates == [0.025] * 3
    before = [p.detach().clone() for p in model.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, 1)
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_saved_state_goes_on_bit_for_bit():
    whole = make()
    optimizer = MuonAdamW(whole, lr=0.02)
    schedule = LambdaLR(optimizer, lambda step: 0.9**step)
    train(whole, optimizer, 3, schedule=schedule)
    file = io.BytesIO()
    torch.save([whole.state_dict(), optimizer.state_dict(), schedule.state_dict()], file)
    file.seek(0)
    weights, state, rates = torch.load(file, weights_only=True)
    resumed = make(seed=9)
    resumed.load_state_dict(weights)
    second = MuonAdamW(resumed, lr=0.7)
    again = LambdaLR(second, lambda step: 0.9**step)
    second.load_state_dict(state)
    again.load_state_dict(rates)
    assert [group["lr"] for group in second.param_groups] == [0.02 * 0.9**3] * 3
    one = train(whole, optimizer, 3, first=3, schedule=schedule)
    other = train(resumed, second, 3, first=3, schedule=again)
    assert one == other
    for ours, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_groups_that_were_loaded_are_still_those_of_the_parts():
    model = make()
    optimizer = MuonAdamW(model, lr=0.1)
    train(model, optimizer, 1)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in optimizer.param_groups:
        group["lr"] = 0.3
    assert {g["lr"] for part in optimizer.parts for g in part.param_groups} == {0.3}


def test_it_learns():
    model = make()
    losses = train(model, MuonAdamW(model, lr=0.02), 60)
    assert losses[-1] < 0.3 * losses[0]


def test_a_closure_is_called_with_gradients():
    model = make()
    optimizer = MuonAdamW(model, lr=0.01)

    def closure():
        assert torch.is_grad_enabled()
        return torch.tensor(backward(model, 0))

    assert optimizer.step(closure).item() == pytest.approx(backward(make(), 0))
    assert optimizer.step() is None


def test_gradients_are_cleared():
    model = make()
    optimizer = MuonAdamW(model, lr=0.01)
    backward(model, 0)
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_model_without_matrices_is_refused():
    with pytest.raises(ValueError, match=r"model is 'Embedding'; allowed: .* Use AdamW\."):
        MuonAdamW(nn.Embedding(4, 4), lr=0.1)


def test_a_model_of_matrices_alone_needs_no_adamw():
    optimizer = MuonAdamW(nn.Linear(3, 3, bias=False), lr=0.1)
    assert [type(part).__name__ for part in optimizer.parts] == ["Muon"]
