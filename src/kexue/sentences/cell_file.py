"""The file of cells beside the vectors: made, extended and read again when it has changed.

It may hold fewer vectors than there are, never others: the rest is scanned. So it can be lost or
out of date without harm to what is found.

Post: https://kexue.fm/archives/8069
Axes: Q queries, N vectors, D features, K nearest, C candidates
"""

from pathlib import Path
from typing import Any

import numpy as np

from kexue._check import invalid
from kexue.sentences.cells import (
    cell_count,
    extend_cells,
    look_up,
    read_cells,
    train_cells,
    write_cells,
)
from kexue.sentences.nearest import scan
from kexue.sentences.transactions import alone

SCANNED_BYTES = 2**26  # as many bytes of vectors are read by a scan in some ten milliseconds
_NAME, _LOCK = "nearest.faiss", "building.lock"
_CANDIDATES, _LEAST = 20, 200  # candidates for each wanted vector, and in any case


class CellFile:
    """The cells of an index, or none.

    Args:
        folder: of the index.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     CellFile(Path(folder)).read() is None
        True
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / _NAME, folder / _LOCK
        self._loaded: tuple[tuple[int, int], Any] | None = None

    def build(self, vectors: np.ndarray, *, cells: int | None, retrain: bool) -> None:
        """Make the cells, or add to them what is missing.

        Args:
            vectors: [N, D] float32.
            cells: how many; chosen by default, none for few vectors.
            retrain: find them anew.

        Raises:
            ValueError: if there are fewer vectors than cells, or another process is building.
        """
        if cells is not None and not 1 <= cells <= len(vectors):
            allowed = f"1 to {len(vectors)}, the number of vectors"
            raise invalid("cells", cells, allowed)
        with alone(self._lock, "building the index"):
            present = read_cells(self._path) if self._path.is_file() and not retrain else None
            if cells is None and present is None and vectors.nbytes <= SCANNED_BYTES:
                return
            wanted = cells or max(cell_count(len(vectors)), present.nlist if present else 0)
            if present is None or present.nlist != wanted:
                present = train_cells(vectors, wanted)
            elif present.ntotal >= len(vectors):
                return
            extend_cells(present, vectors)
            write_cells(present, self._path)

    def read(self) -> Any:
        """Give the cells as they are on the disk now, which are read once.

        Returns:
            A faiss index, or None where no cells were made.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        state = (found.st_ino, found.st_mtime_ns)
        loaded = self._loaded
        if loaded is None or loaded[0] != state:
            loaded = (state, read_cells(self._path))
            self._loaded = loaded
        return loaded[1]


def choose(
    cells: Any, vectors: np.ndarray, queries: np.ndarray, k: int, *, probes: int | None
) -> np.ndarray:
    """Choose candidates: from the cells, and the best of the vectors that are not in them.

    Args:
        cells: a faiss index, or None.
        vectors: [N, D] float32.
        queries: [Q, D] float32.
        k: K.
        probes: cells to look into; a quarter of them where it is None.

    Returns:
        [Q, C] rows in no order, at least min(K, N) of them; negative ones are none.

    Raises:
        ValueError: if the cells hold more vectors than there are.

    Example:
        >>> rows = np.eye(8, dtype=np.float32)
        >>> choose(None, rows, rows[3:4], 1, probes=None)
        array([[3]])
    """
    if cells is None or not len(queries):
        return scan(vectors, queries, k)
    if cells.ntotal > len(vectors):
        raise ValueError(
            f"{_NAME} holds {cells.ntotal} vectors, the index {len(vectors)}. Is it a file of "
            "another index? Delete it, and call build()."
        )
    chosen = look_up(cells, queries, max(_LEAST, _CANDIDATES * k), probes=probes)
    if ((chosen >= 0).sum(axis=1) < min(k, cells.ntotal)).any():
        return scan(vectors, queries, k)
    return np.concatenate([chosen, scan(vectors, queries, k, first=cells.ntotal)], axis=1)
