import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch.nn import functional as F

from kexue.numerics.dirac_closed_form import (
    convolution_bound,
    convolve,
    multiply,
    product_bound,
)
from kexue.numerics.dirac_kernels import KERNELS
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.piecewise_functions import (
    absolute,
    clip,
    hat,
    power_relu,
    quantizer,
    relu,
    soft_threshold,
    step,
)

DENSITIES = {
    "gaussian": lambda y: math.exp(-y * y / 2) / math.sqrt(2 * math.pi),
    "logistic": lambda y: 1 / (4 * math.cosh(y / 2) ** 2),
    "tanh": lambda y: 1 / (2 * math.cosh(y) ** 2),
    "laplace": lambda y: math.exp(-abs(y)) / 2,
    "algebraic": lambda y: (1 + y * y) ** -1.5 / 2,
    "box": lambda y: 0.5 if abs(y) <= 1 else 0.0,
    "epanechnikov": lambda y: 0.75 * (1 - y * y) if abs(y) <= 1 else 0.0,
    "cauchy": lambda y: 1 / (math.pi * (1 + y * y)),
}
ENDS = {"gaussian": 10, "logistic": 50, "tanh": 25, "laplace": 50, "box": 1, "epanechnikov": 1}
THIN = tuple(ENDS)

FUNCTIONS = {
    "relu": relu(),
    "leaky": relu(slope=0.2),
    "absolute": absolute(),
    "step": step(),
    "clip": clip(-1.0, 0.5),
    "hat": hat(),
    "levels": quantizer([-2.0, -0.5, 0.0, 3.0]),
    "threshold": soft_threshold(0.7),
    "line": PiecewisePolynomial((), ((1.0, -2.0),)),
    "square": power_relu(2),
    "bump": PiecewisePolynomial((-1.0, 1.0), ((0.0,), (1.0, 0.0, -1.0), (0.0,))),
    "jumpy cubic": PiecewisePolynomial(
        (-0.5, 0.3, 1.0), ((1.0, 2.0), (0.0, 1.0, -1.0, 2.0), (3.0, 0.0, 1.0), (2.0, -1.0))
    ),
    "quartic": PiecewisePolynomial((0.4,), ((0.0, 1.0, 0.0, 0.0, 0.5), (1.0, 0.0, 3.0))),
}
POINTS = [-3.1, -1.0, -0.5, -0.2, 0.0, 0.3, 0.9, 2.5]
CASES = [
    (name, kernel)
    for name, pieces in FUNCTIONS.items()
    for kernel in KERNELS
    if pieces.growth <= KERNELS[kernel].growth
]


def value(pieces, x):
    piece = pieces.pieces[sum(x >= where for where in pieces.breaks)]
    return sum(c * x**power for power, c in enumerate(piece))


def by_integration(pieces, x, kernel, width):
    """E[f(x - width Y)], numerically between the points where f or the density change."""
    changes = sorted((x - where) / width for where in pieces.breaks)
    if kernel in ENDS:
        end = ENDS[kernel]
        inside = [-end, *(c for c in changes if abs(c) < end), 0.0, 3.0, -3.0, end]
        ends = sorted(c for c in inside if abs(c) <= end)

        def integrand(y):
            return value(pieces, x - width * y) * DENSITIES[kernel](y)
    else:
        ends = [-math.pi / 2, *(math.atan(c) for c in changes), math.pi / 2]

        def integrand(angle):
            y = math.tan(angle)
            return value(pieces, x - width * y) * DENSITIES[kernel](y) * (1 + y * y)

    parts = (
        quad(integrand, low, high, epsabs=1e-11, epsrel=1e-11, limit=200)[0]
        for low, high in pairwise(ends)
        if high > low
    )
    return sum(parts)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("name", "kernel"), CASES)
@pytest.mark.parametrize("width", [0.4, 1.7])
def test_equals_the_integral(name, kernel, width):
    pieces = FUNCTIONS[name]
    found = convolve(pieces, numbers(*POINTS), kernel=KERNELS[kernel], width=width)
    expected = [by_integration(pieces, x, kernel, width) for x in POINTS]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kernel", ["algebraic", "cauchy"])
