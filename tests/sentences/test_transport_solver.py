import sys

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

from kexue.sentences import transport_solver
from kexue.sentences.transport_solver import solve_transport


def problem(n, m, *, seed=0):
    random = np.random.default_rng(seed)
    return random.random((n, m)), random.dirichlet(np.ones(n)), random.dirichlet(np.ones(m))


@pytest.fixture
def no_pot(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)


@pytest.fixture(params=["POT", "linprog"])
def _each_solver(request):
    if request.param == "POT":
        pytest.importorskip("ot", reason="POT is not installed")
    else:
        request.getfixturevalue("no_pot")


def check_optimal(cost, p, q, solution, *, tolerance=1e-9):
    """What makes a plan feasible, and what proves that no other one is cheaper."""
    plan, u, v = solution.plan, solution.x_potentials, solution.y_potentials
    assert plan.shape == cost.shape
    assert (plan >= 0).all()
    np.testing.assert_allclose(plan.sum(1), p, atol=tolerance)
    np.testing.assert_allclose(plan.sum(0), q, atol=tolerance)
    assert (plan * cost).sum() == pytest.approx(solution.cost, abs=tolerance)
    assert (u[:, None] + v <= cost + tolerance).all()
    assert p @ u + q @ v == pytest.approx(solution.cost, abs=tolerance)


@pytest.mark.usefixtures("_each_solver")
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (2, 2), (7, 5), (30, 40)])
def test_the_plan_is_feasible_and_the_potentials_prove_it_optimal(shape):
    cost, p, q = problem(*shape)
    check_optimal(cost, p, q, solve_transport(cost, p, q))


@pytest.mark.usefixtures("_each_solver")
def test_points_without_weight_get_nothing_and_feasible_potentials():
    cost, p, q = problem(6, 5)
    p[[0, 3]], q[4] = 0, 0
    p, q = p / p.sum(), q / q.sum()
    solution = solve_transport(cost, p, q)
    check_optimal(cost, p, q, solution)
    assert not solution.plan[[0, 3]].any()
    assert not solution.plan[:, 4].any()
    # The greatest that the costs allow: more mass on such a point would travel that far
    more = np.where(np.arange(6) == 0, p + 1e-3, p * (1 - 1e-3))
    slope = (solve_transport(cost, more, q).cost - solution.cost) / 1e-3
    potentials = solution.x_potentials
    assert slope == pytest.approx(potentials[0] - p @ potentials, abs=1e-6)


@pytest.mark.usefixtures("_each_solver")
def test_equal_weights_are_an_assignment():
    cost, _, _ = problem(20, 20)
    even = np.full(20, 1 / 20)
    rows, columns = linear_sum_assignment(cost)
    expected = cost[rows, columns].mean()
    assert solve_transport(cost, even, even).cost == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("_each_solver")
def test_on_a_line_it_is_the_wasserstein_distance():
    random = np.random.default_rng(3)
    x, y = random.normal(size=12), random.normal(size=9)
    p, q = random.dirichlet(np.ones(12)), random.dirichlet(np.ones(9))
    expected = wasserstein_distance(x, y, p, q)
    assert solve_transport(abs(x[:, None] - y), p, q).cost == pytest.approx(expected, abs=1e-10)


@pytest.mark.usefixtures("_each_solver")
def test_costs_of_zero_cost_nothing():
    _, p, q = problem(4, 3)
    check_optimal(np.zeros((4, 3)), p, q, solve_transport(np.zeros((4, 3)), p, q))


@pytest.mark.usefixtures("_each_solver")
def test_weights_far_below_the_usual_tolerance_are_carried():
    cost = np.array([[0.0, 1.0], [1e6, 0.0]])
    p, q = np.array([1 - 1e-8, 1e-8]), np.array([1.0, 0.0])
    assert solve_transport(cost, p, q).cost == pytest.approx(1e-2, rel=1e-6)


def test_both_solvers_agree(monkeypatch):
    pytest.importorskip("ot", reason="POT is not installed")
    for seed in range(20):
        cost, p, q = problem(3 + seed, 20 - seed, seed=seed)
        with_pot = solve_transport(cost, p, q).cost
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "ot", None)
            without = solve_transport(cost, p, q).cost
        assert with_pot == pytest.approx(without, abs=1e-13)


def test_the_private_function_gives_what_the_public_one_does(monkeypatch):
    ot = pytest.importorskip("ot", reason="POT is not installed")

    def fail(*args, **kwargs):
        raise AssertionError("the slow way was taken")

    problems = [problem(3 + seed, 20 - seed, seed=seed) for seed in range(10)]
    expected = [ot.emd2(p, q, cost) for cost, p, q in problems]
    monkeypatch.setattr(ot, "emd", fail)
    # It scales q by a sum that is 1 but for the last digit
    found = [solve_transport(*given).cost for given in problems]
    assert found == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("change", ["gone", "other arguments"])
def test_without_the_private_function_the_public_one_serves(monkeypatch, change):
    ot = pytest.importorskip("ot", reason="POT is not installed")
    import ot.lp.emd_wrap as private

    if change == "gone":
        monkeypatch.delattr(private, "emd_c")
    else:
        monkeypatch.setattr(private, "emd_c", lambda p, q: None)
    calls = []
    emd = ot.emd
    monkeypatch.setattr(ot, "emd", lambda *a, **k: calls.append(1) or emd(*a, **k))
    cost, p, q = problem(5, 6)
    check_optimal(cost, p, q, solve_transport(cost, p, q))
    assert calls == [1]


def test_a_simplex_that_gives_up_is_replaced(monkeypatch):
    pytest.importorskip("ot", reason="POT is not installed")
    cost, p, q = problem(12, 9)
    expected = solve_transport(cost, p, q).cost
    # POT stops after one pivot with a plan that is not optimal, and says so in its code only
    monkeypatch.setattr(transport_solver, "_MOST_PIVOTS", 1)
    assert solve_transport(cost, p, q).cost == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("no_pot")
def test_no_optimum_is_an_error():
    with pytest.raises(RuntimeError, match="linprog found no transport plan"):
        solve_transport(np.ones((2, 2)), np.array([0.5, 0.5]), np.array([2.0, 3.0]))


def test_inputs_stay_as_they_are():
    cost, p, q = problem(4, 4)
    p[1] = 0
    p /= p.sum()
    copies = cost.copy(), p.copy(), q.copy()
    solve_transport(cost, p, q)
    for given, copy in zip((cost, p, q), copies, strict=True):
        np.testing.assert_array_equal(given, copy)
