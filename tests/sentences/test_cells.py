import sys

import numpy as np
import pytest

faiss = pytest.importorskip("faiss")

from kexue.sentences.cells import (  # noqa: E402
    cell_count,
    extend_cells,
    load_faiss,
    look_up,
    read_cells,
    train_cells,
    write_cells,
)


def clusters(count, width=16, seed=0, noise=0.3):
    """Draw unit vectors around forty centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, width))
    rows = centres[rng.integers(40, size=count)] + noise * rng.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made(vectors, cells=16):
    index = train_cells(vectors, cells)
    extend_cells(index, vectors)
    return index


def found_of_the_ten_nearest(index, vectors, queries, **options):
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    chosen = look_up(index, queries, 200, **options)
    return np.mean([len(set(a) & set(b)) for a, b in zip(best, chosen, strict=True)]) / 10


def test_the_number_of_cells_grows_with_the_root():
    assert [cell_count(n) for n in (1, 100, 65_536, 1_000_000, 4_000_000)] == [
        *(2, 16, 512, 2048, 4096)
    ]
    assert cell_count(16 * 10**6) == 2 * cell_count(4 * 10**6)


@pytest.mark.parametrize("width", [16, 15, 2, 1])
def test_candidates_hold_the_nearest(width):
    vectors, queries = clusters(3000, width), clusters(50, width, seed=1)
    index = made(vectors)
    assert index.ntotal == 3000
    assert found_of_the_ten_nearest(index, vectors, queries, probes=16) > (0.95 if width > 2 else 0)


def test_more_probes_find_more():
    vectors, queries = clusters(4000, noise=2.0), clusters(100, seed=1, noise=2.0)
    index = made(vectors, 64)
    shares = [
        found_of_the_ten_nearest(index, vectors, queries, probes=probes)
        for probes in (1, 4, 16, 64, 1000)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.5
    assert shares[3] == shares[4] > 0.95
    default = found_of_the_ten_nearest(index, vectors, queries, probes=None)
    assert default == found_of_the_ten_nearest(index, vectors, queries, probes=16)


def test_rows_added_later_are_found_with_their_numbers(tmp_path):
    vectors = clusters(3000)
    index = train_cells(vectors[:2000], 16)
    assert index.ntotal == 0
    extend_cells(index, vectors[:2000])
    write_cells(index, tmp_path / "cells")
    index = read_cells(tmp_path / "cells")
    extend_cells(index, vectors)
    extend_cells(index, vectors)
    assert index.ntotal == 3000
    assert (
        (look_up(index, vectors[2990:], 50, probes=16) == np.arange(2990, 3000)[:, None])
        .any(axis=1)
        .all()
    )


def test_the_same_vectors_give_the_same_cells():
    vectors, queries = clusters(2000), clusters(20, seed=1)
    first, second = made(vectors), made(vectors)
    assert np.array_equal(
        look_up(first, queries, 30, probes=2), look_up(second, queries, 30, probes=2)
    )


def test_fewer_rows_than_wanted(tmp_path):
    vectors = clusters(60)
    index = made(vectors, 4)
    assert look_up(index, vectors[:2], 200, probes=4).shape == (2, 60)
    assert (look_up(index, vectors[:2], 60, probes=1) == -1).any()


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "cells"
    write_cells(made(clusters(500)), path)

    def fail(handle):
        assert read_cells(path).ntotal == 500
        raise OSError("no space left")

    monkeypatch.setattr("kexue.sentences.cells.os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_cells(made(clusters(600)), path)
    assert read_cells(path).ntotal == 500
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_damaged_file_says_what_to_do(tmp_path, share):
    path = tmp_path / "cells"
    write_cells(made(clusters(500)), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cells: the file is damaged. Delete it, and call build"):
        read_cells(path)


def test_a_missing_faiss_names_the_extra(monkeypatch):
    assert load_faiss() is faiss
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r'pip install "kexue\[search\]"'):
        load_faiss()
