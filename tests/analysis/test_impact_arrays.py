import numpy as np
import pytest
import torch

from kexue.analysis.impact_arrays import square_array


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_all_kinds(dtype):
    tensor = torch.tensor([[5, 2], [3, 5]], dtype=dtype).requires_grad_()
    found = square_array(tensor)
    assert found.dtype == np.float64
    assert found.tolist() == [[0, 2], [3, 0]]
    assert tensor[0, 0] == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_an_array_is_copied(dtype):
    array = np.array([[5, 2], [3, 5]], dtype=dtype)
    found = square_array(array)
    found[0, 1] = 9
    assert array.tolist() == [[5, 2], [3, 5]]


def test_lists():
    assert square_array([[1, 2], [3, 4]]).tolist() == [[0, 2], [3, 0]]


def test_the_diagonal_may_be_anything():
    assert square_array([[np.nan, 2], [3, np.inf]]).tolist() == [[0, 2], [3, 0]]


@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 2, 2), (0, 0)])
def test_other_shapes_are_explained(shape):
    with pytest.raises(ValueError, match="a square matrix of at least one word"):
        square_array(np.zeros(shape))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_explained(number):
    with pytest.raises(ValueError, match=r"NaN or infinity.*finite numbers"):
        square_array([[0, number], [1, 0]])
