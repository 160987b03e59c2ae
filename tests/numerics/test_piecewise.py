import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.numerics.piecewise import (
    PiecewisePolynomial,
    by_piece,
    check_pieces,
    degree_of,
    polynomial,
    shifted,
)

NUMBERS = st.floats(-3, 3, allow_nan=False, width=32)
POLYNOMIALS = st.lists(NUMBERS, min_size=1, max_size=4).map(tuple)
BREAKS = st.lists(NUMBERS, max_size=4, unique=True).map(sorted).map(tuple)


@st.composite
def functions(draw):
    breaks = draw(BREAKS)
    return PiecewisePolynomial(breaks, tuple(draw(POLYNOMIALS) for _ in range(len(breaks) + 1)))


def by_definition(pieces, x):
    """One point at a time, a loop over the pieces."""
    number = sum(x >= where for where in pieces.breaks)
    return sum(c * x**power for power, c in enumerate(pieces.pieces[number]))


@settings(deadline=None)
@given(functions(), st.lists(NUMBERS, min_size=1, max_size=5))
def test_equals_the_definition(pieces, points):
    points = [*points, *pieces.breaks]
    found = pieces(torch.tensor(points, dtype=torch.float64))
    np.testing.assert_allclose(found, [by_definition(pieces, x) for x in points], atol=1e-12)


@settings(deadline=None)
@given(functions(), NUMBERS)
def test_jumps_put_the_function_together_again(pieces, x):
    value = sum(c * x**power for power, c in enumerate(pieces.pieces[0]))
    for where, jump in zip(pieces.breaks, pieces.jumps, strict=True):
        if x >= where:
            value += sum(c * (x - where) ** power for power, c in enumerate(jump))
    assert value == pytest.approx(by_definition(pieces, x), abs=1e-9)


@settings(deadline=None)
@given(POLYNOMIALS, NUMBERS, NUMBERS)
def test_a_polynomial_about_another_point_is_the_same(coefficients, by, y):
    there = sum(c * y**power for power, c in enumerate(shifted(coefficients, by)))
    here = sum(c * (y + by) ** power for power, c in enumerate(coefficients))
    assert there == pytest.approx(here, abs=1e-9)


def test_polynomials_of_numpy():
    coefficients, x = (1.0, -2.0, 0.0, 3.0), np.linspace(-2, 2, 9)
    found = polynomial(coefficients, torch.from_numpy(x))
    np.testing.assert_allclose(found, np.polynomial.polynomial.polyval(x, coefficients))


def test_nothing_is_the_polynomial_0():
    assert polynomial((), torch.ones(3)).tolist() == [0, 0, 0]


def test_infinite_points_of_constant_and_linear_pieces():
    ramp = PiecewisePolynomial((0.0,), ((2.0,), (1.0, 3.0)))
    assert ramp(torch.tensor([-torch.inf, torch.inf])).tolist() == [2, torch.inf]


def test_a_coefficient_may_have_a_gradient():
    c = torch.tensor(2.0, requires_grad=True)
    by_piece((0.0,), ((0.0,), (0.0, c)), torch.tensor([-1.0, 3.0])).sum().backward()
    assert c.grad == 3


def test_the_gradient_is_that_of_the_piece():
    pieces = PiecewisePolynomial((0.0, 1.0), ((0.0,), (0.0, 0.0, 1.0), (1.0, 2.0)))
    x = torch.tensor([-1.0, 0.25, 0.5, 1.0, 4.0], requires_grad=True)
    pieces(x).sum().backward()
    assert x.grad.tolist() == [0, 0.5, 1, 2, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(dtype):
    pieces = PiecewisePolynomial((0.0,), ((0.0,), (0.0, 1.0)))
    found = pieces(torch.zeros(2, 0, 3, dtype=dtype))
    assert (found.dtype, found.shape) == (dtype, (2, 0, 3))


def test_degrees():
    pieces = PiecewisePolynomial((0.0, 1.0), ((5.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.0, 2.0, 0.0)))
    assert (pieces.degree, pieces.growth) == (3, 1)
    assert [degree_of(c) for c in ((), (0.0,), (4.0,), (0.0, 1.0, 0.0))] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("breaks", "pieces", "message"),
    [
        ((1.0, 1.0), ((0.0,),) * 3, "breaks is .*; allowed: finite numbers in rising order"),
        ((2.0, 1.0), ((0.0,),) * 3, "breaks is"),
        ((np.nan,), ((0.0,),) * 2, "breaks is"),
        ((np.inf,), ((0.0,),) * 2, "breaks is"),
        ((1.0,), ((0.0,),), "pieces is .*; allowed: 2 polynomials for 1 breaks"),
        ((1.0,), ((0.0,), (np.inf,)), "pieces is .*; allowed: tuples of finite coefficients"),
    ],
)
def test_what_is_no_function_is_refused(breaks, pieces, message):
    with pytest.raises(ValueError, match=message):
        PiecewisePolynomial(breaks, pieces)
    with pytest.raises(ValueError, match=message):
        check_pieces(breaks, pieces, len(breaks) + 1)


def test_a_function_without_breaks():
    assert PiecewisePolynomial((), ((1.0, 2.0),))(torch.tensor([3.0])).tolist() == [7]
    assert PiecewisePolynomial((), ((1.0, 2.0),)).jumps == ()
