import pickle
from functools import reduce

import numpy as np
import pytest
import torch

from kexue.numerics import class_moments as module
from kexue.numerics.class_moments import ClassMoments


def draw(rows=900, features=6, *, seed=0):
    random = np.random.default_rng(seed)
    y = random.choice([2, 3, 5, 7], size=rows, p=[0.4, 0.3, 0.2, 0.1])
    return random.normal(size=(rows, features)) @ np.triu(np.ones((6, 6))) + y[:, None], y


def same(one, two, tolerance=1e-11):
    np.testing.assert_array_equal(one.classes, two.classes)
    for name in ("weights", "means", "scatter"):
        a, b = getattr(one, name), getattr(two, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * abs(b).max(), err_msg=name)


def test_equals_numpy():
    x, y = draw()
    moments = ClassMoments().add(x, y)
    assert moments.classes.tolist() == [2, 3, 5, 7]
    assert moments.weights.tolist() == [np.sum(y == c) for c in moments.classes]
    expected = sum(np.cov(x[y == c].T, ddof=0) * np.mean(y == c) for c in (2, 3, 5, 7))
    np.testing.assert_allclose(moments.covariance(), expected, rtol=1e-12)
    means = [x[y == c].mean(0) for c in (2, 3, 5, 7)]
    np.testing.assert_allclose(moments.means, means, rtol=1e-12)


def test_it_is_what_is_left_of_the_whole_covariance():
    # The article's formula: of all vectors, less that of the means
    x, y = draw()
    moments = ClassMoments().add(x, y)
    between = sum(np.mean(y == c) * np.outer(m, m) for c, m in enumerate_classes(moments))
    whole = x.T @ x / len(x)
    np.testing.assert_allclose(moments.covariance(), whole - between, atol=1e-11)


def enumerate_classes(moments):
    return zip(moments.classes, moments.means, strict=True)


@pytest.mark.parametrize("seed", range(4))
def test_parts_in_any_order_add_up_to_the_whole(seed):
    x, y = draw()
    random = np.random.default_rng(seed)
    order = random.permutation(len(x))
    parts = np.split(order, sorted(random.integers(1, len(x), 5)))
    whole = ClassMoments().add(x, y)
    same(reduce(lambda m, p: m.add(x[p], y[p]), parts, ClassMoments()), whole)
    made = [ClassMoments().add(x[p], y[p]) for p in parts]
    same(reduce(ClassMoments.merge, made, ClassMoments()), whole)
    same(made[-1].merge(ClassMoments().add(x[y < 0], y[y < 0])), made[-1])


def test_classes_may_come_one_after_the_other():
    x, y = draw()
    one_by_one = ClassMoments()
    for c in (7, 2, 5, 3):
        one_by_one.add(x[y == c], y[y == c])
    same(one_by_one, ClassMoments().add(x, y))


def test_spans_are_put_together(monkeypatch):
    x, y = draw()
    whole = ClassMoments().add(x, y)
    monkeypatch.setattr(module, "_SPAN", 64)
    same(ClassMoments().add(x, y), whole)


def test_a_weight_of_3_is_three_times_the_row(monkeypatch):
    x, y = draw()
    times = np.random.default_rng(0).integers(0, 4, len(x))
    expected = ClassMoments().add(np.repeat(x, times, 0), np.repeat(y, times))
    same(ClassMoments().add(x, y, sample_weight=times), expected)
    monkeypatch.setattr(module, "_SPAN", 100)
    same(ClassMoments().add(x, y, sample_weight=times), expected)


def test_a_class_of_which_nothing_counts_is_not_there():
    x, y = draw()
    moments = ClassMoments().add(x, y, sample_weight=y != 5)
    same(moments, ClassMoments().add(x[y != 5], y[y != 5]))


def test_what_is_merged_is_left_as_it_is_and_copies_stay():
    x, y = draw()
    one, two = ClassMoments().add(x[:500], y[:500]), ClassMoments().add(x[500:], y[500:])
    before = pickle.dumps((vars(two), one.scatter, one.means))
    kept = one.scatter, one.means
    one.merge(two)
    assert pickle.dumps((vars(two), *kept)) == before
    assert one.scatter is not kept[0]


def test_goes_to_another_process_and_back():
    x, y = draw()
    moments = ClassMoments().add(x, y)
    same(pickle.loads(pickle.dumps(moments)), moments, 0)


def test_the_coarsest_precision_is_remembered():
    x, y = draw()
    moments = ClassMoments().add(x, y)
    assert moments.rounding == np.finfo(np.float64).eps
    moments.add(x.astype(np.float32), y)
    assert moments.rounding == np.finfo(np.float32).eps
    assert ClassMoments(double=True).add(x.astype(np.float32), y).rounding < 1e-15


def test_double_stays_as_it_was_asked_for():
    x, y = draw()
    moments = ClassMoments(double=True).merge(ClassMoments().add(x, y))
    assert moments.double


def test_what_is_refused_is_not_taken_in():
    x, y = draw()
    moments = ClassMoments().add(x, y)
    before = pickle.dumps(vars(moments))
    with pytest.raises(ValueError, match=r"x\[2\] holds NaN"):
        moments.add(np.where(np.arange(3)[:, None] == 2, np.nan, x[:3]), y[:3])
    with pytest.raises(ValueError, match=r"x has shape \(9, 2\); allowed: \[N, 6\]"):
        moments.add(np.zeros((9, 2)), np.zeros(9, int))
    with pytest.raises(ValueError, match="other is '2 features'; allowed: 6 features"):
        moments.merge(ClassMoments().add(np.zeros((9, 2)), np.zeros(9, int)))
    with pytest.raises(ValueError, match="the labels"):
        moments.add(x, y.astype(str))
    assert pickle.dumps(vars(moments)) == before


def test_no_rows_have_no_covariance():
    with pytest.raises(ValueError, match="the number of rows is 0"):
        ClassMoments().covariance()


def test_a_memory_map_and_a_tensor_are_read_alike(tmp_path):
    x, y = draw(3000)
    np.save(tmp_path / "x.npy", x)
    whole = ClassMoments().add(x, y)
    same(ClassMoments().add(np.load(tmp_path / "x.npy", mmap_mode="r"), y), whole, 0)
    same(ClassMoments().add(torch.from_numpy(x), torch.from_numpy(y)), whole, 0)
