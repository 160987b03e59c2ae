import pytest
import torch
from torch import nn

from kexue.numerics import recurrence_adjoint
from kexue.numerics.recurrence import Recurrence, before
from kexue.numerics.recurrence_adjoint import adjoint, attach_gradient


@pytest.fixture(params=["scan", "blockwise", "loop of matrices", "loop"])
def way(request, monkeypatch):
    """Send every gradient one way, and fail where another is taken."""

    def choose(name, value):
        monkeypatch.setattr(recurrence_adjoint, name, value)

    name = request.param
    choose("scan_is_cheap", lambda size: name in ("scan", "loop of matrices"))
    choose("scan_pays", lambda size: name != "loop")
    if name == "loop":
        choose("_SWEEPS", 1)
    if name == "loop of matrices":
        choose("_is_solved", lambda *_: False)
    if name != "loop of matrices":
        choose("_adjoint_loop", None)
    if name in ("blockwise", "loop"):
        choose("adjoint_scan", None)
    else:
        choose("solve_blockwise", None)
    return name


def network(features=3, given=2, seed=0):
    torch.manual_seed(seed)
    layer = nn.Linear(features + given, features).double()
    return Recurrence(lambda x, u: torch.tanh(layer(torch.cat((x, u), -1)))), layer


def numbers(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradients(layer, start, u, states):
    weights = torch.linspace(-1, 2, states.numel(), dtype=torch.float64).reshape(states.shape)
    loss = (weights * states.square()).sum()
    return torch.autograd.grad(loss, (start, u, *layer.parameters()))


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("times", [1, 2, 3, 150])
def test_gradients_are_those_of_back_propagation(way, times, batch):
    cell, layer = network()
    start = numbers(*batch, 3).requires_grad_()
    u = numbers(times, *batch, 2, seed=2).requires_grad_()
    looped = cell.run(start, u)
    expected = gradients(layer, start, u, looped)
    states = attach_gradient(cell, start, u, looped.detach())
    assert torch.equal(states, looped)
    for mine, theirs in zip(gradients(layer, start, u, states), expected, strict=True):
        assert (mine - theirs).abs().max() <= 1e-11 * theirs.abs().max()


def test_tiny_and_huge_gradients_are_as_exact(way):
    cell, _ = network()
    start, u = numbers(2, 3), numbers(200, 2, 2, seed=2)
    states = cell.run(start, u).detach()
    previous = before(states, start)
    upstream = numbers(200, 2, 3, seed=3)
    expected = adjoint(cell, previous, u, states, upstream)
    for scale in (1e-200, 1e200):
        found = adjoint(cell, previous, u, states, upstream * scale) / scale
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert not adjoint(cell, previous, u, states, 0 * upstream).any()


def test_gradcheck(way):
    _, layer = network()
    start, u = numbers(2, 3).requires_grad_(), numbers(9, 2, 2, seed=2).requires_grad_()

    def solved(start, u, weight, bias):
        inner = Recurrence(
            lambda x, u: torch.tanh(nn.functional.linear(torch.cat((x, u), -1), weight, bias))
        )
        with torch.no_grad():
            states = inner.run(start, u)
        return attach_gradient(inner, start, u, states)

    assert torch.autograd.gradcheck(solved, (start, u, layer.weight, layer.bias))


def test_a_loss_on_the_last_state_alone(way):
    """Most of l is far below the rounding of its largest part, and none of it is wrong."""
    cell, layer = network()
    start, u = numbers(3).requires_grad_(), numbers(150, 2).requires_grad_()
    looped = cell.run(start, u)
    expected = torch.autograd.grad(looped[-1].sum(), (u, *layer.parameters()))
    states = attach_gradient(cell, start, u, looped.detach())
    found = torch.autograd.grad(states[-1].sum(), (u, *layer.parameters()))
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-14)


def test_growing_products_of_jacobians_are_noticed():
    """A scan of an unstable float32 recurrence is wrong, is found out, and the loop is run."""
    generator = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator))
    matrix = turn @ torch.diag(torch.tensor([3.0, 0.3, 0.3, 0.3])) @ turn.mT
    jacobians = matrix.expand(70, 4, 4)
    _, calm = turn[:, 0], turn[:, 1:]
    upstream = torch.randn(70, 3, generator=generator) @ calm.mT
    exact = recurrence_adjoint._adjoint_loop(jacobians.double(), upstream.double())
    scanned = recurrence_adjoint.adjoint_scan(jacobians, upstream)
    assert recurrence_adjoint._is_solved(jacobians.double(), upstream.double(), exact)
    wrong = (scanned - exact).abs().max() > 1e-3 * exact.abs().max()
    assert not (wrong and recurrence_adjoint._is_solved(jacobians, upstream, scanned))
    broken = scanned.clone()
    broken[30] *= 1.001
    assert not recurrence_adjoint._is_solved(jacobians, upstream, broken)
    broken[30] = torch.nan
    assert not recurrence_adjoint._is_solved(jacobians, upstream, broken)


def test_an_unstable_recurrence_has_the_gradient_of_the_loop():
    torch.manual_seed(0)
    a = (2.5 * torch.randn(3, 3).double() / 3**0.5).requires_grad_()
    cell = Recurrence(lambda x, u: torch.tanh(x @ a.mT + u))
    start, u = numbers(3), numbers(120, 3)
    looped = cell.run(start, u)
    (expected,) = torch.autograd.grad(looped.sum(), a)
    (found,) = torch.autograd.grad(attach_gradient(cell, start, u, looped.detach()).sum(), a)
    assert torch.allclose(found, expected, rtol=1e-7)


def test_nothing_is_attached_where_nothing_is_asked_for():
    fixed = Recurrence(lambda x, u: 0.5 * x + u)
    states = numbers(4, 2)
    assert attach_gradient(fixed, states[0], states, states) is states


def test_there_is_no_second_derivative():
    cell, layer = network()
    start, u = numbers(3), numbers(5, 2)
    states = attach_gradient(cell, start, u, cell.run(start, u).detach())
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(states.sum(), layer.bias, create_graph=True)
    states.sum().backward()
    assert layer.bias.grad.any()
