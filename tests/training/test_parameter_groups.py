import pytest
import torch
from torch import nn

from kexue.training.parameter_groups import learning_rate_factors, multiply_learning_rates

NAMES = ["encoder.weight", "head.weight", "head.crf.transitions", "header.bias"]


def test_the_longest_prefix_wins_and_ends_at_a_dot():
    multipliers = {"head": 10, "head.crf": 100.0, "encoder.": 0.5}
    assert learning_rate_factors(NAMES, multipliers) == {
        "encoder.weight": 0.5,
        "head.weight": 10.0,
        "head.crf.transitions": 100.0,
        "header.bias": 1.0,
    }


def test_a_whole_name_is_a_prefix():
    factors = learning_rate_factors(NAMES, {"head.crf.transitions": 3})
    assert [name for name, factor in factors.items() if factor != 1] == ["head.crf.transitions"]


def test_a_prefix_of_nothing_is_named():
    with pytest.raises(ValueError, match=r"multipliers is 'hea'; .*encoder, head, header"):
        learning_rate_factors(NAMES, {"head": 10, "hea": 2})


def model_and_optimizer(**options):
    model = nn.ModuleDict({"encoder": nn.Linear(3, 3), "head": nn.Linear(3, 3)})
    groups = [
        {"params": [m.weight for m in model.values()], "weight_decay": 0.1},
        {"params": [m.bias for m in model.values()], "weight_decay": 0.0},
    ]
    return model, torch.optim.AdamW(groups, lr=0.01, **options)


def test_options_of_a_group_stay_and_every_parameter_is_in_one_group():
    model, optimizer = model_and_optimizer(betas=(0.8, 0.9))
    multiply_learning_rates(optimizer, model, {"head": 10})
    shape = [(g["lr"], g["weight_decay"], g["betas"]) for g in optimizer.param_groups]
    assert shape == [
        (0.01, 0.1, (0.8, 0.9)),
        (0.01, 0.0, (0.8, 0.9)),
        (0.1, 0.1, (0.8, 0.9)),
        (0.1, 0.0, (0.8, 0.9)),
    ]
    members = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(members) == 4
    assert {id(p) for p in members} == {id(p) for p in model.parameters()}


def test_a_step_moves_each_part_by_its_rate():
    model, optimizer = model_and_optimizer()
    multiply_learning_rates(optimizer, model, {"head": 10, "encoder": 0})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    moved = {name: (p - before[name]).abs().max().item() for name, p in model.named_parameters()}
    # Adam's first step has the size of the learning rate, and decay adds to that of the weight.
    assert moved["head.bias"] == pytest.approx(0.1, rel=1e-3)
    assert moved["encoder.bias"] == moved["encoder.weight"] == 0


def test_frozen_parameters_need_no_group():
    model, _ = model_and_optimizer()
    model["encoder"].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    multiply_learning_rates(optimizer, model, {"head": 2})
    assert [group["lr"] for group in optimizer.param_groups] == [0.2]
    with pytest.raises(ValueError, match="learning_rate_multipliers is 'encoder'"):
        multiply_learning_rates(optimizer, model, {"encoder": 2})
