import itertools

import numpy as np
import pytest

from kexue.numerics.simsiam_dynamics import SimSiamState, invariant, limit, simulate, velocity

START = SimSiamState(0.6, 0.1)
STOPS = ("target", "nothing", "online")
RATES = (0.1, 1.0, 10.0)


@pytest.mark.parametrize("stop", STOPS)
def test_the_velocity_is_the_gradient_of_the_loss(stop):
    """Each factor of l = (phi theta - theta')^2 / 2 by finite differences, stopped or not."""
    phi, theta, step = 0.7, 0.4, 1e-6

    def loss(phi, online, target):
        return (phi * online - target) ** 2 / 2

    def slope(place):
        x = np.array([phi, theta, theta])
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        return (loss(*up) - loss(*down)) / (2 * step)

    parts = {"target": [1], "nothing": [1, 2], "online": [2]}[stop]
    expected = -3.0 * slope(0), -sum(slope(part) for part in parts)
    assert velocity(SimSiamState(phi, theta), stop=stop, rate=3.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("stop", "end"),
    [("target", (1.0, 0.806226)), ("nothing", (0.612702, 0.0)), ("online", (0.605, 0.0))],
)
def test_the_limits_of_the_article_s_start(stop, end):
    assert limit(START, stop=stop) == pytest.approx(end, abs=5e-7)
    assert simulate(START, [0, 300], stop=stop)[-1] == pytest.approx(end, abs=5e-7)


@pytest.mark.parametrize(
    ("rate", "theta"), [(0.01, 8.0006), (0.1, 2.5318), (1, 0.8062), (10, 0.2720)]
)
def test_a_faster_predictor_leaves_the_encoder_where_it_began(rate, theta):
    assert limit(START, rate=rate).theta == pytest.approx(theta, abs=5e-5)
    formula = np.sqrt(START.theta**2 + (1 - START.phi**2) / rate)
    assert limit(START, rate=rate).theta == pytest.approx(formula, abs=1e-14)
    assert limit(START, rate=1e9).theta == pytest.approx(START.theta, abs=1e-6)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("stop", STOPS)
def test_what_is_conserved_is_conserved(stop, rate):
    path = simulate(START, np.linspace(0, 50, 40), stop=stop, rate=rate)
    kept = [invariant(SimSiamState(*state), stop=stop, rate=rate) for state in path]
    assert np.ptp(kept) < 1e-9
    assert kept[0] == invariant(START, stop=stop, rate=rate)
    other = [invariant(SimSiamState(*state), stop=s) for s in STOPS if s != stop for state in path]
    assert np.ptp(other) > 1e-4


@pytest.mark.parametrize("stop", STOPS)
def test_any_start_ends_in_its_limit(stop):
    """Also beyond phi = 1, below phi = 0 and with a negative encoder."""
    for phi, theta in itertools.product((-1.2, -0.5, 0.0, 1.0, 1.3, 2.0), (-0.9, 0.1)):
        for rate in (0.3, 4.0):
            start = SimSiamState(phi, theta)
            end = simulate(start, [0, 150], stop=stop, rate=rate)[-1]
            expected = limit(start, stop=stop, rate=rate)
            assert end == pytest.approx(expected, abs=1e-4), (start, rate)


def test_when_simsiam_collapses():
    """Where phi < 0 and phi^2 >= theta^2, or phi > 1 and phi^2 - theta^2 >= 1; else never."""
    for phi, theta in itertools.product(np.linspace(-2, 2, 41), (0.1, 0.33, 0.77, 1.5)):
        collapses = limit(SimSiamState(phi, theta)).theta == 0
        assert collapses == ((phi < 0 or phi > 1) and phi**2 - theta**2 >= (0 if phi < 0 else 1))
    assert limit(SimSiamState(-0.5, 0.1)) == pytest.approx((-0.4899, 0.0), abs=5e-5)


@pytest.mark.parametrize("stop", ["nothing", "online"])
def test_without_the_stopped_target_small_encoders_always_collapse(stop):
    for phi, theta in itertools.product(np.linspace(-1, 0.9, 20), (0.05, 0.09)):
        assert limit(SimSiamState(phi, theta), stop=stop).theta == 0


def test_a_dead_encoder_stays_dead():
    for stop in STOPS:
        assert limit(SimSiamState(0.6, 0.0), stop=stop) == (0.6, 0.0)
        assert velocity(SimSiamState(0.6, 0.0), stop=stop) == (0.0, 0.0)


def test_gradient_descent_with_small_steps_ends_near_the_limit():
    phi, theta = START
    for _ in range(20000):
        change = velocity(SimSiamState(phi, theta))
        phi, theta = phi + 0.01 * change.phi, theta + 0.01 * change.theta
    assert phi == pytest.approx(1, abs=1e-6)
    assert theta == pytest.approx(0.80640, abs=5e-6)


def test_the_path_begins_at_the_start_and_has_one_row_for_each_time():
    path = simulate(START, [0, 1, 2.5])
    assert path.shape == (3, 2)
    assert path[0].tolist() == list(START)


@pytest.mark.parametrize(
    "function", [velocity, invariant, limit, lambda s, **o: simulate(s, [0, 1], **o)]
)
def test_errors_say_what_to_type(function):
    with pytest.raises(
        ValueError, match="stop is 'both'; allowed: 'target', 'nothing' or 'online'"
    ):
        function(START, stop="both")
    with pytest.raises(ValueError, match="rate is -1; allowed: a positive number"):
        function(START, rate=-1)