def test_inner_pieces_may_grow_whatever_the_tails(kernel):
    # Of x^3 inside neither kernel has a moment; outside it is constant.
    pieces = PiecewisePolynomial((-1.0, 1.5), ((2.0,), (0.0, -1.0, 0.0, 1.0), (0.5,)))
    found = convolve(pieces, numbers(*POINTS), kernel=KERNELS[kernel], width=0.8)
    expected = [by_integration(pieces, x, kernel, 0.8) for x in POINTS]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_known_activations():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)

    def made(pieces, kernel, width):
        return convolve(pieces, x, kernel=KERNELS[kernel], width=width)

    def close(one, two):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)

    close(made(relu(), "logistic", 0.5), torch.logaddexp(2 * x, 0 * x) / 2)
    close(made(relu(), "tanh", 0.5), torch.logaddexp(4 * x, 0 * x) / 4)
    close(made(relu(), "algebraic", 1.5), (x + (x * x + 1.5**2).sqrt()) / 2)
    close(made(step(), "logistic", 0.5), (2 * x).sigmoid())
    close(made(step(below=-1.0), "tanh", 0.5), (2 * x).tanh())
    close(made(step(), "cauchy", 2.0), 0.5 + (x / 2).atan() / math.pi)
    close(made(step(below=-1.0), "gaussian", 0.5), (x / 0.5 / math.sqrt(2)).erf())
    inside = (x.abs() <= 1.0).double()
    huber = inside * (x * x + 1) / 2 + (1 - inside) * x.abs()
    close(made(absolute(), "box", 1.0), huber)


def test_product_form_of_relu_is_gelu_and_swish():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    gelu = multiply(relu(), x, kernel=KERNELS["gaussian"], width=1.0)
    torch.testing.assert_close(gelu, F.gelu(x))
    torch.testing.assert_close(
        multiply(relu(), x, kernel=KERNELS["logistic"], width=1.0), F.silu(x)
    )
    cauchy = multiply(relu(), x, kernel=KERNELS["cauchy"], width=1.0)
    torch.testing.assert_close(cauchy, x * (0.5 + x.atan() / math.pi))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_product_form_equals_its_definition(name, kernel):
    pieces, x, width = FUNCTIONS[name], numbers(*POINTS), 0.6
    expected = sum(c * x**power for power, c in enumerate(pieces.pieces[0]))
    for i, where in enumerate(pieces.breaks):
        below = KERNELS[kernel].tails(((x - where) / width).abs(), 0)[0]
        distribution = torch.where(x < where, below, 1 - below)
        for sign, piece in ((1, pieces.pieces[i + 1]), (-1, pieces.pieces[i])):
            values = sum(c * x**power for power, c in enumerate(piece))
            expected = expected + sign * values * distribution
    found = multiply(pieces, x, kernel=KERNELS[kernel], width=width)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def has_bound(name, kernel):
    largest = max((len(jump) for jump in FUNCTIONS[name].jumps), default=1) - 1
    return largest <= KERNELS[kernel].growth


@pytest.mark.parametrize(("name", "kernel"), [case for case in CASES if has_bound(*case)])
def test_the_bound_holds(name, kernel):
    pieces, x = FUNCTIONS[name], torch.linspace(-4, 4, 301, dtype=torch.float64)
    options = {"kernel": KERNELS[kernel], "width": 0.7}
    bound = convolution_bound(pieces, x, **options)
    error = (convolve(pieces, x, **options) - pieces(x)).abs()
    assert (error <= bound + 1e-12).all()
    assert bound.isfinite().all()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_bound_of_the_product_holds(name, kernel):
    pieces, x = FUNCTIONS[name], torch.linspace(-4, 4, 301, dtype=torch.float64)
    options = {"kernel": KERNELS[kernel], "width": 0.7}
    error = (multiply(pieces, x, **options) - pieces(x)).abs()
    bound = product_bound(pieces, x, **options)
    assert (error <= bound + 1e-12).all()
    if len(pieces.breaks) == 1:
        torch.testing.assert_close(bound, error)


@pytest.mark.parametrize(
    ("kernel", "largest"),
    [
        ("logistic", math.log(2)),
        ("tanh", math.log(2) / 2),
        ("gaussian", 1 / math.sqrt(2 * math.pi)),
        ("laplace", 1 / 2),
        ("algebraic", 1 / 2),
        ("box", 1 / 4),
        ("epanechnikov", 3 / 16),
    ],
)
def test_the_error_of_relu_is_the_bound_and_largest_at_the_kink(kernel, largest):
    x, options = torch.linspace(-5, 5, 501).double(), {"kernel": KERNELS[kernel], "width": 0.3}
    error = convolve(relu(), x, **options) - relu()(x)
    torch.testing.assert_close(error, convolution_bound(relu(), x, **options))
    assert error.argmax() == 250
    assert error.max().item() == pytest.approx(0.3 * largest)


# The largest errors of x Phi(x) and where they are, from the article
@pytest.mark.parametrize(
    ("kernel", "largest", "where"),
    [("logistic", 0.27846, 1.27846), ("gaussian", 0.16997, 0.75179)],
)
def test_the_largest_error_of_the_product(kernel, largest, where):
    x = torch.linspace(0, 4, 40_001, dtype=torch.float64)
    error = (multiply(relu(), x, kernel=KERNELS[kernel], width=1.0) - x).abs()
    assert error.max().item() == pytest.approx(largest, abs=1e-5)
    assert x[error.argmax()].item() == pytest.approx(where, abs=1e-3)


