import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kexue.numerics.dirac_kernels import KERNELS
from kexue.numerics.dirac_modules import SmoothPieces
from kexue.numerics.piecewise_functions import relu, step
from kexue.numerics.repeated_functions import floor, nearest
from kexue.numerics.smooth_activations import SAU, StraightThrough, smooth_maximum

X = torch.linspace(-6, 6, 121, dtype=torch.float64)
WITH_MEAN = sorted(set(KERNELS) - {"cauchy"})


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.15, 0.9])
@pytest.mark.parametrize("width", [0.1, 1.0, 3.0])
def test_sau_equals_its_formula(slope, width):
    found = SAU(slope=slope, width=width, trainable=False)(X)
    error_function = (X / math.sqrt(2) / width).erf()
    expected = (1 + slope) * X / 2 + (1 - slope) * X * error_function / 2
    bell = torch.exp(-X * X / (2 * width**2)) * width / math.sqrt(2 * math.pi)
    torch.testing.assert_close(found, expected + (1 - slope) * bell, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.15])
def test_sau_is_leaky_relu_far_away(slope):
    # A note in public prints x / 2 where (1 + a) x / 2 belongs: this is what it gets wrong.
    x = torch.tensor([-1e4, 1e4], dtype=torch.float64)
    found = SAU(slope=slope, width=2.0)(x).detach() / x
    np.testing.assert_allclose(found, [slope, 1.0], atol=1e-7)


def test_sau_is_the_smooth_leaky_relu():
    expected = SmoothPieces(relu(slope=0.2), kernel="gaussian", width=0.7)(X)
    torch.testing.assert_close(
        SAU(slope=0.2, width=0.7, trainable=False)(X), expected, rtol=1e-6, atol=1e-6
    )


def test_sau_learns_slope_and_width():
    target = SAU(slope=0.4, width=1.5, trainable=False)(X)
    module = SAU()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (module(X) - target).square().mean().backward()
        optimizer.step()
    assert module.slope.item() == pytest.approx(0.4, abs=0.01)
    assert module.width(X).item() == pytest.approx(1.5, abs=0.03)
    assert not any(p.requires_grad for p in SAU(trainable=False).parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_are_kept(dtype):
    x = X.to(dtype)
    rounded = StraightThrough(SmoothPieces(nearest(), kernel="gaussian", width=0.3))
    larger = smooth_maximum(x, x.flip(0), kernel="gaussian", width=0.5)
    for found in (SAU()(x), rounded(x), larger):
        assert found.dtype == dtype
        assert found.isfinite().all()


@pytest.mark.parametrize("kernel", WITH_MEAN)
def test_the_larger_of_two(kernel):
    y = 0.3 * X.flip(0) + 1
    found = smooth_maximum(X, y, kernel=kernel, width=0.4)
    torch.testing.assert_close(found, smooth_maximum(y, X, kernel=kernel, width=0.4))
    plain = y + SmoothPieces(relu(), kernel=kernel, width=0.4)(X - y)
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-10)
    error = found - torch.maximum(X, y)
    most = SmoothPieces(relu(), kernel=kernel, width=0.4).largest_error()
    assert error.min() >= 0
    assert error.max() <= most + 1e-12


def test_the_larger_of_two_by_the_logistic_kernel():
    y = X.flip(0) * 2
    found = smooth_maximum(X, y, kernel="logistic", width=1.0)
    torch.testing.assert_close(found, torch.logaddexp(X, y))


def test_the_larger_of_two_large_ones_in_single_precision():
    x = torch.tensor([1e7, 1e7], dtype=torch.float32)
    y = torch.tensor([1e7 - 1, -1e7], dtype=torch.float32)
    found = smooth_maximum(x, y, kernel="logistic", width=1e-3)
    assert found.tolist() == [1e7, 1e7]


def test_gradients_of_the_larger_of_two():
    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.4, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    smooth_maximum(x, y, kernel="gaussian", width=0.5).sum().backward()
    torch.testing.assert_close(x.grad + y.grad, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(x.grad[2].item(), 0.5)
    assert x.grad[1] < 0.01


@pytest.mark.parametrize(
    ("pieces", "exact"),
    [
        (nearest(), lambda x: (x + 0.5).floor()),
        (floor(), torch.floor),
        (relu(), F.relu),
        (step(), lambda x: (x >= 0).to(x)),
    ],
)
def test_straight_through_is_exact_with_a_smooth_gradient(pieces, exact):
    module = SmoothPieces(pieces, kernel="gaussian", width=0.3)
    x = (X + 0.013).clone().requires_grad_()
    found = StraightThrough(module)(x)
    torch.testing.assert_close(found.detach(), exact(x.detach()), rtol=0, atol=0)
    (slopes,) = torch.autograd.grad(found.sum(), x)
    (expected,) = torch.autograd.grad(module(x).sum(), x)
    assert torch.equal(slopes, expected)
    assert slopes.abs().max() > 0.5


def test_straight_through_trains_the_width_of_what_it_wraps():
    module = StraightThrough(SmoothPieces(step(), kernel="logistic", width=0.3, trainable=True))
    module(X[70:75]).sum().backward()
    assert module.module.width.logarithm.grad.abs() > 0
