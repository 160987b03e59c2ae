import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kexue.sentences.rows import as_array, as_rows, refuse_not_finite, unit_rows, whole_number


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(2)])
def test_whole_numbers_are_taken(value):
    assert whole_number("k", value) == value
    assert type(whole_number("k", value)) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, "3", None, True, np.float32(2)])
def test_other_numbers_are_refused(value):
    with pytest.raises(ValueError, match=r"k is .*; allowed: a whole number of at least 1"):
        whole_number("k", value)


def test_arrays_of_all_kinds():
    expected = np.array([[1, 2], [3, 4]])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64):
        given = torch.tensor(expected, dtype=dtype)
        assert np.array_equal(as_array(given), expected)
    assert np.array_equal(as_array(torch.tensor(expected * 1.0, requires_grad=True)), expected)
    assert as_array(expected) is expected
    assert as_array(torch.zeros(2, dtype=torch.float64)).dtype == np.float64


def test_rows_of_the_right_shape_pass():
    assert as_rows([[1, 2], [3, 4]], 2).shape == (2, 2)
    assert as_rows([], 5).shape == (0, 5)
    assert as_rows(np.zeros((0, 5)), 5).shape == (0, 5)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3), (), (0, 4)])
def test_rows_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"vectors is of shape .*; allowed: shape \[N, 3\]"):
        as_rows(np.zeros(shape), 3)


@pytest.mark.parametrize("values", [[["a"]], [[1j]], [[None]], [[True]]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ValueError, match="allowed: real numbers"):
        as_rows(values, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_bad_row_is_named(bad):
    rows = np.zeros((4, 3))
    refuse_not_finite(rows, range(4))
    rows[2, 1] = rows[3, 0] = bad
    with pytest.raises(ValueError, match=r"vectors\[12\] holds NaN or infinity"):
        refuse_not_finite(rows, range(10, 14))


@given(
    arrays(np.float64, (3, 4), elements=st.floats(-1e3, 1e3)), st.sampled_from([1e-300, 1, 1e300])
)
def test_unit_rows_keep_directions_at_any_scale(rows, scale):
    rows[np.abs(rows) < 1e-3] = 0
    units = unit_rows(rows * scale)
    lengths = np.linalg.norm(rows, axis=1)
    assert np.allclose(np.linalg.norm(units, axis=1), lengths > 0)
    assert np.allclose(units * lengths[:, None], rows, atol=1e-9)


def test_the_input_is_not_changed():
    rows = np.array([[3.0, 4.0]])
    assert unit_rows(rows).tolist() == [[0.6, 0.8]]
    assert rows.tolist() == [[3.0, 4.0]]
