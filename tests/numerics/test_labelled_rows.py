import numpy as np
import pytest
import torch

from kexue.numerics.labelled_rows import (
    as_labels,
    check_features,
    check_labelled,
    dtype_name,
    merge_classes,
    refuse_not_finite,
)


@pytest.mark.parametrize(
    "y",
    [
        [3, 1, 3],
        (3, 1, 3),
        np.array([3, 1, 3], np.uint8),
        torch.tensor([3, 1, 3]),
        torch.tensor([3, 1, 3], dtype=torch.int8),
    ],
)
def test_numbers_of_any_kind_are_the_same_labels(y):
    given = check_labelled(np.zeros((3, 2)), y, None, None)
    assert given.classes.dtype == np.int64
    assert given.classes.tolist() == [1, 3]
    assert given.codes.tolist() == [1, 0, 1]
    assert given.roots is None


@pytest.mark.parametrize("y", [["乙", "甲", "乙"], np.array(["乙", "甲", "乙"], object)])
def test_strings_are_labels(y):
    given = check_labelled(np.zeros((3, 2)), y, None, None)
    assert given.classes.tolist() == ["乙", "甲"]
    assert given.codes.tolist() == [0, 1, 0]


def test_truth_values_are_0_and_1():
    assert as_labels([True, False], 2).tolist() == [1, 0]


@pytest.mark.parametrize("y", [[0.5, 1.5], np.array([None, "a"]), torch.zeros(2), [b"a", b"b"]])
def test_other_labels_are_refused(y):
    with pytest.raises(ValueError, match="the dtype of y is"):
        as_labels(y, 2)


@pytest.mark.parametrize("y", [[1], [[1], [2]], 3, [1, 2, 3]])
def test_one_label_for_each_row(y):
    with pytest.raises(ValueError, match=r"the shape of y is .*; allowed: \(2,\)"):
        as_labels(y, 2)


def test_weights_are_kept_as_roots():
    given = check_labelled(np.zeros((2, 1)), [0, 0], torch.tensor([4.0, 0.25]), None)
    assert given.roots.tolist() == [2.0, 0.5]
    assert check_labelled(np.zeros((2, 1)), [0, 0], [4, 9], 1).roots.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, np.nan], [1.0, np.inf]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(
        ValueError, match=r"sample_weight is .*; allowed: finite numbers, 0 or more"
    ):
        check_labelled(np.zeros((2, 1)), [0, 0], weights, None)


def test_one_weight_for_each_row():
    with pytest.raises(ValueError, match="the shape of sample_weight"):
        check_labelled(np.zeros((2, 1)), [0, 0], [1.0], None)


@pytest.mark.parametrize(
    ("x", "width", "message"),
    [
        ([[1.0]], None, "x is <class 'list'>; allowed: a numpy array or a torch tensor"),
        (np.zeros(3), None, r"x has shape \(3,\); allowed: \[N, D\]. Write x\[None\]"),
        (torch.zeros(2, 3), 4, r"x has shape \(2, 3\); allowed: \[N, 4\]"),
        (np.zeros((2, 0)), None, r"x has shape \(2, 0\)"),
        (np.zeros((2, 3), int), None, "the dtype of x is 'int64'"),
        (torch.zeros(2, 3, dtype=torch.long), None, "the dtype of x is 'int64'"),
    ],
)
def test_what_is_no_matrix_is_refused(x, width, message):
    with pytest.raises(ValueError, match=message):
        check_features(x, width)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floats_of_any_width_are_taken(dtype):
    x = torch.zeros(2, 3, dtype=getattr(torch, dtype))
    check_features(x, 3)
    assert dtype_name(x) == dtype


def test_classes_are_united_in_order():
    assert merge_classes(np.array(["b", "d"]), np.array(["a", "b"])).tolist() == ["a", "b", "d"]
    with pytest.raises(ValueError, match="allowed: whole numbers, as the labels before"):
        merge_classes(np.array([1]), np.array(["1"]))
    with pytest.raises(ValueError, match="allowed: strings, as the labels before"):
        merge_classes(np.array(["1"]), np.array([1]))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_bad_row_is_named(kind, bad):
    x = np.zeros((9, 2))
    x[4, 1] = x[7, 0] = bad
    with pytest.raises(ValueError, match=r"x\[104\] holds NaN or infinity"):
        refuse_not_finite(kind(x), 100)
    refuse_not_finite(kind(x[:4]), 0)
