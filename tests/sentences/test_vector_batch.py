import io
import json
import sqlite3

import numpy as np
import pytest

from kexue.sentences import vector_batch
from kexue.sentences.vector_batch import Batch


@pytest.fixture
def connection():
    made = sqlite3.connect(":memory:")
    made.execute("CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    yield made
    made.close()


def batch_on(connection, dtype="float32"):
    return Batch(connection, io.BytesIO(), 10, 3, np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_written_one_after_the_other(connection, monkeypatch, dtype):
    monkeypatch.setattr(vector_batch, "CHUNK", 4)
    batch = batch_on(connection, dtype)
    given = np.arange(33.0).reshape(11, 3)
    batch.append(given[:10])
    # Neither order nor stride of the memory may show.
    batch.append(np.asfortranarray(np.repeat(given[10:], 2, axis=0))[::2])
    assert batch.rows == 21
    written = np.frombuffer(batch._stream.getvalue(), dtype=dtype).reshape(11, 3)
    assert np.array_equal(written, given)


def test_a_bad_row_is_named_by_its_place_in_all_of_them(connection, monkeypatch):
    monkeypatch.setattr(vector_batch, "CHUNK", 4)
    rows = np.zeros((9, 3))
    rows[6, 0] = np.nan
    with pytest.raises(ValueError, match=r"vectors\[6\]"):
        batch_on(connection).append(rows)


def test_a_number_too_large_for_the_file_is_refused(connection):
    batch_on(connection, "float32").append([[1e5, 0, 0]])
    with pytest.raises(ValueError, match=r"vectors\[0\] holds NaN or infinity"):
        batch_on(connection, "float16").append([[1e5, 0, 0]])


def test_notes_replace_notes(connection):
    batch = batch_on(connection)
    batch.note({"a": 1, "b": [2]})
    batch.note({"a": {"é": None}})
    found = dict(connection.execute("SELECT * FROM notes").fetchall())
    assert {name: json.loads(value) for name, value in found.items()} == {
        "a": {"é": None},
        "b": [2],
    }
