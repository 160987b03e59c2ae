"""Integrals from 0 to 1 as weighted sums, by rules that can be refined without starting again.

    int_0^1 g(a) da = sum_j w_j g(a_j)

Fejer's second rule has its nodes at a_k = (1 - cos(k pi / n)) / 2, k = 1, ..., n - 1. Twice the n
keeps all of them, which the rule of Gauss and Legendre does not, at nearly its accuracy; and like
that rule it never asks for the ends, where a path begins at nothing and a slope may not exist.

Post: https://kexue.fm/archives/7533
Paper: Waldvogel 2006, Fast construction of the Fejer and Clenshaw-Curtis quadrature rules
Axes: N nodes
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

from kexue._check import invalid


class Rule(NamedTuple):
    """A rule for integrals from 0 to 1.

    Attributes:
        nodes: [N] where the function is taken, in order, strictly between 0 and 1.
        weights: [N], which sum to 1.
        partial: [N, N]; row j times the values of the function is its integral from 0 to node j.

    Example:
        >>> rule = gauss_legendre_rule(2)
        >>> round(float(rule.weights @ rule.nodes**3), 12)
        0.25
    """

    nodes: np.ndarray
    weights: np.ndarray
    partial: np.ndarray


def gauss_legendre_rule(nodes: int) -> Rule:
    """Make the rule that is exact for polynomials of the highest degree, 2 N - 1.

    Args:
        nodes: N, 1 or more.

    Returns:
        The rule.

    Raises:
        ValueError: if there are no nodes.

    Example:
        >>> gauss_legendre_rule(1).nodes
        array([0.5])
    """
    if nodes < 1:
        raise invalid("nodes", nodes, "1 or more")
    places, weights = legendre.leggauss(nodes)
    return _rule(places, weights / 2)


def fejer_rule(intervals: int) -> Rule:
    """Make Fejer's second rule; twice the intervals keep all nodes, at the places 1, 3, 5, ...

    Args:
        intervals: n, 2 or more.

    Returns:
        A rule with n - 1 nodes.

    Raises:
        ValueError: if there are fewer than 2 intervals.

    Example:
        >>> fejer_rule(2).nodes, fejer_rule(4).nodes.round(3)
        (array([0.5]), array([0.146, 0.5  , 0.854]))
    """
    if intervals < 2:
        raise invalid("intervals", intervals, "2 or more", "One interval has no inner node.")
    angles = np.arange(1, intervals) * np.pi / intervals
    odd = np.arange(1, intervals, 2)
    sums = np.sin(angles[:, None] * odd) @ (1 / odd)
    return _rule(-np.cos(angles), 2 / intervals * np.sin(angles) * sums)


def _rule(places: np.ndarray, weights: np.ndarray) -> Rule:
    """Complete a rule whose nodes are given between -1 and 1."""
    degree = len(places) - 1
    basis = legendre.legvander(places, degree)
    # Column k: the integral of the k-th Legendre polynomial from -1 to each place.
    sums = legendre.legval(places, legendre.legint(np.eye(degree + 1), lbnd=-1, axis=0)).T
    partial = np.linalg.solve(basis.T, sums.T).T / 2
    return Rule((places + 1) / 2, weights, partial)
