"""Candidates among millions of vectors: cells of neighbours, scanned as four-bit codes by faiss.

The vectors are parted into about 2 sqrt(N) cells around centres; a query looks into the cells whose
centres are nearest. Each pair of features is one of 16 codes, so that 256 features take 64 bytes;
up to 128 features have a code each. The best few hundred are then scored exactly, see
`kexue.sentences.nearest`. Measured on 200,000 vectors of 256 features, eight-bit numbers in place
of the codes find the same vectors, in six times the time and three times the room.

Post: https://kexue.fm/archives/8069
Axes: Q queries, N vectors, D features, C candidates
"""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

_SAMPLE = 64  # vectors a cell to train on
_ROUNDS = 10
_CHUNK = 65_536  # vectors added at a time
_PAIRED = 128  # with more features than this, two of them share a code
_SHARE = 4  # one cell in so many is looked into


def load_faiss() -> Any:
    """Import faiss, or say where it comes from.

    Returns:
        The package.

    Raises:
        ImportError: if it is not installed.

    Example:
        >>> load_faiss().__name__
        'faiss'
    """
    try:
        import faiss
    except ImportError:
        raise ImportError(
            "An index of many vectors needs faiss, which is not installed. "
            'Install it with: pip install "kexue[search]"'
        ) from None
    return faiss


def cell_count(rows: int) -> int:
    """Choose the number of cells, a power of two near 2 sqrt(N).

    Args:
        rows: N, how many vectors there are, at least 1.

    Returns:
        The number.

    Example:
        >>> cell_count(1_000_000)
        2048
    """
    return 2 ** round(math.log2(2 * math.sqrt(rows)))


def train_cells(vectors: np.ndarray, cells: int) -> Any:
    """Find the centres of the cells and the codes on a sample of the vectors.

    Args:
        vectors: [N, D] float32, also a memory map.
        cells: how many, at most N.

    Returns:
        A faiss index without vectors.
    """
    faiss = load_faiss()
    width = _even(vectors.shape[1])
    codes = width if width <= _PAIRED else width // 2
    index = faiss.index_factory(width, f"IVF{cells},PQ{codes}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = _ROUNDS, _SAMPLE
    # Few vectors for a cell are no reason to write to standard error.
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    chosen = np.random.default_rng(0).permutation(len(vectors))[: max(_SAMPLE * cells, 4096)]
    index.train(_padded(vectors[np.sort(chosen)]))
    return index


def extend_cells(index: Any, vectors: np.ndarray) -> None:
    """Add the vectors that an index does not hold yet.

    Args:
        index: from `train_cells` or `read_cells`; it holds the first of the vectors.
        vectors: [N, D] float32, also a memory map.
    """
    for start in range(index.ntotal, len(vectors), _CHUNK):
        index.add(_padded(vectors[start : start + _CHUNK]))


def look_up(index: Any, queries: np.ndarray, count: int, *, probes: int | None) -> np.ndarray:
    """Choose candidates.

    Args:
        index: from `read_cells`.
        queries: [Q, D] float32.
        count: C.
        probes: cells to look into; a quarter of them by default.

    Returns:
        [Q, C] rows in no order, -1 where there are fewer.
    """
    faiss = load_faiss()
    wanted = probes or -(-index.nlist // _SHARE)
    parameters = faiss.SearchParametersIVF(nprobe=min(wanted, index.nlist))
    return index.search(_padded(queries), min(count, index.ntotal), params=parameters)[1]


def write_cells(index: Any, path: Path) -> None:
    """Write an index; a reader finds the old file or the new one, whole.

    Args:
        index: the index.
        path: the file.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        load_faiss().write_index(index, str(beside))
        with beside.open("r+b") as stream:
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_cells(path: Path) -> Any:
    """Read an index.

    Args:
        path: the file.

    Returns:
        The index.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return load_faiss().read_index(str(path))
    except RuntimeError:
        raise ValueError(
            f"{path}: the file is damaged. Delete it, and call build() to make it anew from the "
            "vectors; nothing else is lost."
        ) from None


def _even(dimension: int) -> int:
    return dimension + dimension % 2


def _padded(vectors: np.ndarray) -> np.ndarray:
    """Add a feature of zeros to an odd number of them: codes are for pairs."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    return np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))) if rows.shape[1] % 2 else rows
