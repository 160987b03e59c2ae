import math

import numpy as np
import pytest
import torch
from scipy.special import k1

from kexue.numerics.dirac_closed_form import convolution_bound, convolve, multiply
from kexue.numerics.dirac_kernels import KERNELS
from kexue.numerics.dirac_repeated import convolve_repeated, near_by
from kexue.numerics.repeated_functions import (
    RepeatedPolynomial,
    ceil,
    floor,
    nearest,
    remainder,
    triangle_wave,
)

THIN = [name for name, kernel in KERNELS.items() if kernel.reach < math.inf]
# Characteristic functions, from any table of them
SPECTRA = {
    "gaussian": lambda u: np.exp(-u * u / 2),
    "logistic": lambda u: np.pi * u / np.sinh(np.pi * u),
    "tanh": lambda u: np.pi * u / 2 / np.sinh(np.pi * u / 2),
    "algebraic": lambda u: u * k1(u),
    "cauchy": lambda u: np.exp(-u),
}
X = torch.linspace(-3.3, 4.7, 161, dtype=torch.float64)


def several():
    """Two breaks, a parabola and a line, that rise by 5 in a period of 3."""
    return RepeatedPolynomial(3.0, (0.5, 1.5), ((0.0, 0.0, 1.0), (4.0, -1.0)), rise=5.0)


def fourier_floor(x, kernel, width):
    """Compute x - 1/2 + sum over k of sin(2 pi k x) / (pi k) cf(2 pi k width)."""
    k = np.arange(1, math.ceil(45 / (2 * math.pi * width)) + 1)
    u = 2 * np.pi * k
    waves = np.sin(np.multiply.outer(x.numpy(), u)) / (np.pi * k)
    return x.numpy() - 0.5 + waves @ SPECTRA[kernel](u * width)


@pytest.mark.parametrize("kernel", ["gaussian", "logistic", "tanh", "algebraic"])
@pytest.mark.parametrize("width", [0.1, 0.3, 1.1])
def test_floor_equals_its_fourier_series(kernel, width):
    found = convolve_repeated(floor(), X, kernel=KERNELS[kernel], width=width)
    np.testing.assert_allclose(found, fourier_floor(X, kernel, width), atol=1e-13)


@pytest.mark.parametrize("kernel", SPECTRA)
def test_the_sawtooth_is_what_is_left(kernel):
    found = convolve_repeated(remainder(), X, kernel=KERNELS[kernel], width=0.2)
    expected = X.numpy() - fourier_floor(X, kernel, 0.2)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def sum_of_many(pieces, x, kernel, width):
    """As the article has it: finitely many breaks around 0, ends that are far enough away."""
    reach = math.ceil(60 * width / pieces.period) + 4
    return convolve(pieces.unrolled(reach), x, kernel=KERNELS[kernel], width=width)


@pytest.mark.parametrize("make", [floor, ceil, nearest, remainder, triangle_wave, several])
@pytest.mark.parametrize("kernel", THIN)
@pytest.mark.parametrize("width", [0.05, 0.4, 1.3])
def test_equals_the_sum_over_all_breaks(make, kernel, width):
    pieces = make()
    found = convolve_repeated(pieces, X, kernel=KERNELS[kernel], width=width)
    np.testing.assert_allclose(found, sum_of_many(pieces, X, kernel, width), atol=1e-10)


def bent():
    """Lines of two slopes and a jump: what there is an average of by the algebraic kernel."""
    return RepeatedPolynomial(2.0, (-1.0, 0.5), ((0.0, 1.0), (2.0, -0.5)), rise=1.0)


@pytest.mark.parametrize("make", [floor, nearest, remainder, triangle_wave, bent])
def test_fat_tails_equal_a_very_long_sum(make):
    pieces, x, kernel = make(), X[60:90], KERNELS["algebraic"]
    found = convolve_repeated(pieces, x, kernel=kernel, width=0.3)
    # The sum converges like one over the number of periods, from which two give the limit.
    sums = [convolve(pieces.unrolled(n), x, kernel=kernel, width=0.3) for n in (300, 600)]
    half, whole = sums
    np.testing.assert_allclose(found, 2 * whole - half, atol=2e-5)


