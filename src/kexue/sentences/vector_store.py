"""Vectors on disk, one after the other, that a killed run goes on from.

The vectors are written behind the committed ones and flushed to the disk; only then a transaction
of a small SQLite file says that there are more of them, together with notes such as how far an
input has been read. That transaction is the one point at which a batch begins to exist: after a
kill at any moment there is the whole batch with its notes, or nothing of both. What an interrupted
batch left behind the committed vectors is overwritten.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kexue._check import invalid
from kexue.sentences.manifest import new_folder, read_manifest, sync_folder, write_manifest
from kexue.sentences.mapped_file import MappedFile
from kexue.sentences.npy_file import write_npy
from kexue.sentences.rows import whole_number
from kexue.sentences.transactions import reading, writing
from kexue.sentences.vector_batch import Batch

KIND, VERSION = "kexue vector store", 1
_MANIFEST, _VECTORS, _ROWS = "vectors.json", "vectors.bin", "rows.sqlite"
_DTYPES = ("float32", "float16")


class VectorStore:
    """A folder of vectors that can be appended to, killed at any moment, and mapped into memory.

    Args:
        folder: made by `VectorStore.create`, or opened by `VectorStore.open`.
        dimension: D.
        dtype: of the vectors on disk.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as above:
        ...     store = VectorStore.create(Path(above, "vectors"), dimension=2)
        ...     _ = store.append(np.ones((3, 2)), notes={"lines": 3})
        ...     again = VectorStore.open(Path(above, "vectors"))
        ...     len(again), again.notes(), again.vectors().sum().item()
        (3, {'lines': 3}, 6.0)
    """

    def __init__(self, folder: Path, dimension: int, dtype: str) -> None:
        self.folder, self.dimension, self.dtype = folder, dimension, np.dtype(dtype)
        self._mapped = MappedFile(folder / _VECTORS, dimension, self.dtype)

    @property
    def rows_file(self) -> Path:
        """The SQLite file whose transactions count."""
        return self.folder / _ROWS

    @classmethod
    def create(cls, folder: str | Path, *, dimension: int, dtype: str = "float32") -> "VectorStore":
        """Make an empty store.

        Args:
            folder: missing or empty.
            dimension: D, the width of the vectors, at least 1.
            dtype: "float32", or "float16" for half the room.

        Returns:
            The store.

        Raises:
            ValueError: if the folder is in use, or an option is not allowed.
        """
        dimension = whole_number("dimension", dimension)
        if dtype not in _DTYPES:
            raise invalid("dtype", dtype, " or ".join(map(repr, _DTYPES)))
        with new_folder(folder) as inside:
            cls.lay_out(inside, dimension, dtype)
        return cls.open(folder)

    @classmethod
    def lay_out(cls, folder: Path, dimension: int, dtype: str) -> "VectorStore":
        """Write an empty store into a folder that is being made.

        Args:
            folder: the folder.
            dimension: D.
            dtype: of the vectors.

        Returns:
            The store.
        """
        (folder / _VECTORS).touch()
        (folder / _ROWS).touch()
        with writing(folder / _ROWS) as connection:
            connection.execute("CREATE TABLE state (rows INTEGER NOT NULL)")
            connection.execute("INSERT INTO state VALUES (0)")
            connection.execute("CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        write_manifest(folder / _MANIFEST, KIND, VERSION, {"dimension": dimension, "dtype": dtype})
        sync_folder(folder)
        return cls(folder, dimension, dtype)

    @classmethod
    def open(cls, folder: str | Path) -> "VectorStore":
        """Open a store; nothing is read but its manifest.

        Args:
            folder: the folder.

        Returns:
            The store.

        Raises:
            ValueError: if it is missing, something else, damaged, or from a newer version.
        """
        found = read_manifest(folder, _MANIFEST, KIND, VERSION)
        store = cls(Path(folder), found["dimension"], found["dtype"])
        store.vectors()
        return store

    def __len__(self) -> int:
        with reading(self.rows_file) as connection:
            return connection.execute("SELECT rows FROM state").fetchone()[0]

    def notes(self) -> dict[str, Any]:
        """Read the notes.

        Returns:
            JSON values by name.
        """
        with reading(self.rows_file) as connection:
            found = connection.execute("SELECT name, value FROM notes").fetchall()
        return {name: json.loads(value) for name, value in found}

    def vectors(self) -> np.ndarray:
        """Map the committed vectors into memory.

        Returns:
            [N, D] read-only array; it keeps its length when more are appended.
        """
        return self._mapped.read(len(self))

    def append(self, vectors: Any, *, notes: Mapping[str, Any] | None = None) -> int:
        """Append vectors as one batch; when this returns they outlive a loss of power.

        Args:
            vectors: [N, D] array, memory map or tensor, real and finite.
            notes: JSON values by name that count together with the batch.

        Returns:
            How many vectors there are now.

        Raises:
            ValueError: if the vectors do not fit; nothing is appended then.
        """
        with self.writing() as batch:
            batch.append(vectors)
            batch.note(notes or {})
        return batch.rows

    @contextmanager
    def writing(self) -> Iterator[Batch]:
        """Append in one transaction, in which other tables may be written too.

        Yields:
            What takes vectors and notes; both count once the block has ended well.
        """
        with writing(self.rows_file) as connection:
            rows = connection.execute("SELECT rows FROM state").fetchone()[0]
            with (self.folder / _VECTORS).open("r+b") as stream:
                # Cuts off whatever an interrupted batch left behind.
                stream.seek(stream.truncate(rows * self.dimension * self.dtype.itemsize))
                batch = Batch(connection, stream, rows, self.dimension, self.dtype)
                yield batch
                stream.flush()
                os.fsync(stream.fileno())
            connection.execute("UPDATE state SET rows = ?", (batch.rows,))

    def write_npy(self, path: str | Path) -> None:
        """Write all vectors as one .npy file, which replaces an old one when it is complete.

        Args:
            path: of the file.
        """
        write_npy(path, self.vectors())
