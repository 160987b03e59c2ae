"""Why SimSiam does not collapse, as a system of two numbers that is solved exactly.

    l = e^2 / 2,   e = phi theta - stop(theta)

theta stands for the encoder, phi for the predictor, the second theta for the other view. Gradient
flow has a conserved quantity for each choice of what is stopped, hence a limit in closed form (r
is how many times faster the predictor learns):

    stopped    gradient flow              conserved                   limit
    target     phi' = -r e theta          phi^2 - r theta^2           phi = 1, theta^2 = theta0^2
               theta' = -e phi                                        + (1 - phi0^2) / r
    nothing    theta' = -e phi + e        (phi - 1)^2 - r theta^2     theta = 0 (collapse)
    online     theta' = e                 phi + r theta^2 / 2         theta = 0 (collapse)

These limits hold near phi0 in [0, 1) and small theta0; `limit` knows all of them. With the target
stopped the faster predictor leaves the encoder where it began, and yet the encoder does collapse
where it starts at phi0 < 0 or phi0 > 1 and the predictor cannot reach 1 before theta is 0.

Post: https://kexue.fm/archives/7980
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kexue._check import invalid


class SimSiamState(NamedTuple):
    """A predictor and an encoder of one weight each.

    Attributes:
        phi: the predictor.
        theta: the encoder; 0 is collapse.

    Example:
        >>> SimSiamState(0.6, 0.1).theta
        0.1
    """

    phi: float
    theta: float


# The encoder's velocity over e: what flows back through the prediction, and through the target.
_ENCODER = {
    "target": lambda phi: -phi,
    "nothing": lambda phi: 1 - phi,
    "online": lambda phi: 1.0,
}


def velocity(state: SimSiamState, *, stop: str = "target", rate: float = 1.0) -> SimSiamState:
    """Compute the gradient flow of the loss (phi theta - theta)^2 / 2.

    Args:
        state: predictor and encoder.
        stop: through what no gradient flows: "target" (SimSiam), "nothing", or "online", which
            leaves the encoder only what comes through the target.
        rate: how many times faster the predictor learns than the encoder; positive.

    Returns:
        The derivatives of both by time.

    Raises:
        ValueError: if `stop` is unknown or the rate is not positive.

    Example:
        >>> velocity(SimSiamState(0.5, 1.0))
        SimSiamState(phi=0.5, theta=0.25)
    """
    _check(stop, rate)
    phi, theta = state
    error = phi * theta - theta
    return SimSiamState(-rate * error * theta, error * _ENCODER[stop](phi))


def invariant(state: SimSiamState, *, stop: str = "target", rate: float = 1.0) -> float:
    """Compute what the flow conserves.

    Args:
        state: predictor and encoder.
        stop: as in `velocity`.
        rate: as in `velocity`.

    Returns:
        The same number all along a trajectory.

    Raises:
        ValueError: if `stop` is unknown or the rate is not positive.

    Example:
        >>> round(invariant(SimSiamState(0.6, 0.1)), 4)
        0.35
    """
    _check(stop, rate)
    phi, theta = state
    forms = {
        "target": phi**2 - rate * theta**2,
        "nothing": (phi - 1) ** 2 - rate * theta**2,
        "online": phi + rate * theta**2 / 2,
    }
    return forms[stop]


def limit(start: SimSiamState, *, stop: str = "target", rate: float = 1.0) -> SimSiamState:
    """Compute where the flow ends, in closed form.

    Args:
        start: predictor and encoder at the beginning.
        stop: as in `velocity`.
        rate: as in `velocity`.

    Returns:
        The limit; its theta is 0 where the encoder collapses.

    Raises:
        ValueError: if `stop` is unknown or the rate is not positive.

    Example:
        >>> limit(SimSiamState(0.6, 0.1)).theta
        0.80622577...
        >>> limit(SimSiamState(0.6, 0.1), stop="nothing")
        SimSiamState(phi=0.6127016..., theta=0.0)
        >>> limit(SimSiamState(-0.5, 0.1))
        SimSiamState(phi=-0.4898979..., theta=0.0)
    """
    kept = invariant(start, stop=stop, rate=rate)
    phi, theta = start
    if theta == 0:
        return start
    # What is conserved says how much of theta^2 is left where phi is 1; a trajectory that would
    # need less than nothing, or has to get past theta = 0 on the way, ends there.
    at_one = invariant(SimSiamState(1.0, 0.0), stop=stop, rate=rate) - kept
    left = at_one / rate * (-2 if stop == "online" else 1)
    trapped = stop == "target" and phi < 0 and kept >= 0
    if left > 0 and not trapped:
        return SimSiamState(1.0, math.copysign(math.sqrt(left), theta))
    ends = {
        "target": lambda: math.copysign(math.sqrt(kept), phi),
        "nothing": lambda: 1 + math.copysign(math.sqrt(kept), phi - 1),
        "online": lambda: kept,
    }
    return SimSiamState(ends[stop](), 0.0)


def simulate(
    start: SimSiamState, times: Sequence[float], *, stop: str = "target", rate: float = 1.0
) -> np.ndarray:
    """Integrate the flow.

    Args:
        start: predictor and encoder at time 0.
        times: when to look, rising from 0 or later.
        stop: as in `velocity`.
        rate: as in `velocity`.

    Returns:
        [T, 2] phi and theta at each time, to about 10 digits.

    Raises:
        ValueError: if `stop` is unknown or the rate is not positive.

    Example:
        >>> simulate(SimSiamState(0.6, 0.1), [0, 1000])[-1].round(6)
        array([1.      , 0.806226])
    """
    from scipy.integrate import solve_ivp

    _check(stop, rate)
    solution = solve_ivp(
        lambda _, state: velocity(SimSiamState(*state), stop=stop, rate=rate),
        (0.0, float(times[-1])),
        start,
        method="DOP853",
        t_eval=times,
        rtol=1e-11,
        atol=1e-13,
    )
    return solution.y.T


def _check(stop: str, rate: float) -> None:
    if stop not in _ENCODER:
        raise invalid("stop", stop, "'target', 'nothing' or 'online'")
    if not rate > 0:
        raise invalid("rate", rate, "a positive number")
