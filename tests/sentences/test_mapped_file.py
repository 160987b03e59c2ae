import os

import numpy as np
import pytest

from kexue.sentences.mapped_file import MappedFile

ROWS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float16)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(ROWS[:10].tobytes())
    return path


def mapped(path):
    return MappedFile(path, 3, np.dtype("float16"))


def test_the_first_rows_are_read(path):
    assert np.array_equal(mapped(path).read(10), ROWS[:10])
    assert np.array_equal(mapped(path).read(4), ROWS[:4])
    assert mapped(path).read(0).shape == (0, 3)


def test_a_map_is_kept_until_the_length_or_the_file_changes(path):
    vectors = mapped(path)
    first = vectors.read(10)
    assert vectors.read(10) is first
    with path.open("ab") as stream:
        stream.write(ROWS[10:].tobytes())
    assert vectors.read(10) is first
    assert np.array_equal(vectors.read(20), ROWS)
    other = path.with_name("other")
    other.write_bytes((ROWS + 1).tobytes())
    os.replace(other, path)
    assert np.array_equal(vectors.read(20), ROWS + 1)
    assert np.array_equal(first, ROWS[:10])


def test_nothing_can_be_written_through_it(path):
    with pytest.raises(ValueError, match="read-only"):
        mapped(path).read(10)[0] = 0


def test_a_file_that_is_too_short_or_missing(path):
    with pytest.raises(ValueError, match=r"a.bin: 60 bytes, but 11 vectors need 66. The file"):
        mapped(path).read(11)
    path.unlink()
    with pytest.raises(ValueError, match="0 bytes, but 1 vectors need 6"):
        mapped(path).read(1)
    assert mapped(path).read(0).shape == (0, 3)


def test_a_file_that_shrinks_is_noticed_before_it_is_touched(path):
    vectors = mapped(path)
    vectors.read(10)
    os.truncate(path, 59)
    with pytest.raises(ValueError, match="59 bytes"):
        vectors.read(10)
