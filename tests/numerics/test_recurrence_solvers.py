import pytest
import torch

from kexue.numerics.recurrence import Recurrence, before, largest_residual
from kexue.numerics.recurrence_solvers import corrections, iterate

METHODS = ["newton", "damped", "quasi", "improved", "simple", "jacobi"]


def network(radius, *, features=8, times=256, scale=1.0, seed=0):
    """Make tanh(A x + u), A of a spectral radius: A, the step, a start and inputs."""
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": torch.float64, "generator": generator}
    a = torch.randn(features, features, **options)
    a *= radius / torch.linalg.eigvals(a).abs().max()
    u = scale * torch.randn(times, features, **options)
    cell = Recurrence(lambda x, u: torch.tanh(x @ a.mT + u))
    return a, cell, torch.zeros(features, dtype=torch.float64), u


def solve(method, cell, start, u, *, most, tolerance=1e-11):
    correct = corrections(cell, method, start, u)
    guess = u.new_zeros(len(u), *start.shape)
    return iterate(correct, cell, guess, start=start, inputs=u, tolerance=tolerance, most=most)


@pytest.mark.parametrize("method", METHODS)
def test_after_n_iterations_the_first_n_states_are_exact(method):
    """Whatever J is: what makes every method end. Here the network is unstable."""
    _, cell, start, u = network(1.5, features=3, times=24)
    expected = cell.run(start, u)
    for n in (1, 2, 7, 23):
        found = solve(method, cell, start, u, most=n, tolerance=-1.0)
        assert found.iterations == n
        assert (found.states[:n] - expected[:n]).abs().max() < 1e-12
    assert solve(method, cell, start, u, most=30).converged


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("radius", [0.5, 0.9])
def test_the_solution_is_that_of_the_loop(method, radius):
    _, cell, start, u = network(radius)
    found = solve(method, cell, start, u, most=300)
    assert found.converged
    assert found.residual <= 1e-11
    assert (found.states - cell.run(start, u)).abs().max() < 1e-10
    stepped = cell.step(before(found.states, start), u)
    assert largest_residual(found.states, stepped) == found.residual


@pytest.mark.parametrize(
    ("method", "correction"),
    [
        ("newton", lambda a, y, u: (1 - y**2).unsqueeze(-1) * a),
        ("quasi", lambda a, y, u: ((1 - y**2) * a.diagonal()).diag_embed()),
        ("improved", lambda a, y, u: (1 - u.tanh() ** 2).unsqueeze(-1) * a),
        ("simple", lambda a, y, u: a.expand(len(u), *a.shape)),
        ("jacobi", lambda a, y, u: torch.zeros(len(u), *a.shape).double()),
    ],
)
def test_an_iteration_is_the_article_s(method, correction):
    """x^n_t = J_t x^n_(t-1) + f(x^(n-1)_(t-1), u_t) - J_t x^(n-1)_(t-1), with each J, by a loop."""
    a, cell, start, u = network(0.9, features=4, times=30)
    old = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    previous = before(old, start)
    stepped = cell.step(previous, u)
    jacobians = correction(a, stepped, u)
    state, expected = start, []
    for t in range(30):
        state = jacobians[t] @ state + stepped[t] - jacobians[t] @ previous[t]
        expected.append(state)
    correct = corrections(cell, method, start, u)
    found = old + correct(previous, stepped, stepped - old)
    assert torch.allclose(found, torch.stack(expected), rtol=0, atol=1e-12)


def test_the_first_simple_iterate_is_the_linear_network_driven_by_tanh_of_the_input():
    a, cell, start, u = network(0.5, features=4, times=30)
    found = solve("simple", cell, start, u, most=1, tolerance=-1.0)
    state = start
    for t in range(30):
        state = a @ state + u[t].tanh()
        assert torch.allclose(found.states[t], state, rtol=0, atol=1e-12)


def test_newton_squares_the_error():
    _, cell, start, u = network(0.9)
    expected = cell.run(start, u)
    errors = [
        (solve("newton", cell, start, u, most=n, tolerance=0.0).states - expected).abs().max()
        for n in range(1, 5)
    ]
    assert errors[2] < 1e-2
    assert errors[3] < 10 * errors[2] ** 2


def test_how_many_iterations_methods_need_in_which_regime():
    """Newton's fewest; the simple one good for small states, and only there."""
    counts = {m: solve(m, *network(0.5)[1:], most=300).iterations for m in METHODS}
    assert counts["newton"] <= 6
    assert counts["newton"] < counts["improved"] < counts["quasi"] <= counts["jacobi"]
    small = {m: solve(m, *network(0.5, scale=0.1)[1:], most=300).iterations for m in METHODS}
    assert small["simple"] <= 7 < counts["simple"]
    assert small["simple"] < small["jacobi"]
    unstable = solve("simple", *network(1.5)[1:], most=100)
    assert not unstable.converged
    assert solve("newton", *network(1.5)[1:], most=100).converged


def test_damping_is_newton_near_the_solution_and_less_a_little_outside_stability():
    near = {m: solve(m, *network(0.9)[1:], most=300).iterations for m in ("newton", "damped")}
    assert near["damped"] <= near["newton"] + 1
    counts = dict.fromkeys(("newton", "damped"), 0)
    for seed in range(100, 106):
        for method in counts:
            problem = network(1.5, features=6, times=200, scale=0.5, seed=seed)[1:]
            counts[method] += solve(method, *problem, most=250, tolerance=1e-10).iterations
    assert counts["damped"] < counts["newton"]


def test_iterates_that_agree_prove_nothing():
    """The simple method outside its regime: huge states, and no claim that they are right."""
    _, cell, start, u = network(3.0)
    found = solve("simple", cell, start, u, most=60)
    assert not found.converged
    assert found.residual > 0.5
    assert (found.states - cell.run(start, u)).abs().max() > 1e3


def test_states_thrown_out_of_the_numbers_come_back():
    """float32 overflows in the scan; the loop does not, and the iteration gets there."""
    _, cell, start, u = network(6.0, features=4, times=300)
    a32 = network(6.0, features=4, times=300)[0].float()
    cell = Recurrence(lambda x, u: torch.tanh(x @ a32.mT + u))
    guess = torch.full((300, 4), torch.nan)
    correct = corrections(cell, "newton", start.float(), u.float())
    options = {"start": start.float(), "inputs": u.float(), "tolerance": 4e-6}
    assert not iterate(correct, cell, guess, most=1, **options).converged
    found = iterate(correct, cell, guess, most=310, **options)
    assert found.converged
    stepped = cell.step(before(found.states, start.float()), u.float())
    assert torch.allclose(found.states, stepped, atol=1e-5)


def test_a_guess_that_is_right_takes_no_iteration():
    _, cell, start, u = network(0.9)
    states = cell.run(start, u)
    correct = corrections(cell, "newton", start, u)
    found = iterate(correct, cell, states, start=start, inputs=u, tolerance=1e-12, most=5)
    assert found.iterations == 0
    assert found.states is states


def test_batches_are_solved_beside_each_other():
    _, cell, _, _ = network(0.9, features=3)
    generator = torch.Generator().manual_seed(9)
    u = torch.randn(100, 2, 5, 3, dtype=torch.float64, generator=generator)
    start = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator)
    found = solve("newton", cell, start, u, most=20)
    alone = solve("newton", cell, start[1, 4], u[:, 1, 4], most=20)
    assert torch.allclose(found.states[:, 1, 4], alone.states, rtol=0, atol=1e-11)
