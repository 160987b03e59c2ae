import pytest
import torch

from kexue.numerics.recurrence_cost import (
    Size,
    affordable_iterations,
    scan_cost,
    scan_is_cheap,
    scan_pays,
    size_of,
)

PARALLEL = ["newton", "damped", "quasi", "improved", "simple", "jacobi", "blockwise"]


def size(times=16384, rows=1, width=4, *, launches_only=False):
    return Size(times, rows, width, launches_only)


def test_the_size_of_a_recurrence():
    assert size_of(torch.zeros(2, 3, 5), 7) == Size(7, 6, 5, False)
    assert size_of(torch.zeros(5), 7) == Size(7, 1, 5, False)
    assert size_of(torch.zeros(5, device="meta"), 7).launches_only


@pytest.mark.parametrize("method", PARALLEL)
def test_long_and_narrow_is_worth_it_and_short_is_not(method):
    assert affordable_iterations(method, size()) >= 10
    assert affordable_iterations(method, size(times=4)) == 0
    longer = affordable_iterations(method, size(times=100_000))
    assert longer > affordable_iterations(method, size())


@pytest.mark.parametrize("method", PARALLEL)
def test_a_faster_loop_leaves_less_to_gain(method):
    native = affordable_iterations(method, size(), native=True)
    assert native < affordable_iterations(method, size()) or method == "blockwise"


@pytest.mark.parametrize("method", ["newton", "damped", "improved", "simple"])
def test_matrices_make_wide_recurrences_dear(method):
    counts = [affordable_iterations(method, size(width=d)) for d in (1, 4, 16, 64, 256)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_sweeps_stay_worth_it_where_newton_does_not():
    wide = size(times=4096, rows=8, width=32)
    assert affordable_iterations("newton", wide) == 0
    assert affordable_iterations("blockwise", wide, native=True) >= 3


@pytest.mark.parametrize("method", PARALLEL)
def test_full_batches_leave_the_loop_nothing_to_lose(method):
    assert affordable_iterations(method, size(times=1024, rows=4096, width=64), native=True) == 0


def test_one_or_two_iterations_are_not_worth_beginning():
    found = {affordable_iterations("newton", size(times=t)) for t in range(50, 1500, 10)}
    assert 0 in found
    assert 3 in found
    assert not found & {1, 2}


def test_a_gpu_is_counted_in_launches():
    """Arithmetic is free there, so that width does not matter to a scan."""
    assert scan_cost(size(width=64, launches_only=True)) == scan_cost(size(launches_only=True))
    wide = size(times=100_000, width=64, launches_only=True)
    assert affordable_iterations("newton", wide) > 3
    assert affordable_iterations("newton", wide._replace(launches_only=False)) == 0


def test_when_a_scan_is_the_way_back():
    assert scan_is_cheap(size())
    assert scan_pays(size())
    assert not scan_is_cheap(size(times=1024, width=64))
    assert not scan_pays(size(times=512, rows=64, width=64))
    assert not scan_pays(size(times=8))
    assert scan_cost(size(width=64), diagonal=True) < scan_cost(size(width=64))
