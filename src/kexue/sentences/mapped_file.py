"""A growing file of vectors, mapped into memory once for each length.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features
"""

from pathlib import Path

import numpy as np


class MappedFile:
    """Vectors of one width and kind that lie in a file one after the other.

    Args:
        path: the file.
        dimension: D.
        dtype: of the vectors.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.bin")
        ...     _ = path.write_bytes(np.arange(6.0).tobytes())
        ...     MappedFile(path, 2, np.dtype("float64")).read(3)[1].tolist()
        [2.0, 3.0]
    """

    def __init__(self, path: Path, dimension: int, dtype: np.dtype) -> None:
        self._path, self._dimension, self._dtype = path, dimension, dtype
        self._kept: tuple[tuple[int, int], np.ndarray] | None = None

    def read(self, rows: int) -> np.ndarray:
        """Map the first vectors.

        Args:
            rows: N.

        Returns:
            [N, D] read-only array.

        Raises:
            ValueError: if the file is shorter than that.
        """
        needed = rows * self._dimension * self._dtype.itemsize
        found = self._path.stat() if self._path.is_file() else None
        size = 0 if found is None else found.st_size
        if size < needed:
            raise ValueError(
                f"{self._path}: {size} bytes, but {rows} vectors need {needed}. "
                "The file was cut short; take it from a backup, or make the folder anew."
            )
        if found is None or not needed:
            return np.zeros((rows, self._dimension), dtype=self._dtype)
        state, kept = (found.st_ino, rows), self._kept
        if kept is None or kept[0] != state:
            # A new map for each search would find its pages again one by one.
            shape = (rows, self._dimension)
            mapped = np.memmap(self._path, dtype=self._dtype, mode="r", shape=shape)
            self._kept = kept = (state, np.asarray(mapped))
        return kept[1]
