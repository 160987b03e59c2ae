"""Arrays as .npy files, written a part at a time so that a file larger than memory will do.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features
"""

import os
from pathlib import Path

import numpy as np

_CHUNK = 4096  # rows at a time


def write_npy(path: str | Path, rows: np.ndarray) -> None:
    """Write an array; a file of that name is replaced once the new one is complete.

    Args:
        path: the file; `np.load(path, mmap_mode="r")` reads it.
        rows: [N, D], also a memory map.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_npy(Path(folder, "a.npy"), np.eye(2))
        ...     np.load(Path(folder, "a.npy"))
        array([[1., 0.],
               [0., 1.]])
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    header = {"descr": rows.dtype.str, "fortran_order": False, "shape": rows.shape}
    try:
        with beside.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for start in range(0, len(rows), _CHUNK):
                stream.write(np.ascontiguousarray(rows[start : start + _CHUNK]).data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
