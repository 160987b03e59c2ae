import numpy as np
import pytest
import torch

from kexue.numerics.repeated_functions import (
    RepeatedPolynomial,
    ceil,
    floor,
    nearest,
    remainder,
    triangle_wave,
)

# No whole number, no half: there the sides differ, see below
X = torch.linspace(-7.03, 7.06, 997, dtype=torch.float64)


@pytest.mark.parametrize("unit", [1.0, 0.3, 4.0])
@pytest.mark.parametrize(
    ("make", "known"),
    [
        (floor, lambda x: x.floor()),
        (ceil, lambda x: x.ceil()),
        (nearest, lambda x: x.round()),
        (remainder, lambda x: x - x.floor()),
        (triangle_wave, lambda x: (x - x.round()).abs()),
    ],
)
def test_equals_what_torch_has(make, known, unit):
    np.testing.assert_allclose(make(unit=unit)(X), unit * known(X / unit), atol=1e-12)


def test_at_a_break_the_right_side_holds():
    at = torch.tensor([-1.0, 0.0, 3.0])
    assert floor()(at).tolist() == [-1, 0, 3]
    assert ceil()(at).tolist() == [0, 1, 4]
    assert nearest()(at + 0.5).tolist() == [0, 1, 4]
    assert remainder()(at).tolist() == [0, 0, 0]


def several():
    """Two breaks, away from 0, that rise by 5 in a period of 3."""
    return RepeatedPolynomial(3.0, (0.5, 1.5), ((0.0, 0.0, 1.0), (4.0, -1.0)), rise=5.0)


def by_definition(x):
    turns = 0
    while x >= 3.5:
        x, turns = x - 3, turns + 1
    while x < 0.5:
        x, turns = x + 3, turns - 1
    return 5 * turns + (x**2 if x < 1.5 else 4 - x)


def test_equals_the_definition():
    expected = [by_definition(x) for x in X.tolist()]
    np.testing.assert_allclose(several()(X), expected, atol=1e-12)


@pytest.mark.parametrize("reach", [0, 1, 4])
def test_unrolled_it_is_the_same_around_the_first_period(reach):
    unrolled = several().unrolled(reach)
    assert len(unrolled.breaks) == 2 * (2 * reach + 1) + 1
    low, high = 0.5 - 3 * reach, 3.5 + 3 * reach
    # The outermost pieces, a part of a period, as well
    inside = X[(low - 1 < X) & (high + 1 > X)]
    np.testing.assert_allclose(unrolled(inside), several()(inside), atol=1e-11)


def test_turns_are_whole_numbers():
    assert several().turns(torch.tensor([0.4, 0.5, 3.4, 3.6, -5.4])).tolist() == [-1, 0, 0, 1, -2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, (0.0,), ((0.0,),)), "period is 0.0; allowed: a positive number"),
        ((np.inf, (0.0,), ((0.0,),)), "period is inf"),
        ((1.0, (), ()), r"breaks is \(\); allowed: one or more within a period"),
        ((1.0, (0.0, 1.0), ((0.0,),) * 2), "allowed: one or more within a period of 1.0"),
        ((1.0, (0.5, 0.1), ((0.0,),) * 2), "rising order"),
        ((1.0, (0.0,), ((0.0,),) * 2), "allowed: 1 polynomials for 1 breaks"),
    ],
)
def test_what_does_not_repeat_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RepeatedPolynomial(*arguments)
