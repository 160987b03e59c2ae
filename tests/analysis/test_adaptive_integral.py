import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from kexue.analysis.adaptive_integral import AdaptiveIntegral


def integrate(slope, score, *, allowed=1e-3, most=383):
    """Run an integral to its end; give it and all places that were asked for."""
    integral = AdaptiveIntegral(score(0.0), score(1.0), allowed, 0.0, most)
    asked = []
    while not integral.finished:
        places = integral.wanted
        asked += places.tolist()
        along = np.array([slope(place) for place in places])
        scores = np.array([score(place) for place in places])
        integral.take(torch.from_numpy(along), along, scores)
    return integral, asked


def test_a_smooth_score_takes_one_round():
    integral, asked = integrate(lambda a: 3 * a * a, lambda a: a**3)
    assert integral.steps == len(asked) == 5
    assert integral.total().item() == pytest.approx(1)
    assert integral.converged


@pytest.mark.parametrize("allowed", [1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-5])
def test_a_jump_near_the_beginning_is_found(width, allowed):
    """The score of a norm that meets a vector of zeros."""

    def score(a):
        return a / math.sqrt(a * a + width**2)

    def slope(a):
        return width**2 / (a * a + width**2) ** 1.5

    integral, asked = integrate(slope, score, allowed=allowed)
    assert integral.converged
    assert integral.total().item() == pytest.approx(score(1.0), abs=allowed)
    assert abs(integral.gap) <= allowed
    assert len(set(asked)) == len(asked) == integral.steps < 250


@pytest.mark.parametrize("place", [0.137, 0.5, 0.81])
def test_a_jump_on_the_way_is_found(place):
    def score(a):
        return math.tanh((a - place) * 500)

    integral, _ = integrate(lambda a: 500 * (1 - math.tanh((a - place) * 500) ** 2), score)
    assert integral.converged
    assert integral.total().item() == pytest.approx(2, abs=2e-3)
    assert integral.steps < 150


def test_a_kink_is_found():
    integral, _ = integrate(lambda a: float(a > 0.3), lambda a: max(a - 0.3, 0.0), allowed=1e-5)
    assert integral.converged
    assert integral.total().item() == pytest.approx(0.7, abs=1e-5)


def test_an_integral_that_is_right_by_chance_goes_on():
    integral, _ = integrate(
        lambda a: 1 + 40 * math.sin(40 * math.pi * a),
        lambda a: a + (1 - math.cos(40 * math.pi * a)) / math.pi,
    )
    assert integral.converged
    assert integral.steps > 23


def test_equal_scores_are_measured_by_the_way_between_them():
    """A score that rises to 1 and comes back to almost where it was."""

    def score(a):
        return min(a / 0.3, (1 - a) / 0.7) + 1e-9 * a

    def slope(a):
        return 1 / 0.3 if a < 0.3 else -1 / 0.7

    integral, _ = integrate(slope, score, allowed=1e-2, most=120)
    assert integral.converged
    assert 1e-11 < abs(integral.gap) <= 1e-3


def test_rounding_is_allowed_in_any_case():
    noise = np.random.default_rng(0)
    integral = AdaptiveIntegral(1.0, 1.0 + 1e-9, 1e-3, 1e-6, 383)
    places = integral.wanted
    integral.take(torch.zeros(5, 1), np.full(5, 1e-9), 1 + 1e-7 * noise.normal(size=len(places)))
    assert integral.converged


def test_it_gives_up_in_time():
    rough = np.random.default_rng(0)
    integral, asked = integrate(lambda _: rough.normal(), lambda a: a, most=60)
    assert not integral.converged
    assert integral.finished
    assert len(asked) == integral.steps <= 60
    assert integral.gap == pytest.approx(integral.total().item() - 1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_ends_it(value):
    integral, asked = integrate(lambda _: value, lambda a: a)
    assert not integral.converged
    assert len(asked) == 5


def test_panels_cover_the_path_without_overlap():
    integral, _ = integrate(
        lambda a: 500 * (1 - math.tanh((a - 0.4) * 500) ** 2), lambda a: math.tanh((a - 0.4) * 500)
    )
    ends = sorted((panel.start, panel.end) for panel in integral._panels)
    assert ends[0][0] == 0
    assert ends[-1][1] == 1
    assert len(ends) > 1
    assert all(one[1] == two[0] for one, two in pairwise(ends))
