"""What a search index is like: its metric, its affine map, its facts; kept beside the vectors.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features given, E features kept
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kexue._check import invalid
from kexue.sentences.linear_map import AffineMap, affine_map
from kexue.sentences.manifest import new_folder, read_manifest, write_manifest
from kexue.sentences.npy_file import write_npy
from kexue.sentences.rows import refuse_not_finite, unit_rows, whole_number
from kexue.sentences.text_store import create_texts
from kexue.sentences.transactions import writing
from kexue.sentences.vector_store import VectorStore

KIND, VERSION = "kexue search index", 1
_MANIFEST = "search.json"
_MATRIX, _BIAS = "transform_matrix.npy", "transform_bias.npy"
_METRICS = ("cosine", "dot")


@dataclass(frozen=True)
class SearchFormat:
    """What an index is like.

    Attributes:
        dimension: D.
        metric: "cosine" or "dot".
        unique: whether a text is there once only.
        transform: the affine map, or None.
        facts: JSON values of the user.

    Example:
        >>> SearchFormat(2, "cosine").prepare(np.array([[0.0, 5.0]]), [0])
        array([[0., 1.]], dtype=float32)
    """

    dimension: int
    metric: str
    unique: bool = False
    transform: AffineMap | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def checked(
        cls,
        *,
        dimension: int,
        metric: str,
        transform: Any,
        unique: bool,
        facts: Mapping[str, Any] | None,
    ) -> "SearchFormat":
        """Check what a user asks for.

        Args:
            dimension: D.
            metric: "cosine" or "dot".
            transform: see `kexue.sentences.linear_map.affine_map`, or None.
            unique: whether a text may be there once only.
            facts: JSON values.

        Returns:
            The format.

        Raises:
            ValueError: if an option is not allowed.
        """
        dimension = whole_number("dimension", dimension)
        if metric not in _METRICS:
            raise invalid("metric", metric, " or ".join(map(repr, _METRICS)))
        mapped = None if transform is None else affine_map(transform, dimension)
        return cls(dimension, metric, bool(unique), mapped, dict(facts or {}))

    @property
    def stored_dimension(self) -> int:
        """E, the width of the vectors on disk."""
        return self.dimension if self.transform is None else self.transform.matrix.shape[1]

    def prepare(self, rows: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        """Make of vectors as given what is stored and compared.

        Args:
            rows: [N, D] real.
            numbers: [N] what they are called in an error.

        Returns:
            [N, E] float32: mapped, and for the cosine of length one.

        Raises:
            ValueError: if they are not finite, or too large for float32.
        """
        refuse_not_finite(rows, numbers)
        mapped = rows if self.transform is None else self.transform.apply(rows)
        with np.errstate(over="ignore"):
            kept = (unit_rows(mapped) if self.metric == "cosine" else mapped).astype(np.float32)
        refuse_not_finite(kept, numbers)
        return kept

    def rounded(self, score: float) -> float:
        """Keep a cosine from leaving -1 to 1 by a rounding error.

        Args:
            score: as computed.

        Returns:
            The score.
        """
        return max(-1.0, min(1.0, score)) if self.metric == "cosine" else score


def lay_out_index(folder: str | Path, form: SearchFormat) -> None:
    """Make the folder of an empty index.

    Args:
        folder: missing or empty.
        form: what the index is like.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as above:
        ...     lay_out_index(Path(above, "index"), SearchFormat(2, "dot"))
        ...     read_index_format(Path(above, "index")).metric
        'dot'
    """
    with new_folder(folder) as inside:
        store = VectorStore.lay_out(inside, form.stored_dimension, "float32")
        with writing(store.rows_file) as connection:
            create_texts(connection, unique=form.unique)
        if form.transform is not None:
            write_npy(inside / _MATRIX, form.transform.matrix)
            write_npy(inside / _BIAS, form.transform.bias)
        fields = {
            "dimension": form.dimension,
            "metric": form.metric,
            "unique": form.unique,
            "transform": form.transform is not None,
            "facts": form.facts,
        }
        write_manifest(inside / _MANIFEST, KIND, VERSION, fields)


def read_index_format(folder: str | Path) -> SearchFormat:
    """Read what an index is like.

    Args:
        folder: the folder.

    Returns:
        The format.

    Raises:
        ValueError: if it is missing, something else, damaged, or from a newer version.
    """
    found = read_manifest(folder, _MANIFEST, KIND, VERSION)
    transform = None
    try:
        if found.pop("transform"):
            parts = (np.load(Path(folder, name)) for name in (_MATRIX, _BIAS))
            transform = affine_map(tuple(parts), found["dimension"])
        return SearchFormat(**found, transform=transform)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: the {KIND} is damaged: {error}. Make it anew.") from None
