import copy
import math

import numpy as np
import pytest
import torch

from kexue.numerics.dirac_closed_form import convolve, multiply
from kexue.numerics.dirac_kernels import KERNELS
from kexue.numerics.dirac_modules import SmoothFunction, SmoothPieces
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.piecewise_functions import (
    absolute,
    clip,
    power_relu,
    quantizer,
    relu,
    step,
)
from kexue.numerics.repeated_functions import floor, nearest, remainder, triangle_wave

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 4e-2, torch.float32: 2e-6, torch.float64: 1e-13}
X = torch.linspace(-3, 3, 61, dtype=torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pieces", [clip(-1.0, 0.5), floor()], ids=["clip", "floor"])
@pytest.mark.parametrize("form", ["convolution", "product"])
def test_any_floating_point_is_computed_in_float32_at_least(dtype, pieces, form):
    module = SmoothPieces(pieces, kernel="gaussian", width=0.3, form=form)
    x = X.to(dtype)
    found = module(x)
    assert found.dtype == dtype
    expected = module(x.double())
    np.testing.assert_allclose(found.double(), expected, atol=TOLERANCE[dtype])
    assert module(x[:0]).shape == (0,)
    assert module(x.reshape(1, 61, 1)).shape == (1, 61, 1)


def test_forms():
    convolved = SmoothPieces(relu(), kernel="logistic", width=0.4)
    multiplied = SmoothPieces(relu(), kernel="logistic", width=0.4, form="product")
    options = {"kernel": KERNELS["logistic"], "width": 0.4}
    assert torch.equal(convolved(X), convolve(relu(), X, **options))
    assert torch.equal(multiplied(X), multiply(relu(), X, **options))


def test_a_repeated_function_rises_in_either_form():
    for form in ("convolution", "product"):
        module = SmoothPieces(floor(), kernel="logistic", width=0.05, form=form)
        torch.testing.assert_close(module(X + 7), module(X) + 7)
        away = (X - X.round()).abs() > 0.3
        np.testing.assert_allclose(module(X)[away], X[away].floor(), atol=0.01)


@pytest.mark.parametrize(
    ("pieces", "kernel", "largest"),
    [
        (relu(), "gaussian", 0.5 / math.sqrt(2 * math.pi)),
        (absolute(), "laplace", 0.5),
        (step(below=-1.0), "cauchy", 1.0),
        (clip(-1.0, 1.0), "box", 0.125),
        (floor(), "box", 0.5),
        (PiecewisePolynomial((), ((1.0, 2.0),)), "logistic", 0.0),
    ],
)
def test_largest_error(pieces, kernel, largest):
    module = SmoothPieces(pieces, kernel=kernel, width=0.5)
    assert module.largest_error() == pytest.approx(largest)
    x = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    assert (module(x) - pieces(x)).abs().max() <= largest + 1e-12


@pytest.mark.parametrize("kernel", ["gaussian", "logistic", "laplace", "epanechnikov"])
@pytest.mark.parametrize(
    "pieces",
    [clip(-0.3, 0.4), quantizer([-1.0, 0.0, 0.5, 3.0]), floor(unit=0.7), triangle_wave()],
    ids=["clip", "levels", "floor", "wave"],
)
def test_bounds_hold_and_fall_with_the_width(pieces, kernel):
    x, largest = torch.linspace(-4, 4, 2001, dtype=torch.float64), []
    for width in (0.5, 0.1, 0.02):
        module = SmoothPieces(pieces, kernel=kernel, width=width)
        error, bound = (module(x) - pieces(x)).abs(), module.error_bound(x)
        assert (error <= bound + 1e-12).all()
        assert bound.max() <= module.largest_error() + 1e-12
        largest.append(module.largest_error())
    assert largest == sorted(largest, reverse=True)


@pytest.mark.parametrize(
    "pieces", [clip(-0.3, 0.4), absolute(), triangle_wave()], ids=["clip", "absolute", "wave"]
)
@pytest.mark.parametrize("kernel", ["gaussian", "logistic", "laplace", "box"])
def test_within_the_mean_size_of_the_kernel_where_slopes_are_at_most_1(pieces, kernel):
    module = SmoothPieces(pieces, kernel=kernel, width=0.3)
    x = torch.linspace(-4, 4, 2001, dtype=torch.float64)
    mean_size = 0.3 * 2 * KERNELS[kernel].tails(torch.zeros(()).double(), 1)[1]
    assert (module(x) - pieces(x)).abs().max() <= mean_size + 1e-12


def test_a_bound_of_the_product_is_there_for_every_kernel():
    module = SmoothPieces(relu(), kernel="cauchy", width=1.0, form="product")
    x = torch.linspace(-50, 50, 101, dtype=torch.float64)
    error, bound = (module(x) - relu()(x)).abs(), module.error_bound(x)
    torch.testing.assert_close(error, bound)
    assert bound.max().item() == pytest.approx(1 / math.pi, abs=1e-3)


def test_a_bound_has_no_gradient():
    module = SmoothPieces(relu(), kernel="gaussian", width=1.0, trainable=True)
    assert not module.error_bound(X.clone().requires_grad_()).requires_grad


@pytest.mark.parametrize(
    "module",
    [
        SmoothPieces(power_relu(2), kernel="gaussian", width=1.0),
        SmoothPieces(relu(), kernel="gaussian", width=1.0, form="product"),
    ],
    ids=["square", "product"],
)
def test_no_largest_error_of_what_may_grow(module):
    with pytest.raises(ValueError, match="allowed: a convolution of constant and linear pieces"):
        module.largest_error()


@pytest.mark.parametrize("kernel", ["gaussian", "algebraic"])
@pytest.mark.parametrize("pieces", [clip(-1.0, 1.0), nearest()], ids=["clip", "nearest"])
def test_the_width_is_learnt(pieces, kernel):
    # From the values of a smooth function alone, its width
    target = SmoothPieces(pieces, kernel=kernel, width=0.25)(X)
    module = SmoothPieces(pieces, kernel=kernel, width=0.12, trainable=True)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (module(X) - target).square().mean().backward()
        optimizer.step()
    assert module.width(X).item() == pytest.approx(0.25, abs=0.01)


def test_what_a_kernel_cannot_average_is_refused_at_once():
    for pieces, kernel in (
        (relu(), "cauchy"),
        (power_relu(2), "algebraic"),
        (power_relu(2), "cauchy"),
    ):
        with pytest.raises(ValueError, match=f"kernel is '{kernel}'; allowed: one that can"):
            SmoothPieces(pieces, kernel=kernel, width=1.0)
        SmoothPieces(pieces, kernel=kernel, width=1.0, form="product")
    for arguments in ({"kernel": "cauchy"}, {"kernel": "algebraic", "form": "product"}):
        with pytest.raises(ValueError, match="kernel is"):
            SmoothPieces(floor(), width=1.0, **arguments)
    SmoothPieces(remainder(), kernel="cauchy", width=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "normal", "width": 1.0}, "kernel is 'normal'; allowed: 'gaussian'"),
        ({"kernel": "box", "width": 0.0}, "width is 0.0"),
        ({"kernel": "box", "width": 1.0, "form": "sum"}, "form is 'sum'; allowed: 'convolution'"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SmoothPieces(relu(), **options)


def test_is_a_module_like_any_other():
    module = SmoothPieces(clip(0.0, 1.0), kernel="gaussian", width=0.2, trainable=True)
    assert len(list(module.parameters())) == 1
    other = copy.deepcopy(module)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(X), module(X))
    assert "gaussian" in repr(torch.nn.Sequential(module))
    before = X.clone()
    module(X)
    assert torch.equal(X, before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_function(dtype):
    module = SmoothFunction(torch.sin, kernel="gaussian", width=0.5)
    x = X.to(dtype)
    found = module(x)
    assert found.dtype == dtype
    assert found.shape == x.shape
    expected = math.exp(-0.125) * x.double().sin()
    np.testing.assert_allclose(found.double(), expected, atol=TOLERANCE[dtype] * 2)


def test_any_function_with_a_learnt_width():
    module = SmoothFunction(torch.sin, kernel="gaussian", width=0.5, trainable=True)
    module(X).sum().backward()
    assert len(list(module.parameters())) == 1
    module(X[35:]).sum().backward()
    assert module.width.logarithm.grad.abs() > 0
    assert set(module.state_dict()) == {"width.logarithm"}
    with pytest.raises(ValueError, match="kernel is 'normal'"):
        SmoothFunction(torch.sin, kernel="normal", width=1.0)
