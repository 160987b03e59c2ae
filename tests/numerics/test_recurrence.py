import pytest
import torch
from torch import nn

from kexue.numerics.recurrence import Recurrence, Trajectory, before, largest_residual


def network(seed=0, *, features=3, given=2):
    torch.manual_seed(seed)
    layer = nn.Linear(features + given, features).double()
    return Recurrence(lambda x, u: torch.tanh(layer(torch.cat((x, u), -1)))), layer


def numbers(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_derivatives_are_those_of_one_step_at_a_time():
    cell, _ = network()
    x, u = numbers(4, 2, 3), numbers(4, 2, 2, seed=2)
    found = cell.linearise(x, u, cell.step(x, u))
    assert found.shape == (4, 2, 3, 3)
    for place in ((0, 0), (3, 1)):
        expected = torch.autograd.functional.jacobian(
            lambda s, p=place: cell.step(s, u[p]), x[place]
        )
        assert torch.allclose(found[place], expected)


def test_the_pull_back_is_the_transposed_jacobian():
    cell, _ = network()
    x, u, felt = numbers(4, 2, 3), numbers(4, 2, 2, seed=2), numbers(4, 2, 3, seed=3)
    y = cell.step(x, u)
    expected = cell.linearise(x, u, y).mT @ felt.unsqueeze(-1)
    assert torch.allclose(cell.pull_back(x, u, y, felt), expected.squeeze(-1))


def test_derivatives_leave_no_trace():
    """Neither gradients of parameters nor a graph, whatever the grad mode is."""
    cell, layer = network()
    x, u = numbers(4, 3), numbers(4, 2)
    with torch.no_grad():
        y = cell.step(x, u)
        found = cell.linearise(x, u, y)
        assert not torch.is_grad_enabled()
    assert not found.requires_grad
    assert not cell.pull_back(x, u, y, x).requires_grad
    assert layer.weight.grad is None
    assert not x.requires_grad


def test_a_step_that_forgets_has_no_derivatives():
    forgets = Recurrence(lambda x, u: u)
    x = numbers(4, 2)
    assert torch.equal(forgets.linearise(x, x, x), torch.zeros(4, 2, 2).double())
    assert torch.equal(forgets.pull_back(x, x, x, x), torch.zeros_like(x))
    half = Recurrence(lambda x, u: torch.stack((x[..., 0], u[..., 0]), -1))
    assert half.linearise(x, x, x)[0].tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_what_is_given_is_used():
    calls = []

    def noted(name, value):
        def function(*arguments):
            calls.append((name, len(arguments)))
            return value

        return function

    x = numbers(2, 3)
    cell = Recurrence(
        noted("step", x), noted("jacobian", x), noted("pullback", x), noted("unroll", x)
    )
    assert cell.linearise(x, x, x) is x
    assert cell.pull_back(x, x, x, x) is x
    assert cell.run(x, x) is x
    assert calls == [("jacobian", 3), ("pullback", 4), ("unroll", 2)]


def test_the_loop_is_the_definition():
    cell, _ = network()
    start, u = numbers(5, 3), numbers(7, 5, 2)
    states = cell.run(start, u)
    for t in range(7):
        start = cell.step(start, u[t])
        assert torch.equal(states[t], start)


def test_before_shifts_by_one():
    states, start = numbers(4, 2), numbers(2)
    assert torch.equal(before(states, start)[0], start)
    assert torch.equal(before(states, start)[1:], states[:-1])


def test_the_residual_is_relative_and_sees_what_is_no_number():
    x = torch.tensor([0.0, 9.0, -9.0])
    assert largest_residual(x, x) == 0
    assert largest_residual(x, x + torch.tensor([0.5, 0.0, 0.0])) == 0.5
    assert largest_residual(x, x + torch.tensor([0.0, 5.0, -5.0])) == 0.5
    for bad in (torch.nan, torch.inf):
        worst = largest_residual(x, x + torch.tensor([0.0, bad, 0.0]))
        assert not worst <= 1e30
    assert not largest_residual(torch.tensor([torch.inf]), torch.tensor([torch.inf])) <= 1e30


def test_a_trajectory_names_its_method():
    assert Trajectory(torch.zeros(1, 1), 0.0, 1, True, "newton").method == "newton"
    with pytest.raises(AttributeError):
        Trajectory(torch.zeros(1, 1), 0.0, 1, True).converged = False
