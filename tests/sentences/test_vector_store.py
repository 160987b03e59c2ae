import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import kexue
from kexue.sentences import vector_store
from kexue.sentences.vector_store import VectorStore

ROWS = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    return VectorStore.create(tmp_path / "store", dimension=3)


def size(store):
    return (store.folder / "vectors.bin").stat().st_size


def test_vectors_and_notes_come_back(store):
    assert store.append(ROWS[:60], notes={"lines": 60, "of": "a.txt"}) == 60
    assert store.append(torch.from_numpy(ROWS[60:]), notes={"lines": 100}) == 100
    again = VectorStore.open(str(store.folder))
    assert (len(again), again.dimension, again.dtype) == (100, 3, np.float32)
    assert np.array_equal(again.vectors(), ROWS)
    assert again.notes() == {"lines": 100, "of": "a.txt"}


def test_an_empty_store(store):
    assert len(store) == 0
    assert store.vectors().shape == (0, 3)
    assert store.notes() == {}
    assert store.append(np.zeros((0, 3)), notes={"lines": 5}) == 0
    assert store.notes() == {"lines": 5}


def test_half_precision_takes_half_the_room(tmp_path):
    half = VectorStore.create(tmp_path / "half", dimension=3, dtype="float16")
    half.append(ROWS)
    assert half.vectors().dtype == np.float16
    assert size(half) == ROWS.nbytes // 2
    assert np.array_equal(half.vectors(), ROWS.astype(np.float16))


def test_a_view_keeps_its_length_and_cannot_be_written(store):
    store.append(ROWS[:10])
    view = store.vectors()
    store.append(ROWS[10:])
    assert np.array_equal(view, ROWS[:10])
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 0


def test_one_file_at_the_end(store, tmp_path):
    store.append(ROWS)
    store.write_npy(tmp_path / "all.npy")
    assert np.array_equal(np.load(tmp_path / "all.npy", mmap_mode="r"), ROWS)


def test_vectors_that_do_not_fit_change_nothing(store):
    store.append(ROWS[:10], notes={"lines": 10})
    bad = ROWS.copy()
    bad[99, 2] = np.nan
    with pytest.raises(ValueError, match=r"vectors\[99\] holds NaN"):
        store.append(bad, notes={"lines": 110})
    with pytest.raises(ValueError, match=r"allowed: shape \[N, 3\]"):
        store.append(ROWS[:, :2])
    assert (len(store), store.notes()) == (10, {"lines": 10})
    store.append(ROWS[10:])
    assert np.array_equal(store.vectors(), ROWS)
    assert size(store) == ROWS.nbytes


STEPS = ["written", "flushed", "noted", "counted"]


class Killed(BaseException):
    """As a kill: nothing of the program may catch it."""


def break_at(monkeypatch, step):
    """Make the store stop for good right after a step."""

    def broken(*arguments):
        raise Killed

    if step == "written":
        monkeypatch.setattr(vector_store.Batch, "note", broken)
    elif step == "flushed":
        monkeypatch.setattr(vector_store.os, "fsync", broken)
    elif step == "noted":
        real = vector_store.Batch.note
        monkeypatch.setattr(vector_store.Batch, "note", lambda *given: (real(*given), broken())[1])
    elif step == "counted":
        monkeypatch.setattr(vector_store, "writing", before_commit)


REAL_WRITING = vector_store.writing


@contextmanager
def before_commit(path):
    """Stand in for `writing`: the transaction never ends."""
    with REAL_WRITING(path) as connection:
        yield connection
        raise Killed


@pytest.mark.parametrize("step", STEPS)
def test_an_end_between_two_steps_loses_and_doubles_nothing(store, step):
    store.append(ROWS[:40], notes={"lines": 40})
    with pytest.MonkeyPatch.context() as patch:
        break_at(patch, step)
        with pytest.raises(Killed):
            store.append(ROWS[40:90] + 7, notes={"lines": 90})
    again = VectorStore.open(store.folder)
    assert (len(again), again.notes()) == (40, {"lines": 40})
    assert np.array_equal(again.vectors(), ROWS[:40])
    again.append(ROWS[40:50], notes={"lines": 50})
    assert np.array_equal(again.vectors(), ROWS[:50])
    assert size(again) == ROWS[:50].nbytes
    assert again.notes() == {"lines": 50}


KILLED = """
import os, random, signal, sys
from kexue.sentences import vector_store
from kexue.sentences.vector_store import VectorStore
import numpy as np

folder, step = sys.argv[1:]
store = VectorStore.open(folder)

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

if step == "flushed":
    vector_store.os.fsync = die
elif step == "written":
    vector_store.Batch.note = die
else:
    def last(self, notes):
        self.connection.execute("UPDATE state SET rows = 999")
        # Pages of an open transaction that have reached the file already.
        self.connection.execute("PRAGMA cache_size = 1")
        self.connection.execute("CREATE TABLE filler (x)")
        self.connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 3000,)] * 200)
        die()
    vector_store.Batch.note = last
store.append(np.ones((5000, 3)), notes={"lines": 7})
"""


@pytest.mark.parametrize("step", ["written", "flushed", "spilled"])
def test_a_kill_between_two_steps(store, step):
    store.append(ROWS, notes={"lines": 100})
    source = str(Path(kexue.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", KILLED, store.folder, step],
        env={**os.environ, "PYTHONPATH": source},
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    if step != "written":
        assert size(store) > ROWS.nbytes
    again = VectorStore.open(store.folder)
    assert (len(again), again.notes()) == (100, {"lines": 100})
    assert np.array_equal(again.vectors(), ROWS)
    again.append(ROWS[:1])
    assert np.array_equal(again.vectors(), np.concatenate([ROWS, ROWS[:1]]))
    assert size(again) == 101 * 12


def test_tables_written_beside_count_together(store):
    with store.writing() as batch:
        batch.connection.execute("CREATE TABLE beside (x)")
        batch.append(ROWS[:2])
        batch.append(ROWS[2:3])
        assert batch.rows == 3

    def killed():
        with store.writing() as batch:
            batch.connection.execute("INSERT INTO beside VALUES (1)")
            batch.append(ROWS)
            raise Killed

    with pytest.raises(Killed):
        killed()
    with store.writing() as batch:
        assert batch.connection.execute("SELECT count(*) FROM beside").fetchone() == (0,)
        assert batch.rows == 3


def test_a_file_cut_short_is_found(store):
    store.append(ROWS)
    os.truncate(store.folder / "vectors.bin", 1199)
    with pytest.raises(ValueError, match=r"1199 bytes, but 100 vectors need 1200. The file"):
        VectorStore.open(store.folder)
    os.unlink(store.folder / "vectors.bin")
    with pytest.raises(ValueError, match="0 bytes, but 100 vectors"):
        VectorStore.open(store.folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension is 0; allowed: a whole number"),
        ({"dimension": 2.0}, "dimension is 2.0"),
        ({"dimension": 2, "dtype": "int8"}, "dtype is 'int8'; allowed: 'float32' or 'float16'"),
    ],
)
def test_wrong_options_make_no_folder(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        VectorStore.create(tmp_path / "store", **options)
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_refused(store, tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        VectorStore.open(tmp_path / "none")
    with pytest.raises(ValueError, match="this is no kexue vector store"):
        VectorStore.open(tmp_path)
    with pytest.raises(ValueError, match="the folder is not empty"):
        VectorStore.create(store.folder, dimension=3)
    manifest = store.folder / "vectors.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 2}))
    with pytest.raises(ValueError, match="has version 2; this kexue reads up to 1"):
        VectorStore.open(store.folder)
