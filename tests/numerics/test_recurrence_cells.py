import pytest
import torch
from torch import nn

from kexue.numerics.recurrence import Recurrence
from kexue.numerics.recurrence_cells import CellWeights, gru_recurrence, rnn_recurrence


@pytest.fixture(params=["tanh", "relu", "gru", "tanh, no bias", "gru, no bias"])
def layer(request):
    """A layer of torch and our recurrence of it."""
    torch.manual_seed(0)
    kind, _, plain = request.param.partition(", ")
    if kind == "gru":
        module = nn.GRU(3, 4, bias=not plain).double()
        return module, gru_recurrence(CellWeights(*module.all_weights[0]))
    module = nn.RNN(3, 4, bias=not plain, nonlinearity=kind).double()
    weights = CellWeights(*module.all_weights[0])
    return module, rnn_recurrence(weights, nonlinearity=kind)


def numbers(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_step_is_torch_s(layer):
    module, cell = layer
    x, u = numbers(5, 4), numbers(5, 3, seed=2)
    expected, _ = module(u.unsqueeze(0), x.unsqueeze(0))
    assert torch.allclose(cell.step(x, u), expected[0], rtol=0, atol=1e-14)


def test_the_loop_is_torch_s_and_ours(layer):
    module, cell = layer
    for batch in ((), (2,), (2, 5)):
        start, u = numbers(*batch, 4), numbers(9, *batch, 3, seed=2)
        states = cell.run(start, u)
        assert states.shape == (9, *batch, 4)
        stepped = Recurrence(cell.step).run(start, u)
        assert torch.allclose(states, stepped, rtol=0, atol=1e-13)
    expected, _ = module(numbers(9, 2, 3, seed=2), numbers(1, 2, 4))
    found = cell.run(numbers(2, 4), numbers(9, 2, 3, seed=2))
    assert torch.equal(found, expected)


def test_derivatives_are_those_of_autograd(layer):
    _, cell = layer
    plain = Recurrence(cell.step)
    x, u, felt = numbers(6, 2, 4), numbers(6, 2, 3, seed=2), numbers(6, 2, 4, seed=3)
    y = cell.step(x, u).detach()
    assert torch.allclose(cell.linearise(x, u, y), plain.linearise(x, u, y), rtol=0, atol=1e-13)
    mine, theirs = (c.pull_back(x, u, y, felt) for c in (cell, plain))
    assert torch.allclose(mine, theirs, rtol=0, atol=1e-13)
    assert not mine.requires_grad


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU])
def test_derivatives_of_wide_states(kind):
    """Beyond the widths that are laid out in planes."""
    torch.manual_seed(0)
    weights = CellWeights(*kind(3, 9).double().all_weights[0])
    cell = rnn_recurrence(weights) if kind is nn.RNN else gru_recurrence(weights)
    x, u = numbers(6, 9), numbers(6, 3, seed=2)
    y = cell.step(x, u).detach()
    expected = Recurrence(cell.step).linearise(x, u, y)
    assert torch.allclose(cell.linearise(x, u, y), expected, rtol=0, atol=1e-13)


def test_the_gru_at_rest_is_the_article_s_choice():
    """(I + A_n / 2) / 2 at state 0 without input and biases."""
    torch.manual_seed(0)
    module = nn.GRU(3, 4, bias=False).double()
    cell = gru_recurrence(CellWeights(*module.all_weights[0]))
    rest, silent = torch.zeros(1, 4).double(), torch.zeros(1, 3).double()
    found = cell.linearise(rest, silent, cell.step(rest, silent))[0]
    a_n = module.weight_hh_l0.detach()[8:]
    assert torch.equal(found, 0.5 * (torch.eye(4) + 0.5 * a_n))


def test_gradients_flow_to_the_weights(layer):
    module, cell = layer
    cell.step(numbers(5, 4), numbers(5, 3)).sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()


def test_errors_say_what_to_type():
    weights = CellWeights(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="nonlinearity is 'gelu'; allowed: 'tanh' or 'relu'"):
        rnn_recurrence(weights, nonlinearity="gelu")