def test_the_series_of_several_pieces_is_that_of_thin_tails_too():
    # The Fourier series does not depend on the kernel but for its spectrum.
    gaussian = KERNELS["gaussian"]._replace(reach=math.inf, spectrum=lambda u: (-0.5 * u * u).exp())
    for make in (floor, ceil, nearest, remainder, triangle_wave, several):
        found = convolve_repeated(make(), X, kernel=gaussian, width=0.2)
        expected = convolve_repeated(make(), X, kernel=KERNELS["gaussian"], width=0.2)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_figures_of_the_article():
    # t = 10: 1 / 2 at whole numbers, at most 0.119 from 0.2 away, at most 0.0155 from 0.4 away
    options = {"kernel": KERNELS["logistic"], "width": 0.1}
    assert convolve_repeated(floor(), torch.zeros(1), **options).item() == pytest.approx(-0.5)
    for away, most in ((0.2, 0.1193), (0.4, 0.0156)):
        x = torch.linspace(away, 1 - away, 101, dtype=torch.float64)
        error = (convolve_repeated(floor(), x, **options) - floor()(x)).abs().max().item()
        assert most - 0.001 < error < most


@pytest.mark.parametrize("kernel", [*THIN, "algebraic"])
@pytest.mark.parametrize("make", [floor, several])
def test_it_repeats_itself_however_far_away(kernel, make):
    pieces = make()
    options = {"kernel": KERNELS[kernel], "width": 0.3}
    near = convolve_repeated(pieces, X, **options)
    far = convolve_repeated(pieces, X + 1000 * pieces.period, **options)
    np.testing.assert_allclose(far, near + 1000 * pieces.rise, atol=1e-9)


@pytest.mark.parametrize("kernel", THIN)
def test_the_bound_holds(kernel):
    options = {"kernel": KERNELS[kernel], "width": 0.2}
    for pieces in (floor(), several(), triangle_wave()):
        error = (convolve_repeated(pieces, X, **options) - pieces(X)).abs()
        bound = near_by(convolution_bound, pieces, X, **options)
        assert (error <= bound + 1e-12).all()


def test_the_product_form_of_a_sawtooth():
    found = near_by(multiply, remainder(), X, kernel=KERNELS["logistic"], width=0.01)
    away = (X - X.round()).abs() > 0.3
    np.testing.assert_allclose(found[away], remainder()(X)[away], atol=1e-9)
    # At a jump the product is in the middle too
    at = near_by(multiply, remainder(), torch.zeros(1).double(), kernel=KERNELS["box"], width=0.1)
    assert at.item() == pytest.approx(0.5)


@pytest.mark.parametrize("kernel", ["gaussian", "logistic", "laplace", "algebraic"])
def test_gradients(kernel):
    x = torch.tensor([-1.3, 0.0, 0.26, 2.5], dtype=torch.float64, requires_grad=True)
    width = torch.tensor(0.37, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: convolve_repeated(floor(), x, kernel=KERNELS[kernel], width=w), (x, width)
    )


def test_what_rises_has_no_average_by_cauchy():
    with pytest.raises(ValueError, match="kernel is 'one without a mean'"):
        convolve_repeated(floor(), X, kernel=KERNELS["cauchy"], width=0.1)


def test_a_series_that_would_be_too_long_is_refused():
    with pytest.raises(ValueError, match=r"width is 1e-05; allowed: 0\.0016 or more"):
        convolve_repeated(remainder(), X, kernel=KERNELS["cauchy"], width=1e-5)
    convolve_repeated(remainder(), X[:2], kernel=KERNELS["cauchy"], width=0.0017)


@pytest.mark.parametrize("kernel", ["algebraic", "cauchy"])
def test_bounds_and_products_need_thin_tails(kernel):
    for finite in (multiply, convolution_bound):
        with pytest.raises(ValueError, match="allowed: a kernel with thin tails"):
            near_by(finite, floor(), X, kernel=KERNELS[kernel], width=0.1)
