import pytest
import torch

from kexue.numerics.recurrence import Recurrence, before, largest_residual
from kexue.numerics.recurrence_blocks import piece_length, solve_blockwise, sweep


def decay(rate):
    return Recurrence(lambda x, u: rate * x.sin() + u)


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("times", [1, 2, 3, 5, 100, 1023, 1024, 6250])
def test_pieces_are_about_as_many_as_they_are_long(times):
    length = piece_length(times)
    assert length & (length - 1) == 0
    assert times**0.5 / 1.5 < length < times**0.5 * 1.5


@pytest.mark.parametrize("times", [1, 7, 8, 9, 16])
def test_a_sweep_runs_each_piece_alone(times):
    cell, u = decay(0.9), numbers(times, 2, 3)
    starts = numbers(-(-times // 8), 2, 3, seed=1)
    found = sweep(cell, starts, u, 8)
    pieces = [cell.run(start, part) for start, part in zip(starts, u.split(8), strict=True)]
    assert torch.equal(found, torch.cat(pieces))


@pytest.mark.parametrize("times", [1, 2, 17, 64, 100, 255, 257])
def test_the_solution_is_that_of_the_loop(times):
    cell, start, u = decay(0.8), numbers(2, 3), numbers(times, 2, 3, seed=1)
    found = solve_blockwise(cell, start, u, tolerance=1e-12, most=50)
    expected = cell.run(start, u)
    assert found.converged
    assert found.method == "blockwise"
    assert (found.states - expected).abs().max() < 1e-11


def test_the_residual_is_that_of_all_states():
    cell, start, u = decay(0.99), numbers(3), numbers(300, 3, seed=1)
    found = solve_blockwise(cell, start, u, tolerance=1e-12, most=3, patient=True)
    stepped = cell.step(before(found.states, start), u)
    assert not found.converged
    assert found.residual == pytest.approx(largest_residual(found.states, stepped), rel=1e-6)
    assert found.residual > 1e-8


def test_after_n_sweeps_the_first_n_pieces_are_exact():
    cell, start, u = decay(3.0), numbers(3), numbers(256, 3, seed=1)  # chaos
    expected = cell.run(start, u)
    length = piece_length(256)
    for n in (1, 2, 5, 15):
        found = solve_blockwise(cell, start, u, tolerance=-1.0, most=n, patient=True)
        assert torch.equal(found.states[: n * length], expected[: n * length])
        assert not torch.allclose(found.states[n * length :], expected[n * length :], atol=0.1)
    found = solve_blockwise(cell, start, u, tolerance=0.0, most=99, patient=True)
    assert found.iterations == 256 // length
    assert torch.equal(found.states, expected)


def test_each_sweep_gains_the_rate_to_the_length():
    rate, times = 0.9, 1024
    cell = Recurrence(lambda x, u: rate * x + u)
    start, u = numbers(1), numbers(times, 1, seed=1)
    two, three = (
        solve_blockwise(cell, start, u, tolerance=0.0, most=n, patient=True).residual
        for n in (2, 3)
    )
    assert three / two == pytest.approx(rate ** piece_length(times), rel=0.5)


def test_what_will_not_get_there_is_given_up():
    cell, start, u = decay(3.0), numbers(3), numbers(256, 3, seed=1)
    given_up = solve_blockwise(cell, start, u, tolerance=1e-12, most=50)
    assert given_up.iterations == 2
    assert not given_up.converged
    slow = solve_blockwise(decay(0.999), start, u, tolerance=1e-12, most=50)
    assert slow.converged or slow.iterations < 17


def test_states_that_overflow_are_not_taken_for_a_solution():
    cell = Recurrence(lambda x, u: x * x + u)
    start, u = torch.full((1,), 2.0), torch.ones(64, 1)
    found = solve_blockwise(cell, start, u, tolerance=1e-6, most=50)
    assert not found.converged
    assert found.iterations < 50


def test_a_kernel_of_its_own_runs_the_pieces():
    seen = []

    def unroll(start, inputs):
        seen.append((tuple(start.shape), tuple(inputs.shape)))
        return plain.run(start, inputs)

    plain = decay(0.5)
    cell = Recurrence(plain.step, unroll=unroll)
    start, u = numbers(4, 3), numbers(60, 4, 3, seed=1)
    found = solve_blockwise(cell, start, u, tolerance=1e-12, most=9)
    assert set(seen) == {((8, 4, 3), (8, 8, 4, 3))}
    assert len(seen) == found.iterations
