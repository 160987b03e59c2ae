import warnings

import numpy as np
import pytest
import torch

from kexue.numerics.mitchell_operands import compute


def add(*operands):
    return compute(operands, floats=lambda *t: sum(t), integers=lambda *t: sum(t))


def seen(*operands):
    """Collect what the function of tensors is given."""
    given = []

    def keep(*tensors):
        given.extend(tensors)
        return tensors[0]

    compute(operands, floats=keep, integers=keep)
    return given


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_floats_are_computed_wide_and_returned_as_they_came(name):
    wide = torch.float64 if name == "float64" else torch.float32
    for one in (np.ones(3, name), torch.ones(3, dtype=getattr(torch, name))):
        result = add(one, 2.0)
        assert type(result) is type(one)
        assert result.dtype == one.dtype
        assert result.tolist() == [3, 3, 3]
        assert [t.dtype for t in seen(one, 2.0)] == [wide, wide]


@pytest.mark.parametrize(
    ("one", "other"),
    [("int8", "float32"), ("float16", "float32"), ("float32", "float64"), ("int32", "float16")],
)
def test_common_types_are_those_of_each_library(one, other):
    arrays = np.ones(2, one), np.ones(2, other)
    assert add(*arrays).dtype == (arrays[0] + arrays[1]).dtype
    tensors = [torch.from_numpy(x) for x in arrays]
    assert add(*tensors).dtype == (tensors[0] + tensors[1]).dtype
    assert add(arrays[0], tensors[1]).dtype == (tensors[0] + tensors[1]).dtype


def test_numbers_take_the_type_of_arrays():
    assert add(np.ones(1, np.float32), 1e-3).dtype == np.float32
    assert add(torch.ones(1, dtype=torch.bfloat16), 1e-3).dtype == torch.bfloat16
    assert add(torch.ones(1, dtype=torch.int8), 0.5).dtype == torch.float32
    assert add(np.ones(1, np.float32), np.float64(1)).dtype == np.float64


def test_kinds_of_single_numbers():
    assert type(add(1.0, 2)) is float
    assert type(add(np.float32(1), 2)) is np.float32
    assert type(add(np.int16(1), 2)) is np.int64
    assert type(add(torch.tensor(1.0), 2)) is torch.Tensor
    assert add([1.0, 2.0], 1.0).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"])
def test_all_integers(name):
    array = np.array([3, 100], name)
    for one in (array, torch.from_numpy(array)):
        for other in (1000, np.array([1000]), torch.tensor(1000)):
            result = add(one, other)
            assert result.dtype in (np.int64, torch.int64)
            assert result.tolist() == [1003, 1100]


def test_the_widest_unsigned_integers():
    # NumPy has no integers for both uint64 and int64, and takes floats
    array = np.array([3, 100], np.uint64)
    assert add(array, 1000).tolist() == [1003, 1100]
    assert add(array, array).dtype == np.int64
    assert add(array, np.array([1])).dtype == np.float64
    assert add(torch.from_numpy(array), torch.tensor(1000)).tolist() == [1003, 1100]


def test_numbers_larger_than_the_integers_beside_them():
    assert add(np.array([1], np.int8), 1000).tolist() == [1001]
    assert add(torch.tensor([1], dtype=torch.uint8), -1000).tolist() == [-999]


def test_integers_beyond_int64():
    large = np.array([2**63], np.uint64)
    for operands in (
        (large, large),
        (torch.from_numpy(large), 1),
        (np.array([1]), 2**63),
        (torch.tensor([1]), -(2**63) - 1),
    ):
        with pytest.raises(ValueError, match=r"an operand is .* Convert to float64"):
            add(*operands)


def test_arrays_of_every_layout():
    x = np.arange(12.0).reshape(3, 4)
    read_only = x.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view in (x[::-1], x.T, x[:, ::2], x.astype(">f8"), read_only, x[:0]):
            assert np.array_equal(add(view, 1.0), view + 1)
            assert add(view, 1.0).dtype == np.float64
        assert np.array_equal(add(torch.zeros(()), read_only.astype(np.float32)), read_only)


def test_arrays_are_shared_not_copied():
    x = np.zeros(3, np.float32)
    assert seen(x, x)[0].data_ptr() == x.ctypes.data


def test_gradients_flow_through_conversions():
    x = torch.ones(2, dtype=torch.float16, requires_grad=True)
    (add(x, 2.0) * 3).sum().backward()
    assert x.grad.dtype == torch.float16
    assert x.grad.tolist() == [3, 3]


def test_one_operand():
    assert add(np.float32(2.0)) == 2
    assert add(torch.ones(2, dtype=torch.float16)).dtype == torch.float16


@pytest.mark.parametrize(
    "operands",
    [
        (torch.ones(1, dtype=torch.complex64), 1.0),
        (np.ones(1, np.complex128), 1.0),
        (np.ones(1, np.longdouble), 1.0),
        (np.ones(1, bool), np.ones(1, bool)),
        (torch.ones(1, dtype=torch.float8_e5m2), torch.ones(1, dtype=torch.float8_e5m2)),
        ("3", 1.0),
        (np.array(["x"]), 1.0),
        (torch.ones(1), "3"),
        (torch.ones(1), None),
        (None, 1.0),
    ],
)
def test_what_is_refused(operands):
    with pytest.raises(ValueError, match=r"the operands.* allowed: numbers of type float16"):
        add(*operands)
