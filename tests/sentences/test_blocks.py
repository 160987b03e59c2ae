import re
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue.sentences.blocks import (
    block_rows,
    check_matrix,
    hand_back,
    on_gpu,
    shifted_blocks,
    work_dtype,
)


def numbers(rows, columns, dtype=np.float64):
    return np.random.default_rng(0).normal(size=(rows, columns)).astype(dtype)


def gathered(x, shift, dtype, rows=7):
    room = np.empty((rows, x.shape[1]), dtype)
    parts = [(first, block.copy()) for first, block in shifted_blocks(x, shift.astype(dtype), room)]
    assert [first for first, _ in parts] == list(range(0, len(x), rows))
    return np.concatenate([block for _, block in parts])


KINDS = {
    "array": lambda x: x,
    "Fortran's order": np.asfortranarray,
    "every second row and column": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "big endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "tensor": torch.from_numpy,
    "tensor with a gradient": lambda x: torch.from_numpy(x).requires_grad_(),
    "tensor transposed": lambda x: torch.from_numpy(np.asfortranarray(x)),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_the_same(kind, dtype):
    x = numbers(30, 4, dtype)
    before, shift = x.copy(), np.arange(4.0)
    found = gathered(KINDS[kind](x), shift, np.float64)
    np.testing.assert_array_equal(found, x.astype(np.float64) - shift)
    np.testing.assert_array_equal(x, before)


def test_half_precision_is_widened_before_the_shift():
    x = torch.full((3, 2), 1000.0, dtype=torch.bfloat16)
    found = gathered(x, np.full(2, 999.9), np.float32)
    np.testing.assert_allclose(found, 0.1, rtol=1e-3)


def test_work_is_done_in_single_or_double():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert work_dtype(torch.zeros(1, 1, dtype=dtype)) == np.float32
    assert work_dtype(torch.zeros(1, 1, dtype=torch.float64)) == np.float64
    assert work_dtype(np.zeros((1, 1), ">f8")) == np.float64
    assert work_dtype(np.zeros((1, 1), np.float16)) == np.float32


def test_blocks_fit_in_a_cache_and_are_not_too_short():
    assert block_rows(768) * 768 * 4 <= 2**21
    assert block_rows(10**6) == block_rows(10**5) >= 128


@pytest.mark.parametrize(
    ("x", "width", "message"),
    [
        ([[1.0]], None, "allowed: a numpy array or a torch tensor"),
        (np.zeros(3), None, r"x has shape \(3,\); allowed: \[N, D\]. Write x\[None\]"),
        (torch.zeros(2, 3, 4), None, r"x has shape \(2, 3, 4\)"),
        (np.zeros((2, 3)), 4, r"x has shape \(2, 3\); allowed: \[N, 4\]"),
        (np.zeros((2, 0)), None, r"x has shape \(2, 0\)"),
        (np.zeros((2, 3), np.int8), None, "'int8'; .* Convert it to float32"),
        (torch.zeros(2, 3, dtype=torch.int64), None, "'int64'"),
        (torch.zeros(2, 3, dtype=torch.float8_e5m2), None, "'float8_e5m2'"),
        (np.zeros((2, 3), complex), None, "'complex128'"),
        (np.zeros((2, 3), np.longdouble), None, "the dtype of x"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(x, width, message):
    with pytest.raises(ValueError, match=message):
        check_matrix(x, width)


def test_matrices_pass():
    for x in (np.zeros((0, 3), np.float16), torch.zeros(2, 3, dtype=torch.bfloat16)):
        check_matrix(x, None)
        check_matrix(x, 3)
        assert not on_gpu(x)


def write_map(path, x, offset=0):
    written = np.memmap(path, x.dtype, "w+", offset=offset, shape=x.shape)
    written[:] = x
    written.flush()


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("offset", [0, 52])
def test_a_memory_map_keeps_its_content(tmp_path, mode, offset):
    x = numbers(3000, 5, np.float32)
    write_map(tmp_path / "x", x, offset)
    mapped = np.memmap(tmp_path / "x", np.float32, mode, offset=offset, shape=x.shape)
    if mode != "r":
        # Changes that are in no file yet
        mapped[1000:2000] += 1
        x[1000:2000] += 1
    for view, rows in (
        (mapped, x),
        (mapped[100:2900], x[100:2900]),
        (np.asarray(mapped)[5:], x[5:]),
    ):
        np.testing.assert_array_equal(gathered(view, np.zeros(5), np.float32, rows=301), rows)
    np.testing.assert_array_equal(mapped, x)


def resident():
    status = Path("/proc/self/status").read_text("utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
def test_pages_of_a_memory_map_are_handed_back(tmp_path):
    write_map(tmp_path / "x", np.ones((40_000, 256), np.float32))
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=(40_000, 256))
    before = resident()
    assert mapped.sum(dtype=np.float64) == mapped.size
    held = resident() - before
    assert held > 0.9 * mapped.nbytes
    hand_back(mapped[:20_000])
    assert 0.4 * mapped.nbytes < resident() - before < 0.6 * mapped.nbytes
    hand_back(mapped)
    assert resident() - before < 0.1 * mapped.nbytes


def test_only_a_shared_map_can_be_handed_back():
    for x in (np.ones((3, 2)), np.ones((3, 2))[1:], np.frombuffer(b"12345678").reshape(1, 1)):
        hand_back(x)
    x = np.ones((3, 2))
    hand_back(x)
    assert (x == 1).all()
