import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kexue.numerics.dirac import smooth
from kexue.numerics.dirac_kernels import KERNELS
from kexue.numerics.dirac_modules import SmoothFunction, SmoothPieces
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.piecewise_functions import clip, hat, relu, soft_threshold, step
from kexue.numerics.repeated_functions import floor, nearest

X = torch.linspace(-4, 4, 81, dtype=torch.float64)


def test_activations_of_torch_come_out():
    def made(pieces, kernel, **options):
        return smooth(pieces, kernel=kernel, width=1.0, **options)(X)

    torch.testing.assert_close(made(relu(), "logistic"), F.softplus(X))
    torch.testing.assert_close(made(relu(), "gaussian", form="product"), F.gelu(X))
    torch.testing.assert_close(made(relu(), "logistic", form="product"), F.silu(X))
    torch.testing.assert_close(made(step(below=-1.0), "tanh"), X.tanh())
    torch.testing.assert_close(made(step(), "logistic"), X.sigmoid())


@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - {"cauchy"}))
@pytest.mark.parametrize("pieces", [relu(), clip(-1.0, 1.0), soft_threshold(0.5), hat()])
def test_pieces_and_quadrature_agree(pieces, kernel):
    closed = smooth(pieces, kernel=kernel, width=0.7)
    numeric = smooth(pieces.__call__, kernel=kernel, width=0.7, points=100)
    assert isinstance(closed, SmoothPieces)
    assert isinstance(numeric, SmoothFunction)
    # Nodes among kinks: a few thousandths
    np.testing.assert_allclose(numeric(X), closed(X), atol=0.03 if kernel == "algebraic" else 6e-3)


@pytest.mark.parametrize("kernel", ["gaussian", "logistic", "laplace", "box", "epanechnikov"])
def test_two_smoothings_by_normal_densities_are_one(kernel):
    # Averages of averages commute; two normal densities make one of width sqrt(a^2 + b^2).
    first = smooth(clip(-1.0, 1.0), kernel="gaussian", width=0.6)
    twice = smooth(first, kernel=kernel, width=0.8, points=80)(X)
    other = smooth(clip(-1.0, 1.0), kernel=kernel, width=0.8)
    swapped = smooth(other, kernel="gaussian", width=0.6, points=80)(X)
    np.testing.assert_allclose(twice, swapped, atol=2e-3)
    if kernel == "gaussian":
        once = smooth(clip(-1.0, 1.0), kernel="gaussian", width=1.0)(X)
        np.testing.assert_allclose(twice, once, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_smoothing_is_linear(kernel):
    one, two = clip(-1.0, 1.0), step(at=-1.0, below=2.0, above=3.0)
    both = PiecewisePolynomial((-1.0, 1.0), ((0.0,), (4.0, 2.0), (6.0,)))
    options = {"kernel": kernel, "width": 0.5}
    # 2 clip + 2 step - 2
    expected = 2 * smooth(one, **options)(X) + 2 * smooth(two, **options)(X) - 2
    np.testing.assert_allclose(smooth(both, **options)(X), expected, atol=1e-12)


def test_a_smooth_rounding_can_be_trained_through():
    # Whole numbers that add up to 7.2 as nearly as may be: rounding itself has no gradient.
    torch.manual_seed(0)
    x = torch.tensor([0.4, 1.3, 2.2], requires_grad=True)
    nearest()(x).sum().backward()
    assert x.grad is None or (x.grad == 0).all()
    module = smooth(nearest(), kernel="gaussian", width=0.3)
    optimizer = torch.optim.Adam([x], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (module(x).sum() - 7).square().backward()
        optimizer.step()
    assert module(x).sum().item() == pytest.approx(7, abs=0.01)


def test_a_network_learns_with_an_activation_made_so():
    torch.manual_seed(0)
    x = torch.rand(256, 2) * 2 - 1
    y = (x[:, :1] * x[:, 1:] > 0).float()
    activation = smooth(clip(-1.0, 1.0), kernel="epanechnikov", width=0.5, trainable=True)
    net = nn.Sequential(nn.Linear(2, 16), activation, nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(x), y).backward()
        optimizer.step()
    assert ((net(x) > 0) == (y > 0)).float().mean() > 0.95
    assert activation.width(x).item() != pytest.approx(0.5)


@pytest.mark.parametrize(
    ("pieces", "options", "message"),
    [
        (relu(), {"kernel": "normal"}, r"kernel is 'normal'; allowed: 'gaussian'"),
        (torch.sin, {"kernel": "normal"}, r"kernel is 'normal'; allowed: 'gaussian'"),
        (relu(), {"kernel": "box", "form": "sum"}, r"form is 'sum'"),
        (torch.sin, {"kernel": "box", "form": "product"}, r"pieces is .*; allowed: a piecewise"),
        (torch.sin, {"kernel": "box", "points": 0}, r"points is 0"),
        (relu(), {"kernel": "box", "width": -1.0}, r"width is -1\.0; allowed: a positive number"),
        (torch.sin, {"kernel": "box", "width": math.inf}, r"width is inf"),
        (relu(), {"kernel": "cauchy"}, r"kernel is 'cauchy'; allowed: one that can average"),
    ],
)
def test_what_cannot_be_made_is_refused(pieces, options, message):
    with pytest.raises(ValueError, match=message):
        smooth(pieces, **({"width": 1.0} | options))


def test_it_can_be_mapped_over_points():
    module = smooth(floor(), kernel="gaussian", width=0.2)
    slopes = torch.func.vmap(torch.func.grad(module))(X)
    x = X.clone().requires_grad_()
    module(x).sum().backward()
    torch.testing.assert_close(slopes, x.grad)
