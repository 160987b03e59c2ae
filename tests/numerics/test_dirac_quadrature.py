import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from kexue.numerics.dirac_closed_form import convolve
from kexue.numerics.dirac_kernels import KERNELS
from kexue.numerics.dirac_quadrature import convolve_by_quadrature, quadrature
from kexue.numerics.piecewise_functions import clip

DENSITIES = {
    "gaussian": (lambda y: math.exp(-y * y / 2) / math.sqrt(2 * math.pi), 12),
    "logistic": (lambda y: 1 / (4 * math.cosh(y / 2) ** 2), 60),
    "tanh": (lambda y: 1 / (2 * math.cosh(y) ** 2), 30),
    "laplace": (lambda y: math.exp(-abs(y)) / 2, 50),
    "box": (lambda y: 0.5, 1),
    "epanechnikov": (lambda y: 0.75 * (1 - y * y), 1),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("points", [2, 7, 64])
def test_nodes_are_symmetric_and_weights_a_density(kernel, points):
    nodes, weights = quadrature(kernel, points)
    assert len(nodes) == len(weights) == points + (points % 2 if kernel == "laplace" else 0)
    assert nodes.dtype == weights.dtype == torch.float64
    assert weights.min() > 0
    assert weights.sum().item() == pytest.approx(1)
    torch.testing.assert_close(
        nodes.sort().values, -nodes.sort().values.flip(0), atol=1e-9, rtol=1e-9
    )


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "box", "epanechnikov"])
def test_moments_are_exact(kernel):
    nodes, weights = quadrature(kernel, 8)
    # Eight nodes of Gauss are exact to the power 15; four on each side to the power 7.
    for order in range(0, 8 if kernel == "laplace" else 16, 2):
        expected = KERNELS[kernel].moment(order)
        assert (weights @ nodes**order).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kernel", ["logistic", "tanh"])
def test_moments_of_equal_steps(kernel):
    for points, apart in ((16, 1e-2), (32, 1e-7), (64, 1e-11)):
        nodes, weights = quadrature(kernel, points)
        for order in (2, 4, 6):
            expected = KERNELS[kernel].moment(order)
            assert (weights @ nodes**order).item() == pytest.approx(expected, rel=apart)


def test_nodes_of_numpy():
    nodes, weights = quadrature("gaussian", 9)
    theirs, masses = np.polynomial.hermite_e.hermegauss(9)
    np.testing.assert_allclose(nodes, theirs, atol=1e-12)
    np.testing.assert_allclose(weights, masses / math.sqrt(2 * math.pi), atol=1e-14)
    nodes, weights = quadrature("box", 9)
    theirs, masses = np.polynomial.legendre.leggauss(9)
    np.testing.assert_allclose(nodes, theirs, atol=1e-14)
    np.testing.assert_allclose(weights, masses / 2, atol=1e-14)


@pytest.mark.parametrize("kernel", DENSITIES)
def test_a_smooth_function_equals_its_integral(kernel):
    density, end = DENSITIES[kernel]
    nodes, weights = quadrature(kernel, 64)
    x = [-2.0, 0.1, 3.0]
    options = {"nodes": nodes, "weights": weights, "width": 0.7}
    found = convolve_by_quadrature(torch.sin, torch.tensor(x).double(), **options)
    expected = [
        sum(
            quad(lambda y, v=v: math.sin(v - 0.7 * y) * density(y), *ends, epsabs=1e-12)[0]
            for ends in ((-end, 0), (0, end))
        )
        for v in x
    ]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("kernel", ["cauchy", "algebraic"])
def test_fat_tails(kernel):
    # Rational and bounded: 1 / (1 + x^2), convolved with Cauchy's, is Cauchy's of width 1 + 0.7.
    nodes, weights = quadrature(kernel, 160)
    x = torch.tensor([-2.0, 0.1, 3.0], dtype=torch.float64)
    options = {"nodes": nodes, "weights": weights, "width": 0.7}
    found = convolve_by_quadrature(lambda v: 1 / (1 + v * v), x, **options)
    if kernel == "cauchy":
        expected = 1.7 / (1.7**2 + x * x)
    else:
        expected = [
            quad(
                lambda a, v=v: math.cos(a) / 2 / (1 + (v - 0.7 * math.tan(a)) ** 2),
                -math.pi / 2,
                math.pi / 2,
            )[0]
            for v in x.tolist()
        ]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - {"cauchy"}))
def test_a_function_with_kinks_comes_near_its_closed_form(kernel):
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)
    exact = convolve(clip(-1.0, 0.5), x, kernel=KERNELS[kernel], width=0.6)
    errors = []
    for points in (16, 64):
        nodes, weights = quadrature(kernel, points)
        options = {"nodes": nodes, "weights": weights, "width": 0.6}
        found = convolve_by_quadrature(clip(-1.0, 0.5), x, **options)
        errors.append((found - exact).abs().max().item())
    assert errors[1] < 0.02
    assert errors[1] < errors[0]


def test_gradients_reach_what_the_function_has():
    nodes, weights = quadrature("gaussian", 8)
    x = torch.tensor([0.3, -1.0], dtype=torch.float64, requires_grad=True)
    width = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: convolve_by_quadrature(torch.sin, x, nodes=nodes, weights=weights, width=w),
        (x, width),
    )


def test_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match="kernel is 'normal'"):
        quadrature("normal", 8)
    with pytest.raises(ValueError, match="points is 0; allowed: 1 or more"):
        quadrature("gaussian", 0)
    nodes, weights = quadrature("logistic", 1)
    assert (nodes.tolist(), weights.tolist()) == ([0], [1])
