import math

import pytest
import torch

from kexue.numerics.linear_recurrent_unit import LinearRecurrentUnit
from kexue.numerics.recurrence import Recurrence


def unit(features=3, *, states=5, seed=0, **options):
    torch.manual_seed(seed)
    return LinearRecurrentUnit(features, states=states, **options).double()


def numbers(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loop(layer, inputs, start):
    """The definition, in complex matrices and a loop."""
    n = layer.states
    enter = torch.complex(layer.enter[:n], layer.enter[n:])
    leave = torch.complex(layer.leave[:, :n], -layer.leave[:, n:])
    decay = torch.exp(torch.complex(-layer.nu.exp(), layer.theta.exp()))
    outputs = []
    for u in inputs:
        start = decay * start + layer.log_gamma.exp() * (u.to(enter.dtype) @ enter.T)
        outputs.append((start @ leave.T).real + layer.skip * u)
    return torch.stack(outputs), start


@pytest.mark.parametrize("batch", [(), (2,), (2, 4)])
@pytest.mark.parametrize("times", [1, 2, 300])
def test_outputs_and_gradients_are_those_of_the_loop(times, batch):
    layer = unit()
    inputs = numbers(times, *batch, 3).requires_grad_()
    start = torch.complex(numbers(*batch, 5), numbers(*batch, 5, seed=2)).requires_grad_()
    leaves = [inputs, start, *layer.parameters()]
    found, expected = layer(inputs, start=start), loop(layer, inputs, start)
    gradients = []
    for output, last in (found, expected):
        loss = output.square().sum() + last.abs().square().sum()
        gradients.append(torch.autograd.grad(loss, leaves))
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-11)
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine - theirs).abs().max() <= 1e-10 * theirs.abs().max()


def test_states_go_on_from_where_they_were():
    layer, inputs = unit(), numbers(100, 2, 3)
    whole, last = layer(inputs)
    first, state = layer(inputs[:37])
    second, end = layer(inputs[37:], start=state)
    assert torch.allclose(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
    assert torch.allclose(end, last, rtol=0, atol=1e-12)


def test_decays_are_drawn_from_their_ring():
    layer = unit(states=20_000, radii=(0.9, 0.999), max_angle=math.pi / 2)
    factors = layer.factors().detach()
    squares = factors.abs().square()
    assert 0.81 <= squares.min() < 0.8105
    assert 0.9975 < squares.max() <= 0.998001
    assert squares.mean().item() == pytest.approx((0.81 + 0.998001) / 2, abs=2e-3)
    assert factors.angle().min() >= 0
    assert factors.angle().max() <= math.pi / 2
    assert factors.angle().mean().item() == pytest.approx(math.pi / 4, rel=0.02)


def test_states_are_as_large_as_what_comes_in():
    """E |x|^2 = E |u|^2 of the entered inputs, for white inputs after a long time."""
    layer = unit(4, states=64)
    inputs = numbers(4096, 8, 4)
    with torch.no_grad():
        entered = inputs @ layer.enter.mT
        size = entered.square().sum(-1).mean() / layer.states
        _, state = layer(inputs)
    assert state.abs().square().mean().item() == pytest.approx(size.item(), rel=0.25)


def test_no_parameters_make_it_unstable():
    layer = unit()
    with torch.no_grad():
        for value in (-30.0, -3.0, 0.0, 3.0):
            layer.nu.fill_(value)
            layer.theta.fill_(value)
            assert layer.factors().abs().max() <= 1
            assert layer(numbers(5000, 3))[0].isfinite().all()


def test_a_radius_of_zero_is_allowed():
    layer = LinearRecurrentUnit(2, radii=(0.0, 0.5))
    assert layer.states == 2
    with torch.no_grad():
        layer.nu.copy_(torch.tensor(-0.5 * math.log(torch.finfo(torch.float32).tiny)).log())
        assert layer(torch.ones(10, 2))[0].isfinite().all()


def test_long_inputs_in_float32():
    """Where powers of the decay would overflow."""
    torch.manual_seed(0)
    layer = LinearRecurrentUnit(2, states=4)
    inputs = numbers(8192, 2)
    found, _ = layer(inputs.float())
    expected, _ = layer.double()(inputs)
    assert torch.allclose(found.double(), expected, atol=1e-3)


def test_it_is_a_recurrence_that_newton_s_method_solves_at_once():
    """What a nonlinear recurrence is reduced to in each iteration."""
    from kexue.numerics.parallel_rnn import solve_recurrence

    layer, inputs = unit(), numbers(300, 3)
    decay = layer.factors().detach()
    matrix = torch.zeros(10, 10).double()
    matrix[:5, :5] = matrix[5:, 5:] = decay.real.diag()
    matrix[:5, 5:], matrix[5:, :5] = -decay.imag.diag(), decay.imag.diag()
    entered = (inputs @ layer.enter.mT * layer.log_gamma.exp().repeat(2)).detach()
    cell = Recurrence(lambda x, u: x @ matrix.mT + u)
    zeros = torch.zeros(10).double()
    found = solve_recurrence(cell, zeros, entered, fallback=False, guess=torch.zeros_like(entered))
    assert found.iterations == 1
    _, last = layer(inputs)
    assert torch.allclose(found.states[-1], torch.cat((last.real, last.imag)), atol=1e-11)


def test_errors_say_what_to_type():
    for radii in ((0.9, 1.0), (0.9, 0.8), (-0.1, 0.5)):
        with pytest.raises(ValueError, match="allowed: 0 <= least < largest < 1"):
            LinearRecurrentUnit(3, radii=radii)
    with pytest.raises(ValueError, match="max_angle is 0; allowed: above 0 and up to 2 pi"):
        LinearRecurrentUnit(3, max_angle=0)
