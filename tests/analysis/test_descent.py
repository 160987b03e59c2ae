from itertools import pairwise

import pytest
import torch
from torch import nn

from kexue.analysis.descent import descend


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x, y = torch.randn(7, 3).double(), torch.randn(7, 2).double()
    return model, x, lambda outputs, rows: (outputs - y[rows]).square().mean()


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_it_is_what_the_optimizer_does(problem, decay):
    model, x, loss = problem
    *_, last = descend(model, x, loss, rate=0.2, steps=6, decay=decay)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, weight_decay=decay)
    for _ in range(6):
        optimizer.zero_grad()
        loss(model(x), torch.arange(7)).backward()
        optimizer.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(last.after[name], value.detach())


def test_steps_follow_one_another_and_leave_the_model_alone(problem):
    model, x, loss = problem
    before = {name: value.clone() for name, value in model.named_parameters()}
    steps = list(descend(model, x, loss, rate=0.2, steps=3))
    assert len(steps) == 3
    assert all(torch.equal(steps[0].before[n], v) for n, v in before.items())
    assert all(one.after is two.before for one, two in pairwise(steps))
    assert all(torch.equal(v, before[n]) for n, v in model.named_parameters())
    assert all(v.grad is None for v in model.parameters())


def test_pulls_are_minus_the_gradient_by_the_outputs(problem):
    model, x, loss = problem
    step = next(descend(model, x, loss, rate=0.2, steps=1))
    outputs = model(x).detach().requires_grad_()
    loss(outputs, torch.arange(7)).backward()
    torch.testing.assert_close(step.pulls, -outputs.grad)


def test_batches_go_through_all_examples(problem):
    model, x, loss = problem
    generator = torch.Generator().manual_seed(0)
    steps = list(descend(model, x, loss, rate=0.1, steps=6, batch_size=3, generator=generator))
    assert [len(step.rows) for step in steps] == [3, 3, 1] * 2
    epochs = [torch.cat([step.rows for step in steps[k : k + 3]]) for k in (0, 3)]
    assert all(sorted(epoch.tolist()) == list(range(7)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_frozen_parameters_stay(problem):
    model, x, loss = problem
    model[0].requires_grad_(False)
    *_, last = descend(model, x, loss, rate=0.2, steps=4, decay=0.1)
    assert torch.equal(last.after["0.weight"], model[0].weight)
    assert not torch.equal(last.after["2.weight"], model[2].weight)


@pytest.mark.parametrize(("name", "value"), [("rate", 0.0), ("batch_size", 0), ("rate", -1.0)])
def test_impossible_options_are_refused_at_once(problem, name, value):
    model, x, loss = problem
    with pytest.raises(ValueError, match=f"{name} is {value}; allowed: a positive number"):
        descend(model, x, loss, **{"rate": 0.1, "steps": 1, name: value})
