import numpy as np
import pytest

from kexue.sentences import npy_file
from kexue.sentences.npy_file import write_npy


@pytest.mark.parametrize("shape", [(10, 3), (0, 3), (5,), (4, 2, 2)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numpy_reads_the_file(tmp_path, monkeypatch, shape, dtype):
    monkeypatch.setattr(npy_file, "_CHUNK", 4)
    rows = np.random.default_rng(0).normal(size=shape).astype(dtype)
    write_npy(tmp_path / "a.npy", rows)
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == rows.dtype
    assert np.array_equal(found, rows)


def test_parts_that_are_not_contiguous(tmp_path):
    rows = np.arange(24.0).reshape(4, 6)
    write_npy(str(tmp_path / "a.npy"), rows.T[::2])
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), rows.T[::2])


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    write_npy(path, np.zeros(3))

    def fail(handle):
        assert np.array_equal(np.load(path), np.zeros(3))
        raise OSError("no space left")

    monkeypatch.setattr(npy_file.os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_npy(path, np.ones(3))
    assert np.array_equal(np.load(path), np.zeros(3))
    assert list(tmp_path.iterdir()) == [path]
