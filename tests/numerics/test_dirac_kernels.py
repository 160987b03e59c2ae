import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from kexue.numerics.dirac_kernels import KERNELS, find_kernel

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
# Where the densities end, or are below 1e-17 times any power up to the fourth
ENDS = {"gaussian": 12, "logistic": 60, "tanh": 30, "laplace": 60, "box": 1, "epanechnikov": 1}
FAT = ("algebraic", "cauchy")


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def tail_by_integration(name, order, v):
    if name not in ENDS:
        # y = tan(angle), a finite stretch
        def turned(angle):
            y = math.tan(angle)
            return (y - v) ** order * DENSITIES[name](y) * (1 + y * y)

        return quad(turned, math.atan(v), math.pi / 2, epsabs=1e-12)[0]
    if v >= ENDS[name]:
        return 0.0
    middle = min(v + 4, ENDS[name])
    return sum(
        quad(lambda y: (y - v) ** order * DENSITIES[name](y), *ends, epsabs=1e-13)[0]
        for ends in ((v, middle), (middle, ENDS[name]))
    )


def test_all_are_compared():
    assert set(KERNELS) == set(DENSITIES)


@pytest.mark.parametrize(
    ("name", "order"),
    # Of higher orders the integrals of the fat ones diverge.
    [(n, k) for n in DENSITIES for k in range({"cauchy": 1, "algebraic": 2}.get(n, 5))],
)
def test_tails_equal_integrals(name, order):
    for v in (0.0, 0.3, 1.0, 2.5, 8.0):
        found = KERNELS[name].tails(numbers(v), order)[order].item()
        assert found == pytest.approx(tail_by_integration(name, order, v), abs=1e-9, rel=1e-7)


# The table of the article's kernels: E|Y| = 2 T_1(0)
@pytest.mark.parametrize(
    ("name", "mean_size"),
    [
        ("logistic", 2 * math.log(2)),
        ("tanh", math.log(2)),
        ("gaussian", math.sqrt(2 / math.pi)),
        ("laplace", 1.0),
        ("algebraic", 1.0),
        ("box", 0.5),
        ("epanechnikov", 3 / 8),
    ],
)
def test_mean_sizes(name, mean_size):
    assert 2 * KERNELS[name].tails(numbers(0.0), 1)[1].item() == pytest.approx(mean_size)


@pytest.mark.parametrize("name", KERNELS)
def test_half_of_the_mass_is_on_either_side(name):
    assert KERNELS[name].tails(numbers(0.0), 0)[0].item() == pytest.approx(0.5, abs=1e-15)


@pytest.mark.parametrize("name", KERNELS)
def test_each_tail_is_an_antiderivative_of_the_one_before(name):
    # For the fat ones as well, whose integrals diverge
    v = torch.linspace(0.05, 0.95, 19, dtype=torch.float64).requires_grad_()
    v = v if name in ("box", "epanechnikov") else (6 * v.detach()).requires_grad_()
    tails = KERNELS[name].tails(v, 6)
    assert len(tails) == 7
    for k in range(1, 7):
        (slope,) = torch.autograd.grad(tails[k].sum(), v, retain_graph=True)
        np.testing.assert_allclose(slope, -k * tails[k - 1].detach(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", KERNELS)
def test_the_slope_of_the_first_is_minus_the_density(name):
    v = torch.linspace(0.0, 0.95, 20, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(KERNELS[name].tails(v, 0)[0].sum(), v)
    np.testing.assert_allclose(-slope, [DENSITIES[name](y) for y in v.tolist()], atol=1e-12)


@pytest.mark.parametrize("name", FAT)
def test_where_moments_diverge_tails_have_the_parity_of_the_power(name):
    # T_k(0) = 0 for even k: what is left and right of a break then meets.
    kernel = KERNELS[name]
    for k in (2, 4, 6):
        assert kernel.tails(numbers(0.0), k)[k].item() == pytest.approx(0, abs=1e-12)
        assert kernel.moment(k) == 0


@pytest.mark.parametrize("name", sorted(set(KERNELS) - set(FAT)))
def test_moments_equal_integrals(name):
    for order in (0, 2, 4):
        expected = 2 * tail_by_integration(name, order, 0.0)
        assert KERNELS[name].moment(order) == pytest.approx(expected, rel=1e-9)


def test_moments_that_are_known():
    assert KERNELS["gaussian"].moment(6) == pytest.approx(15)
    assert KERNELS["logistic"].moment(2) == pytest.approx(math.pi**2 / 3)
    assert KERNELS["logistic"].moment(4) == pytest.approx(7 * math.pi**4 / 15)
    assert KERNELS["laplace"].moment(4) == pytest.approx(24)
    assert KERNELS["epanechnikov"].moment(2) == pytest.approx(0.2)


@pytest.mark.parametrize("name", sorted(set(KERNELS) - set(FAT)))
def test_beyond_the_reach_there_is_nothing(name):
    kernel = KERNELS[name]
    assert kernel.tails(numbers(kernel.reach), 0)[0].item() < 1e-16
    if name not in ENDS or ENDS[name] > 1:
        assert kernel.tails(numbers(kernel.reach / 2), 0)[0].item() > 1e-12


@pytest.mark.parametrize("name", FAT)
def test_spectra_equal_integrals(name):
    for u in (0.1, 0.7, 3.0):
        expected = 2 * quad(DENSITIES[name], 0, np.inf, weight="cos", wvar=u)[0]
        found = KERNELS[name].spectrum(numbers(u)).item()
        assert found == pytest.approx(expected, abs=1e-8)
    assert KERNELS[name].spectrum(numbers(40.0)).item() < 1e-15


@pytest.mark.parametrize("name", FAT)
def test_spectra_have_the_right_slope(name):
    u = numbers(0.2, 1.0, 5.0).requires_grad_()
    assert torch.autograd.gradcheck(KERNELS[name].spectrum, (u,))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tails_keep_the_dtype_and_are_finite_far_away(name, dtype):
    v = torch.tensor([0.0, 1e-30, 1.0, 39.0], dtype=dtype).requires_grad_()
    for tail in KERNELS[name].tails(v, 3):
        assert tail.dtype == dtype
        (slope,) = torch.autograd.grad(tail.sum(), v, retain_graph=True)
        assert tail.isfinite().all()
        assert slope.isfinite().all()


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel is 'normal'; allowed: 'gaussian', 'logistic'"):
        find_kernel("normal")
    assert find_kernel("box") is KERNELS["box"]
