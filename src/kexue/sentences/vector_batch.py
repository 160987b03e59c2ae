"""Vectors on their way into a store, inside the transaction that will make them count.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features
"""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from kexue.sentences.rows import as_rows, refuse_not_finite

CHUNK = 4096  # vectors at a time: memory stays small whatever the batch is


class Batch:
    """Vectors that are being appended; they count once `VectorStore.writing` has ended.

    Args:
        connection: of the transaction; more tables may be written in it.
        stream: the file of vectors.
        rows: vectors committed before.
        dimension: D.
        dtype: of the file.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        stream: BinaryIO,
        rows: int,
        dimension: int,
        dtype: np.dtype,
    ) -> None:
        self.connection = connection
        self.rows = rows
        self._stream, self._dimension, self._dtype = stream, dimension, dtype

    def append(self, vectors: Any) -> None:
        """Write vectors behind the others.

        Args:
            vectors: [N, D] real and finite, also as a memory map.

        Raises:
            ValueError: if they are of another width, or not finite in the store's dtype.
        """
        rows = as_rows(vectors, self._dimension)
        for start in range(0, len(rows), CHUNK):
            with np.errstate(over="ignore"):
                part = np.ascontiguousarray(rows[start : start + CHUNK], dtype=self._dtype)
            refuse_not_finite(part, range(start, start + len(part)))
            self._stream.write(part.data)
        self.rows += len(rows)

    def note(self, notes: Mapping[str, Any]) -> None:
        """Write down facts that count together with the batch.

        Args:
            notes: JSON values by name; a name that is there already gets the new value.
        """
        pairs = [(name, json.dumps(value)) for name, value in notes.items()]
        self.connection.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", pairs)