@pytest.mark.parametrize("kernel", THIN)
@pytest.mark.parametrize("name", ["relu", "leaky", "absolute", "square"])
def test_a_convex_function_is_approached_from_above(kernel, name):
    pieces, x = FUNCTIONS[name], torch.linspace(-4, 4, 301, dtype=torch.float64)
    error = convolve(pieces, x, kernel=KERNELS[kernel], width=0.7) - pieces(x)
    assert (error >= -1e-14).all()
    assert error.max() > 0.01


@pytest.mark.parametrize("kernel", KERNELS)
def test_at_a_jump_it_meets_the_middle(kernel):
    found = convolve(
        step(at=1.0, below=3.0, above=8.0), numbers(1.0), kernel=KERNELS[kernel], width=0.1
    )
    assert found.item() == pytest.approx(5.5)


@pytest.mark.parametrize(("name", "kernel"), CASES)
def test_a_narrow_kernel_gives_the_function_back(name, kernel):
    pieces, x = FUNCTIONS[name], numbers(-3.1, -0.77, 0.13, 0.6, 2.5)
    errors = [
        (convolve(pieces, x, kernel=KERNELS[kernel], width=w) - pieces(x)).abs().max().item()
        for w in (1e-2, 1e-3)
    ]
    assert errors[1] <= errors[0] / 9 + 1e-12
    assert errors[1] < 0.01


@pytest.mark.parametrize(("name", "kernel"), CASES)
def test_gradients_are_right_also_at_breaks(name, kernel):
    pieces = FUNCTIONS[name]
    # Kernels with an edge have a kink where the edge meets a break.
    x = numbers(*pieces.breaks, -2.1, 0.11, 0.77).requires_grad_()
    width = numbers(0.83).requires_grad_()

    def function(x, width):
        return convolve(pieces, x, kernel=KERNELS[kernel], width=width)

    if kernel == "box" and name in ("step", "levels", "jumpy cubic"):
        x = numbers(-2.1, 0.11, 0.77).requires_grad_()
    assert torch.autograd.gradcheck(function, (x, width), atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_slope_of_a_smooth_step_is_the_density(kernel):
    x = torch.linspace(-0.9, 0.9, 37, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(convolve(step(), x, kernel=KERNELS[kernel], width=1.0).sum(), x)
    np.testing.assert_allclose(slope, [DENSITIES[kernel](y) for y in x.tolist()], atol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "logistic", "tanh", "algebraic", "cauchy"])
def test_second_derivatives(kernel):
    x = numbers(-1.3, -0.2, 0.4, 0.5, 2.0).requires_grad_()
    pieces = clip(-1.0, 0.5)
    assert torch.autograd.gradgradcheck(
        lambda x: convolve(pieces, x, kernel=KERNELS[kernel], width=0.9), (x,), atol=1e-5
    )


@pytest.mark.parametrize(("name", "kernel"), CASES)
def test_far_away_nothing_is_lost(name, kernel):
    # Sums of moments, as they are usually written, lose x^2 times the rounding here.
    pieces, x = FUNCTIONS[name], numbers(-1e6, 1e6).requires_grad_()
    found = convolve(pieces, x, kernel=KERNELS[kernel], width=1.0)
    slack = 1e-6 if kernel in THIN else 1e-4
    more = convolve(pieces, x.detach(), kernel=KERNELS[kernel], width=1e-9)
    if pieces.growth < 2:
        torch.testing.assert_close(found, more, rtol=0, atol=slack)
    (slope,) = torch.autograd.grad(found.sum(), x)
    assert slope.isfinite().all()


@pytest.mark.parametrize("kernel", THIN)
def test_infinite_points(kernel):
    found = convolve(relu(), numbers(-math.inf, math.inf), kernel=KERNELS[kernel], width=1.0)
    assert found[0].abs() < 1e-16
    assert found[1] == math.inf


def test_a_bound_needs_its_moments():
    for pieces, kernel in ((clip(0.0, 1.0), "cauchy"), (FUNCTIONS["bump"], "algebraic")):
        with pytest.raises(ValueError, match="allowed: one with thinner tails"):
            convolution_bound(pieces, numbers(0.0), kernel=KERNELS[kernel], width=1.0)
    steps = convolution_bound(step(), numbers(0.0, 1.0), kernel=KERNELS["cauchy"], width=1.0)
    np.testing.assert_allclose(steps, [0.5, 0.25])
