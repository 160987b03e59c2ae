import math

import numpy as np
import pytest
import torch

from kexue.numerics.mitchell import mitchell_divide, mitchell_multiply, mitchell_sqrt
from kexue.numerics.mitchell_statistics import (
    MitchellError,
    expected_mitchell_error,
    measured_mitchell_error,
)

OPERATIONS = {
    "multiply": (mitchell_multiply, np.multiply),
    "divide": (mitchell_divide, np.divide),
    "sqrt": (mitchell_sqrt, np.sqrt),
}


def sample(operation, mantissas, offset, count=400_000):
    """Errors of random numbers, which for roots have even and odd exponents."""
    rng = np.random.default_rng(0)
    x = rng.random((2, count))
    numbers = 1 + x if mantissas == "uniform" else 2**x
    if operation == "sqrt":
        operands = (numbers[0] * rng.choice([1.0, 2.0], count),)
    else:
        operands = tuple(numbers)
    approximate, exact = OPERATIONS[operation]
    return measured_mitchell_error(approximate(*operands, offset=offset), exact(*operands))


def test_closed_forms():
    ln2, ln3 = math.log(2), math.log(3)

    def dilogarithm(z):
        return sum(z**k / k**2 for k in range(1, 300))

    product = 4 * ln2**2 - 3 * ln2 * ln3 - 1 + 3 * dilogarithm(2 / 3) - 3 * dilogarithm(1 / 3)
    found = expected_mitchell_error("multiply")
    assert found.mean == pytest.approx(-product, rel=1e-9)
    assert found.mean_absolute == pytest.approx(product, rel=1e-9)
    assert product == pytest.approx(0.0384880, abs=5e-8)
    found = expected_mitchell_error("divide")
    assert found.mean == pytest.approx(ln2 / 2 - 11 / 36, rel=1e-9)
    roots = expected_mitchell_error("sqrt")
    # 1 + x / 2 over sqrt(1 + x), and (3 + x) / 2 over sqrt(2 + 2 x)
    even = 2 * (2**1.5 - 1) / 3 * 0.5 + 2 * (2**0.5 - 1) * 0.5
    odd = (2 * (2**1.5 - 1) / 3 * 0.5 + 2 * (2**0.5 - 1)) / 2**0.5
    assert roots.mean == pytest.approx((even + odd) / 2 - 1, rel=1e-9)


def test_extremes():
    assert expected_mitchell_error("multiply").lowest == pytest.approx(-1 / 9, abs=1e-12)
    assert expected_mitchell_error("multiply").highest == pytest.approx(0, abs=1e-12)
    assert expected_mitchell_error("divide").lowest == pytest.approx(0, abs=1e-12)
    assert expected_mitchell_error("divide").highest == pytest.approx(1 / 8, abs=1e-12)
    assert expected_mitchell_error("sqrt").lowest == pytest.approx(0, abs=1e-12)
    assert expected_mitchell_error("sqrt").highest == pytest.approx(3 / 8**0.5 - 1, abs=1e-12)


@pytest.mark.parametrize(
    ("offset", "mean", "mean_absolute", "rms", "largest"),
    [
        (0.0, -0.03849, 0.03849, 0.04842, 0.1111),
        (0.05662, 0.0, 0.0258, 0.0306, 0.0765),
        (0.046, -0.0073, 0.02525, 0.0312, 0.0832),
        (0.0555, -0.0008, 0.0257, 0.0305, 0.0773),
        (0.0552, -0.001, 0.0257, 0.0305, 0.0774),
        (0.069, 0.0086, 0.0277, 0.0320, 0.0689),
    ],
)
def test_offsets_of_the_literature(offset, mean, mean_absolute, rms, largest):
    found = expected_mitchell_error("multiply", offset=offset)
    assert found.mean == pytest.approx(mean, abs=1e-4)
    assert found.mean_absolute == pytest.approx(mean_absolute, abs=1e-4)
    assert found.rms == pytest.approx(rms, abs=1e-4)
    assert max(-found.lowest, found.highest) == pytest.approx(largest, abs=2e-4)


@pytest.mark.parametrize(("operation", "mean"), [("multiply", -0.0382033), ("divide", 0.0406845)])
def test_numbers_of_many_sizes(operation, mean):
    found = expected_mitchell_error(operation, mantissas="log-uniform")
    assert found.mean == pytest.approx(mean, abs=1e-7)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mantissas", ["uniform", "log-uniform"])
@pytest.mark.parametrize("offset", [0.0, 0.05, -0.05, 0.6, -0.6])
def test_expected_errors_are_those_of_samples(operation, mantissas, offset):
    expected = expected_mitchell_error(operation, mantissas=mantissas, offset=offset)
    measured = sample(operation, mantissas, offset)
    for name in ("mean", "mean_absolute", "rms"):
        assert getattr(measured, name) == pytest.approx(getattr(expected, name), abs=6e-4), name
    assert expected.lowest - 1e-9 <= measured.lowest == pytest.approx(expected.lowest, abs=5e-3)
    assert expected.highest + 1e-9 >= measured.highest == pytest.approx(expected.highest, abs=5e-3)


@pytest.mark.parametrize("operation", ["multiply", "divide"])
def test_means_are_those_of_a_fine_grid(operation):
    x = (np.arange(1500) + 0.5) / 1500 + 1
    approximate, exact = OPERATIONS[operation]
    for offset in (0.0, 0.05, -0.05):
        errors = approximate(x[:, None], x, offset=offset) / exact(x[:, None], x) - 1
        found = expected_mitchell_error(operation, offset=offset)
        assert found.mean == pytest.approx(errors.mean(), abs=2e-7)
        assert found.mean_absolute == pytest.approx(np.abs(errors).mean(), abs=2e-7)


def test_gaussian_numbers():
    a, b = torch.randn(2, 500_000, generator=torch.Generator().manual_seed(0))
    product = measured_mitchell_error(mitchell_multiply(a, b), a.double() * b.double())
    assert product.mean == pytest.approx(-0.038175, abs=2e-4)
    quotient = measured_mitchell_error(mitchell_divide(a, b), a.double() / b.double())
    assert quotient.mean == pytest.approx(0.040659, abs=2e-4)


def test_results_of_zero_and_infinity_are_left_out():
    error = measured_mitchell_error(
        torch.tensor([2.0, 5.0, 1.0, 7.0]), torch.tensor([4.0, 0.0, 1.0, math.inf])
    )
    assert error == MitchellError(-0.25, 0.25, 0.125**0.5, -0.5, 0.0)


def test_what_is_refused():
    with pytest.raises(ValueError, match="operation is 'add'; allowed: 'multiply', 'divide' or"):
        expected_mitchell_error("add")
    with pytest.raises(ValueError, match="mantissas is 'normal'; allowed: 'uniform' or"):
        expected_mitchell_error(mantissas="normal")
    with pytest.raises(ValueError, match="offset is 1"):
        expected_mitchell_error(offset=1)
    with pytest.raises(ValueError, match="the shapes is"):
        measured_mitchell_error(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="allowed: at least one finite number other than 0"):
        measured_mitchell_error(np.ones(2), np.zeros(2))
