import math

import pytest
import torch

from kexue.numerics.mitchell import mitchell_divide, mitchell_multiply, mitchell_sqrt

FUNCTIONS = {
    mitchell_multiply: torch.mul,
    mitchell_divide: torch.div,
}


def operands(count=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, count, generator=generator, dtype=torch.float64)
    return x[0].requires_grad_(), x[1].requires_grad_(), x[2]


def gradients(function, a, b, weight, **options):
    return torch.autograd.grad((function(a, b, **options) * weight).sum(), (a, b))


def away_from_corners(function, a, b, step, **options):
    """Tell where the slope is the same on both sides of both operands."""
    middle = function(a, b, **options)
    bends = [
        function(a + step * a, b, **options) + function(a - step * a, b, **options) - 2 * middle,
        function(a, b + step * b, **options) + function(a, b - step * b, **options) - 2 * middle,
    ]
    return (torch.stack(bends).abs() < 1e-3 * step * middle.abs()).all(0)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("offset", [0.0, 0.0566, -0.0566])
def test_exact_gradients_are_differences_of_the_function(function, offset):
    a, b, weight = operands()
    of_a, of_b = gradients(function, a, b, weight, offset=offset)
    with torch.no_grad():
        step = 1e-6
        up = function(a + step * a, b, offset=offset) - function(a - step * a, b, offset=offset)
        down = function(a, b + step * b, offset=offset) - function(a, b - step * b, offset=offset)
        smooth = away_from_corners(function, a, b, step, offset=offset)
        assert smooth.float().mean() > 0.98
        for found, difference, x in ((of_a, up, a), (of_b, down, b)):
            expected = weight * difference / (2 * step * x)
            assert torch.allclose(found[smooth], expected[smooth], rtol=1e-4)


@pytest.mark.parametrize("offset", [0.0, -0.02])
def test_exact_gradients_of_roots(offset):
    a = torch.rand(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 9 + 0.1
    a.requires_grad_()
    (found,) = torch.autograd.grad(mitchell_sqrt(a, offset=offset).sum(), a)
    with torch.no_grad():
        above, here, below = (mitchell_sqrt(a * s, offset=offset) for s in (1 + 1e-6, 1, 1 - 1e-6))
        smooth = (above + below - 2 * here).abs() < 1e-9 * here
        assert smooth.float().mean() > 0.98
        expected = (above - below) / (2e-6 * a)
        assert torch.allclose(found[smooth], expected[smooth], rtol=1e-4)


def test_exact_gradients_pass_gradcheck():
    a = torch.tensor([1.3, -2.7, 0.9], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.1, 3.1, -5.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mitchell_multiply, (a, b), eps=1e-5)
    assert torch.autograd.gradcheck(mitchell_divide, (a, b), eps=1e-5)
    assert torch.autograd.gradcheck(mitchell_sqrt, (a.abs().detach().requires_grad_(),), eps=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_exact_slopes_are_powers_of_two(function):
    a, b, weight = operands(seed=1)
    for slope in gradients(function, a, b, torch.ones_like(weight)):
        significand, _ = torch.frexp(slope.abs())
        assert (significand == 0.5).all()


def test_the_formula_of_the_slope_of_a_product():
    a, b, _ = operands(seed=2)
    of_a, _ = gradients(mitchell_multiply, a, b, 1.0)
    (x, _), (y, m) = torch.frexp(a.detach().abs()), torch.frexp(b.detach().abs())
    carried = 2 * x - 1 + 2 * y - 1 >= 1
    assert torch.equal(of_a, b.sign() * torch.exp2(m - 1.0 + carried))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_straight_gradients_are_those_of_the_true_result(function):
    a, b, weight = operands(seed=3)
    found = gradients(function, a, b, weight, backward="straight")
    expected = gradients(FUNCTIONS[function], a, b, weight)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)


def test_mitchell_gradients_are_mitchell_products():
    a, b, weight = operands(seed=4)
    of_a, of_b = gradients(mitchell_multiply, a, b, weight, backward="mitchell", offset=0.05)
    assert torch.equal(of_a, mitchell_multiply(weight, b, offset=0.05))
    assert torch.equal(of_b, mitchell_multiply(weight, a, offset=0.05))
    of_a, of_b = gradients(mitchell_divide, a, b, weight, backward="mitchell")
    quotient = mitchell_divide(weight, b)
    assert torch.equal(of_a, quotient)
    assert torch.equal(of_b, -mitchell_multiply(quotient, mitchell_divide(a, b)))


def test_gradients_of_roots():
    a = torch.tensor([4.0, 3.0, 0.7], requires_grad=True)
    for mode, expected in (
        ("straight", 0.5 / a.detach().sqrt()),
        ("mitchell", mitchell_divide(torch.ones(3), 2 * mitchell_sqrt(a.detach()))),
    ):
        (found,) = torch.autograd.grad(mitchell_sqrt(a, backward=mode).sum(), a)
        assert torch.allclose(found, expected, rtol=1e-6)
    a = torch.tensor([0.0, -1.0, math.nan], requires_grad=True)
    (found,) = torch.autograd.grad(mitchell_sqrt(a).sum(), a)
    assert found[0] == math.inf
    assert found[1:].isnan().all()


@pytest.mark.parametrize("mode", ["exact", "mitchell", "straight"])
def test_gradients_at_zero(mode):
    a = torch.tensor([0.0, 3.0, 0.0], requires_grad=True)
    b = torch.tensor([-4.0, 0.0, 0.0], requires_grad=True)
    of_a, of_b = gradients(mitchell_multiply, a, b, 1.0, backward=mode)
    # with a 0, the slope is that of 1 times the other operand
    assert of_a.tolist() == [-4, 0, 0]
    assert of_b.tolist() == [0, {"exact": 2}.get(mode, 3), 0]
    a = torch.tensor([0.0], requires_grad=True)
    b = torch.tensor([-4.0], requires_grad=True)
    of_a, of_b = gradients(mitchell_divide, a, b, 1.0, backward=mode)
    assert of_a.tolist() == [-0.25]
    assert of_b.tolist() == [0]


def test_a_network_of_these_finds_a_product():
    target = torch.tensor([6.0])
    for mode in ("exact", "mitchell", "straight"):
        a = torch.tensor([1.0], requires_grad=True)
        optimiser = torch.optim.SGD([a], lr=0.05)
        for _ in range(100):
            optimiser.zero_grad()
            (mitchell_multiply(a, 3.0, backward=mode) - target).square().sum().backward()
            optimiser.step()
        assert a.item() == pytest.approx(2.0, abs=1e-3)
