import numpy as np
import pytest

from kexue.analysis.quadrature import fejer_rule, gauss_legendre_rule


def exact_to(rule):
    """The highest degree up to which all powers are integrated exactly."""
    errors = [abs(rule.weights @ rule.nodes**k - 1 / (k + 1)) for k in range(60)]
    return next(k for k, error in enumerate(errors) if error > 1e-13) - 1


@pytest.mark.parametrize("nodes", [1, 2, 5, 8])
def test_gauss_legendre_is_exact_to_twice_its_nodes(nodes):
    rule = gauss_legendre_rule(nodes)
    assert len(rule.nodes) == len(rule.weights) == nodes
    assert exact_to(rule) == 2 * nodes - 1


@pytest.mark.parametrize("intervals", [2, 3, 6, 7, 12])
def test_fejer_is_exact_as_an_interpolation_is(intervals):
    rule = fejer_rule(intervals)
    assert len(rule.nodes) == intervals - 1
    # An odd number of nodes, placed evenly about the middle, gains a degree.
    assert exact_to(rule) == intervals - 2 + (intervals - 1) % 2


@pytest.mark.parametrize("intervals", [2, 6, 48])
def test_a_refined_rule_keeps_all_nodes_at_odd_places(intervals):
    coarse, fine = fejer_rule(intervals), fejer_rule(2 * intervals)
    np.testing.assert_allclose(fine.nodes[1::2], coarse.nodes, atol=1e-15)
    assert len(fine.nodes[::2]) == intervals


@pytest.mark.parametrize("rule", [fejer_rule(24), fejer_rule(384), gauss_legendre_rule(20)])
def test_rules_are_in_order_positive_and_inside(rule):
    assert (np.diff(rule.nodes) > 0).all()
    assert rule.nodes[0] > 0
    assert rule.nodes[-1] < 1
    assert (rule.weights > 0).all()
    assert rule.weights.sum() == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("rule", [fejer_rule(24), fejer_rule(384), gauss_legendre_rule(20)])
def test_partial_integrals_are_those_up_to_each_node(rule):
    found = rule.partial @ np.exp(2 * rule.nodes)
    np.testing.assert_allclose(found, np.expm1(2 * rule.nodes) / 2, atol=1e-12)


def test_a_rule_needs_a_node():
    with pytest.raises(ValueError, match="nodes is 0; allowed: 1 or more"):
        gauss_legendre_rule(0)
    with pytest.raises(ValueError, match="intervals is 1; allowed: 2 or more"):
        fejer_rule(1)
