import pytest
import torch

from kexue.numerics import recurrence_problem
from kexue.numerics.recurrence import Recurrence
from kexue.numerics.recurrence_problem import METHODS, Problem


def problem(rate=0.8, *, times=5000, rows=1, most=None, fallback=True, width=2):
    cell = Recurrence(lambda x, u: rate * x.sin() + u)
    generator = torch.Generator().manual_seed(0)
    options = {"dtype": torch.float64, "generator": generator}
    start = torch.randn(rows, width, **options)
    inputs = torch.randn(times, rows, width, **options)
    return Problem(cell, start, inputs, 1e-12, most, fallback)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "sequential"])
def test_each_method_finds_the_states_of_the_loop(method):
    p = problem(0.15)
    found = p.solve(method, None)
    assert found.converged
    assert found.method == ("blockwise" if method == "auto" else method)
    assert (found.states - p.recurrence.run(p.start, p.inputs)).abs().max() < 1e-10


@pytest.mark.parametrize("method", METHODS)
def test_what_is_short_is_left_to_the_loop(method):
    assert problem(times=10).solve(method, None) is None


@pytest.mark.parametrize("method", [m for m in METHODS if m != "sequential"])
def test_without_the_loop_to_fall_back_on_anything_is_tried(method):
    assert problem(times=10, fallback=False).solve(method, None).converged


def test_the_limit_is_kept():
    chaos = problem(3.0, most=3)
    for method in ("newton", "jacobi"):
        found = chaos.solve(method, None)
        assert found.iterations == 3
        assert not found.converged
    assert problem(3.0, most=2, fallback=False).solve("blockwise", None).iterations == 2
    assert problem(3.0, most=3, fallback=False).solve("auto", None).iterations == 6


def test_no_more_is_tried_than_the_loop_is_worth(monkeypatch):
    asked = []

    def count(method, size, *, native):
        asked.append((method, size.times, native))
        return 8

    monkeypatch.setattr(recurrence_problem, "affordable_iterations", count)
    found = problem(3.0).solve("newton", None)
    assert found.iterations == 8
    assert asked == [("newton", 5000, False)]
    found = problem(3.0).solve("auto", None)
    assert found.method == "newton"
    assert found.iterations == 2 + 4  # sweeps until they are seen not to gain, then half of 8


def test_auto_goes_on_with_newton_from_where_the_sweeps_have_come():
    """Rate 0.9995 forgets too slowly for pieces of 64 steps; Newton's method minds nothing."""
    slow = Recurrence(lambda x, u: 0.9995 * x + u)
    given = problem()
    p = Problem(slow, given.start, given.inputs, 1e-11, None, True)
    blockwise = p.solve("blockwise", None)
    assert not blockwise.converged
    found = p.solve("auto", None)
    assert found.converged
    assert found.method == "newton"
    # The residual falls, but not fast enough for the sweeps that are left: hence few of them.
    assert 2 + 1 <= found.iterations <= 4 + 1
    assert (found.states - slow.run(p.start, p.inputs)).abs().max() < 1e-7


@pytest.mark.parametrize("way", ["sweeps only", "newton only", "neither"])
def test_auto_takes_what_is_affordable(way, monkeypatch):
    worth = {"sweeps only": "blockwise", "newton only": "newton", "neither": "none"}[way]
    monkeypatch.setattr(
        recurrence_problem,
        "affordable_iterations",
        lambda method, size, *, native: 20 if method == worth else 0,
    )
    found = problem().solve("auto", None)
    assert (found is None) == (way == "neither")
    assert found is None or found.method == worth


def test_a_guess_saves_iterations():
    p = problem()
    exact = p.recurrence.run(p.start, p.inputs)
    assert p.solve("newton", exact).iterations == 0
    assert p.solve("newton", None).iterations >= 1
    zeros = torch.zeros_like(exact)
    assert p.solve("jacobi", None).iterations < p.solve("jacobi", zeros).iterations


def test_a_guess_that_overflows_is_no_obstacle():
    """Pieces that begin at x_0 run away where the recurrence itself does not."""
    cell = Recurrence(lambda x, u: torch.where(u > 0, 0.0, 1.0) * (x * x + 3))
    inputs = -torch.ones(900, 1)
    inputs[::5] = 1.0
    p = Problem(cell, torch.full((1,), 2.0), inputs, 1e-5, None, False)
    found = p.solve("newton", None)
    assert found.converged
    assert torch.allclose(found.states, cell.run(p.start, inputs))


@pytest.mark.parametrize(("worth", "tried"), [(5, False), (6, True)])
def test_half_of_a_few_is_not_worth_beginning(worth, tried, monkeypatch):
    monkeypatch.setattr(
        recurrence_problem,
        "affordable_iterations",
        lambda method, size, *, native: worth if method == "newton" else 0,
    )
    assert (problem().solve("auto", None) is not None) == tried
