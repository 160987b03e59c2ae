import copy
import pickle
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.sentences.moments import Moments


def draw(rows, columns, *, offset=0.0, seed=0, dtype=np.float64):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(columns, columns))
    return (random.normal(size=(rows, columns)) @ mixing + offset).astype(dtype)


def close(found, expected, tolerance=1e-10):
    """Compare relative to the size of the covariance, and of the spread."""
    assert found.count == expected.count
    size = abs(expected.covariance()).max()
    assert abs(found.covariance() - expected.covariance()).max() <= tolerance * size
    assert abs(found.mean - expected.mean).max() <= tolerance * max(size**0.5, 1e-300)


def test_is_the_covariance_with_divisor_n():
    x = draw(500, 6, offset=2)
    found = Moments().add(x)
    np.testing.assert_allclose(found.covariance(), np.cov(x.T, ddof=0), rtol=1e-12)
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-13)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 300),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    order=st.randoms(use_true_random=False),
    offset=st.sampled_from([0.0, 5.0, 1000.0]),
)
def test_merged_parts_in_any_order_are_the_whole(rows, cuts, order, offset):
    x = draw(rows, 4, offset=offset)
    parts = [Moments().add(part) for part in np.split(x, sorted(min(c, rows) for c in cuts))]
    order.shuffle(parts)
    whole = Moments().add(x)
    close(reduce(Moments.merge, parts, Moments()), whole)
    # As a tree instead of a chain
    while len(parts) > 1:
        parts = [
            reduce(Moments.merge, parts[i : i + 2], Moments()) for i in range(0, len(parts), 2)
        ]
    close(parts[0], whole)


@pytest.mark.parametrize("size", [1, 7, 1000, 8192, 30_000])
def test_batches_of_any_size_add_up_to_one_pass(size):
    x = draw(min(30_000, 500 * size), 5, offset=10)
    found = Moments()
    for start in range(0, len(x), size):
        assert found.add(x[start : start + size]) is found
    close(found, Moments().add(x), 1e-12)


def test_single_precision_depends_on_the_split_unless_double():
    x = draw(30_000, 5, offset=10, dtype=np.float32)
    for double, tolerance in ((False, 1e-6), (True, 1e-12)):
        parts = [Moments(double=double).add(part) for part in np.split(x, [100, 11_000, 11_001])]
        close(reduce(Moments.merge, parts), Moments(double=double).add(x), tolerance)


def test_the_order_of_rows_does_not_matter():
    x = draw(3000, 5, offset=10)
    close(Moments().add(x[::-1]), Moments().add(x), 1e-12)
    close(Moments().add(x[np.random.default_rng(1).permutation(3000)]), Moments().add(x), 1e-12)


def equation_11(x):
    """The paper's streaming formulas, with the running mean, in the dtype of x."""
    mean, covariance = x[0], np.zeros((x.shape[1],) * 2, x.dtype)
    for n, row in enumerate(x[1:], 1):
        mean = x.dtype.type(n / (n + 1)) * mean + x.dtype.type(1 / (n + 1)) * row
        apart = row - mean
        step = x.dtype.type(1 / (n + 1)) * np.outer(apart, apart)
        covariance = x.dtype.type(n / (n + 1)) * covariance + step
    return covariance


def recursion_of_the_blog(x):
    """The article's streaming formulas, in the dtype of x."""
    mean, covariance = x[0], np.zeros((x.shape[1],) * 2, x.dtype)
    for n, row in enumerate(x[1:], 1):
        old, new = x.dtype.type(n / (n + 1)), x.dtype.type(1 / (n + 1))
        second = old * (covariance + np.outer(mean, mean)) + new * np.outer(row, row)
        mean = old * mean + new * row
        covariance = second - np.outer(mean, mean)
    return covariance


def relative_error(found, x):
    expected = np.cov(x.astype(np.float64).T, ddof=0)
    return abs(found - expected).max() / abs(expected).max()


def test_the_formula_of_the_paper_is_another_one():
    x = draw(500, 32)
    assert relative_error(equation_11(x), x) > 1e-3
    assert relative_error(recursion_of_the_blog(x), x) < 1e-12
    assert relative_error(Moments().add(x).covariance(), x) < 1e-13


