import re
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue.sentences import scatter
from kexue.sentences.scatter import measure


def draw(rows, columns, *, offset=0.0, seed=0, dtype=np.float64):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(columns, columns))
    return (random.normal(size=(rows, columns)) @ mixing + offset).astype(dtype)


def exact(x):
    """Mean and scatter by their definition, in extended precision where there is one."""
    wide = np.asarray(x, dtype=np.longdouble)
    mean = wide.mean(0)
    apart = (wide - mean).astype(np.float64)
    return mean.astype(np.float64), apart.T @ apart


def error(x, **options):
    """The largest error of the scatter against its largest entry."""
    expected = exact(x)[1]
    found = measure(x, **{"double": False} | options).scatter
    return abs(found - expected).max() / abs(expected).max()


@pytest.mark.parametrize("rows", [1, 2, 127, 129, 700, 8192, 8193, 20_000])
@pytest.mark.parametrize("columns", [1, 5])
def test_equals_the_definition(rows, columns):
    x = draw(rows, columns, offset=3)
    found, (mean, expected) = measure(x, double=False), exact(x)
    assert found.count == rows
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-13)
    scale = abs(expected).max()
    np.testing.assert_allclose(found.scatter, expected, rtol=0, atol=1e-13 * scale + 1e-20)
    np.testing.assert_array_equal(found.scatter, found.scatter.T)


def test_wide_rows_are_taken_in_several_blocks():
    x = draw(1000, 900)
    expected = np.cov(x.T, ddof=0) * 1000
    np.testing.assert_allclose(measure(x, double=False).scatter, expected, atol=1e-8)


@pytest.mark.parametrize("offset", [0, 3, 1000, 1e5])
def test_single_precision_is_as_exact_as_the_spread_whatever_the_mean(offset):
    x = draw(20_000, 6, offset=offset, dtype=np.float32)
    # At 100000 there are eight bits of spread left, whose squares do not round evenly.
    assert error(x) < (5e-6 if offset == 1e5 else 3e-7)
    assert error(x, double=True) < 1e-12
    mean = exact(x)[0]
    spread = x.std(0)
    assert (abs(measure(x, double=False).mean - mean) / spread).max() < 1e-6


def test_rows_that_wander_stay_exact():
    # Sorted by topic, say: the mean of the first rows is of no use for the last ones
    x = draw(40_000, 5, dtype=np.float32)
    x += np.linspace(0, 3000, len(x), dtype=np.float32)[:, None].round()
    x[-9000:] += 20_000
    assert error(x) < 3e-7


@pytest.mark.parametrize("rows", [50, 500, 10_000])
def test_rows_that_lie_apart_do_not_decide_on_the_shift(rows):
    x = draw(rows, 5, offset=1e4, dtype=np.float32)
    x[0] = 0
    # What remains is the rounding of small numbers beside the square of that row
    assert error(x) < 5e-6


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_double_computes_in_float64(dtype):
    x = draw(9000, 7, offset=2, dtype=dtype)
    assert error(x, double=True) < 1e-13
    assert measure(x, double=True).rounding == np.finfo(np.float64).eps
    assert measure(x, double=False).rounding == np.finfo(np.float32).eps
    assert measure(x.astype(float), double=False).rounding == np.finfo(np.float64).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_are_measured_as_arrays_are(dtype):
    x = torch.from_numpy(draw(9000, 7, offset=2)).to(dtype)
    array = x.double().numpy() if dtype == torch.float64 else x.float().numpy()
    for left, right in zip(measure(x, double=False), measure(array, double=False), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 64, 5000, 8192, 9999])
def test_a_row_that_is_not_finite_is_named(value, row):
    x = draw(10_000, 3, dtype=np.float32)
    x[row, 1] = value
    for given in (x, torch.from_numpy(x), x.astype(np.float16), x.astype(np.float64)):
        with pytest.raises(ValueError, match=rf"x\[{row}\] holds NaN or infinity"):
            measure(given, double=False)


def test_the_first_of_them_is_named():
    x = np.ones((20, 2))
    x[[3, 7, 5]] = np.nan
    with pytest.raises(ValueError, match=r"x\[3\]"):
        measure(x, double=False)


@pytest.mark.parametrize("size", [1e-12, 1e18, 1e25, 3e38])
def test_large_and_small_numbers_neither_overflow_nor_vanish(size):
    unit = draw(10_000, 3)
    unit /= abs(unit).max()
    x = (unit * size).astype(np.float32)
    assert error(x) < 3e-7
    assert error(torch.from_numpy(x).numpy()[:9000]) < 3e-7


def test_numbers_whose_squares_overflow_float64_are_refused():
    with pytest.raises(ValueError, match="too large to be squared"):
        measure(np.array([[1e200], [-1e200]]), double=False)


def test_nothing_but_the_rows_decides():
    x = draw(9000, 4)
    before = x.copy()
    first = measure(x, double=False)
    assert all(map(np.array_equal, first, measure(x, double=False)))
    np.testing.assert_array_equal(x, before)


def test_no_rows_are_no_rows():
    found = measure(np.zeros((0, 3)), double=False)
    assert found.count == 0
    assert not found.mean.any()
    assert not found.scatter.any()


def on_this_device(part, room):
    return scatter._sums_on_gpu(torch.as_tensor(part))


def test_the_way_of_a_gpu_finds_the_same(monkeypatch):
    x = torch.from_numpy(draw(20_000, 6, offset=100, dtype=np.float32))
    expected = measure(x, double=True)
    monkeypatch.setattr(scatter, "_sums", on_this_device)
    found = measure(x, double=True)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_gpu_finds_the_same(dtype):
    x = torch.from_numpy(draw(20_000, 6, offset=100)).to(dtype)
    found, expected = measure(x.cuda(), double=False), measure(x, double=True)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-11)


STATUS = Path("/proc/self/status")


def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", STATUS.read_text("utf-8"))[1]) * 1024


@pytest.mark.skipif(not STATUS.is_file(), reason="needs Linux")
def test_a_memory_map_is_read_in_little_memory(tmp_path):
    shape, random = (80_000, 512), np.random.default_rng(0)
    with (tmp_path / "x").open("wb") as file:
        for _ in range(8):
            random.standard_normal((10_000, 512), dtype=np.float32).tofile(file)
    x = np.memmap(tmp_path / "x", np.float32, "r", shape=shape)
    measure(x[:20_000], double=False)
    Path("/proc/self/clear_refs").write_text("5", "utf-8")
    before = peak()
    found = measure(x, double=False)
    assert peak() - before < 40e6 < x.nbytes / 4
    assert found.count == len(x)
    assert abs(found.mean).max() < 0.02
    assert abs(found.scatter.diagonal() / len(x) - 1).max() < 0.03
