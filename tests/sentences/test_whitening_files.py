import numpy as np
import pytest
from safetensors.numpy import save_file

from kexue.sentences import whitening_files
from kexue.sentences.moments import Moments
from kexue.sentences.whitening_files import (
    FILE_NAME,
    load_statistics,
    replace_file,
    save_statistics,
)

OPTIONS = {"k": None, "beta": 0.25, "gamma": 1.0, "rtol": None}


def moments(seed=0):
    return Moments(double=True).add(np.random.default_rng(seed).normal(3, size=(50, 4)))


def test_what_is_written_is_read(tmp_path):
    save_statistics(tmp_path / "new" / "folder", moments(), OPTIONS)
    read, options = load_statistics(tmp_path / "new" / "folder")
    assert options == OPTIONS
    for name, array in moments().to_arrays().items():
        np.testing.assert_array_equal(array, read.to_arrays()[name])
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE_NAME]


def test_a_new_file_replaces_the_old_one(tmp_path):
    save_statistics(tmp_path, moments(), OPTIONS)
    save_statistics(str(tmp_path), moments(1), OPTIONS | {"k": 2})
    read, options = load_statistics(str(tmp_path))
    assert options["k"] == 2
    np.testing.assert_array_equal(read.mean, moments(1).mean)


def test_numbers_of_numpy_are_numbers(tmp_path):
    save_statistics(tmp_path, moments(), {"k": np.int64(2), "beta": np.float32(0.5)})
    assert load_statistics(tmp_path)[1] == {"k": 2, "beta": 0.5}


def test_a_crash_leaves_the_old_file(tmp_path, monkeypatch):
    save_statistics(tmp_path, moments(), OPTIONS)

    def crash(self, target):
        raise OSError("power cut")

    monkeypatch.setattr(whitening_files.Path, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        save_statistics(tmp_path, moments(1), OPTIONS)
    monkeypatch.undo()
    np.testing.assert_array_equal(load_statistics(tmp_path)[0].mean, moments().mean)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"allowed: a folder with {FILE_NAME}"):
        load_statistics(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_damaged_file_is_named(tmp_path, keep):
    save_statistics(tmp_path, moments(), OPTIONS)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=f"{FILE_NAME}: the file is damaged"):
        load_statistics(tmp_path)


def test_another_file_of_that_name_is_refused(tmp_path):
    save_file({"weight": np.ones(3)}, tmp_path / FILE_NAME)
    with pytest.raises(ValueError, match=r"no statistics of a whitening, but \['weight'\]"):
        load_statistics(tmp_path)


def test_a_file_is_replaced_whole(tmp_path):
    replace_file(tmp_path / "a" / "b", b"old")
    replace_file(tmp_path / "a" / "b", b"new")
    assert (tmp_path / "a" / "b").read_bytes() == b"new"
    assert len(list((tmp_path / "a").iterdir())) == 1