def test_a_large_mean_ruins_the_published_formulas_and_not_these():
    random = np.random.default_rng(0)
    x = (1000 + random.normal(size=(2000, 16))).astype(np.float32)
    assert relative_error(equation_11(x), x) > 1e-3
    assert relative_error(recursion_of_the_blog(x), x) > 0.1
    assert relative_error(Moments().add(x).covariance(), x) < 1e-6
    row_by_row = Moments()
    for row in x:
        row_by_row.add(row[None])
    assert relative_error(row_by_row.covariance(), x) < 1e-12


def test_tensors_and_arrays_may_be_mixed():
    x = draw(100, 3)
    found = Moments().add(x[:40]).add(torch.from_numpy(x[40:]))
    close(found, Moments().add(x), 1e-12)


def test_merging_leaves_the_other_as_it_is():
    x = draw(100, 3)
    other = Moments().add(x[:30])
    before = copy.deepcopy(other.to_arrays())
    whole = Moments().merge(other).add(x[30:])
    whole.merge(other)
    assert whole.count == 130
    for name, array in other.to_arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_an_object_merges_with_itself():
    found = Moments().add(draw(100, 3))
    expected = found.covariance()
    np.testing.assert_allclose(found.merge(found).covariance(), expected, rtol=1e-14)
    assert found.count == 200


def test_nothing_is_neutral():
    found, before = Moments().add(draw(10, 3)), Moments().add(draw(10, 3))
    for merged in (found.merge(Moments()), found.add(np.zeros((0, 3))), Moments().merge(found)):
        close(merged, before, 0)
    assert Moments().add(np.zeros((0, 3))).add(np.zeros((4, 5))).count == 4


def test_a_batch_that_is_refused_changes_nothing():
    found = Moments().add(draw(10, 3))
    before = copy.deepcopy(found.to_arrays())
    bad = draw(20_000, 3)
    bad[-1] = np.nan
    with pytest.raises(ValueError, match=r"x\[19999\] holds NaN"):
        found.add(bad)
    with pytest.raises(ValueError, match=r"x has shape \(5, 2\); allowed: \[N, 3\]"):
        found.add(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="other is '2 columns'; allowed: 3 columns"):
        found.merge(Moments().add(np.zeros((5, 2))))
    for name, array in found.to_arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_covariance_of_nothing_is_refused():
    with pytest.raises(ValueError, match="the number of rows is 0"):
        Moments().covariance()


def test_the_coarsest_products_are_remembered():
    single, double = np.finfo(np.float32).eps, np.finfo(np.float64).eps
    x = draw(10, 3)
    assert Moments().rounding == 0
    assert Moments().add(x).rounding == double
    assert Moments().add(x).add(x.astype(np.float32)).add(x).rounding == single
    assert Moments().add(x).merge(Moments().add(x.astype(np.float16))).rounding == single
    assert Moments(double=True).add(x.astype(np.float32)).rounding == double


@pytest.mark.parametrize("double", [False, True])
def test_arrays_hold_everything(double, tmp_path):
    x = draw(9000, 5, offset=100, dtype=np.float32)
    whole = Moments(double=double).add(x[:5000])
    np.savez(tmp_path / "moments.npz", **whole.to_arrays())
    with np.load(tmp_path / "moments.npz", allow_pickle=False) as arrays:
        read = Moments.from_arrays(arrays)
    sent = pickle.loads(pickle.dumps(whole))
    for other in (read, sent):
        other.add(x[5000:])
    whole.add(x[5000:])
    for other in (read, sent):
        for name, array in whole.to_arrays().items():
            np.testing.assert_array_equal(array, other.to_arrays()[name])


def test_arrays_that_do_not_fit_are_refused():
    arrays = Moments().add(draw(10, 3)).to_arrays()
    for name in arrays:
        less = {key: value for key, value in arrays.items() if key != name}
        with pytest.raises(ValueError, match=f"without {name}"):
            Moments.from_arrays(less)
    with pytest.raises(ValueError, match=r"mean \(2,\) and scatter \(3, 3\)"):
        Moments.from_arrays(arrays | {"mean": np.zeros(2)})


def test_arrays_are_copied():
    arrays = Moments().add(draw(10, 3)).to_arrays()
    read = Moments.from_arrays(arrays)
    before = read.scatter.copy()
    arrays["scatter"][:] = 0
    np.testing.assert_array_equal(read.scatter, before)
