import os

import numpy as np
import pytest

pytest.importorskip("faiss")

from kexue.sentences import cell_file
from kexue.sentences.cell_file import CellFile, choose
from kexue.sentences.nearest import rescore, scan
from kexue.sentences.transactions import alone


def clusters(count, seed=0):
    """Draw unit vectors around forty centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, 16))
    rows = centres[rng.integers(40, size=count)] + 0.3 * rng.normal(size=(count, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = clusters(3000), clusters(40, seed=1)


def best(candidates, vectors, k=10):
    return [each.rows.tolist() for each in rescore(vectors, QUERIES, candidates, k)]


def build(folder, vectors, cells=None, retrain=False):
    CellFile(folder).build(vectors, cells=cells, retrain=retrain)
    return CellFile(folder).read()


def test_few_vectors_have_no_cells(tmp_path):
    assert build(tmp_path, VECTORS) is None
    assert build(tmp_path, VECTORS[:0]) is None
    assert best(choose(None, VECTORS, QUERIES, 10, probes=None), VECTORS) == best(
        scan(VECTORS, QUERIES, 10), VECTORS
    )


def test_many_vectors_have_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(cell_file, "SCANNED_BYTES", VECTORS.nbytes - 1)
    index = build(tmp_path, VECTORS)
    assert (index.ntotal, index.nlist) == (3000, 128)
    chosen = choose(index, VECTORS, QUERIES, 10, probes=128)
    assert chosen.shape == (40, 200)
    assert best(chosen, VECTORS) == best(scan(VECTORS, QUERIES, 10), VECTORS)


def test_what_is_not_in_the_cells_is_scanned(tmp_path):
    index = build(tmp_path, VECTORS[:2000], cells=16)
    chosen = choose(index, VECTORS, QUERIES, 10, probes=16)
    assert best(chosen, VECTORS) == best(scan(VECTORS, QUERIES, 10), VECTORS)
    assert any(row >= 2000 for rows in best(chosen, VECTORS) for row in rows)


def test_at_least_k_candidates_even_of_few_cells(tmp_path):
    index = build(tmp_path, VECTORS, cells=64)
    assert best(choose(index, VECTORS, QUERIES, 2900, probes=1), VECTORS, 2900) == best(
        scan(VECTORS, QUERIES, 2900), VECTORS, 2900
    )


def test_missing_vectors_are_added_and_cells_kept(tmp_path, monkeypatch):
    first = build(tmp_path, VECTORS[:1000], cells=16)
    trained = []
    real = cell_file.train_cells
    monkeypatch.setattr(cell_file, "train_cells", lambda *a: (trained.append(a[1]), real(*a))[1])
    second = build(tmp_path, VECTORS[:1100], cells=16)
    assert (first.ntotal, second.ntotal, second.nlist, trained) == (1000, 1100, 16, [])
    grown = build(tmp_path, VECTORS)
    assert (grown.ntotal, grown.nlist, trained) == (3000, 128, [128])
    build(tmp_path, VECTORS, retrain=True, cells=128)
    assert trained == [128, 128]
    # Cells that were asked for are not made fewer.
    assert build(tmp_path, VECTORS[:2000], cells=256, retrain=True).nlist == 256
    assert build(tmp_path, VECTORS).nlist == 256


def test_nothing_is_written_where_nothing_is_missing(tmp_path):
    build(tmp_path, VECTORS, cells=16)
    before = (tmp_path / "nearest.faiss").stat().st_mtime_ns
    build(tmp_path, VECTORS, cells=16)
    assert (tmp_path / "nearest.faiss").stat().st_mtime_ns == before


def test_a_new_file_is_read_and_an_old_one_is_not_read_twice(tmp_path, monkeypatch):
    cells = CellFile(tmp_path)
    assert cells.read() is None
    cells.build(VECTORS[:500], cells=4, retrain=False)
    first = cells.read()
    assert cells.read() is first
    build(tmp_path, VECTORS[:600], cells=4)
    assert cells.read().ntotal == 600
    assert first.ntotal == 500
    os.unlink(tmp_path / "nearest.faiss")
    assert cells.read() is None


@pytest.mark.parametrize("cells", [0, -1, 3001])
def test_a_wrong_number_of_cells_is_refused(tmp_path, cells):
    with pytest.raises(ValueError, match=f"cells is {cells}; allowed: 1 to 3000"):
        build(tmp_path, VECTORS, cells=cells)


def test_cells_of_more_vectors_than_there_are(tmp_path):
    index = build(tmp_path, VECTORS, cells=4)
    with pytest.raises(ValueError, match=r"holds 3000 vectors, the index 10. .* Delete it"):
        choose(index, VECTORS[:10], QUERIES, 3, probes=None)


def test_no_queries(tmp_path):
    index = build(tmp_path, VECTORS, cells=4)
    assert choose(index, VECTORS, QUERIES[:0], 3, probes=None).shape == (0, 3)


def test_two_do_not_build_at_once(tmp_path):
    busy = pytest.raises(ValueError, match="another process is building the index")
    with alone(tmp_path / "building.lock", "building the index"), busy:
        build(tmp_path, VECTORS, cells=4)
    assert build(tmp_path, VECTORS, cells=4).ntotal == 3000
    assert isinstance(choose(None, VECTORS, QUERIES, 1, probes=None), np.ndarray)
