"""What whitening needs of files of vectors or texts: one map over the files, one reduce.

Post: https://kexue.fm/archives/8069
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kexue._check import invalid
from kexue.sentences.moments import Moments
from kexue.tasks.embedding_options import LIST, STRETCH, EmbeddingOptions
from kexue.tasks.engines import map_files

if TYPE_CHECKING:
    from kexue.tasks.embedding import SentenceEncoder


def read_vectors(file: str | Path) -> np.ndarray:
    """Map the vectors of a file into memory.

    Args:
        file: a .npy file.

    Returns:
        [N, D], read-only.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> read_vectors("none.npy")
        Traceback (most recent call last):
        ValueError: none.npy: no .npy file of vectors [N, D]. `numpy.save` and `kexue...
    """
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
        right = found.ndim == 2 and np.issubdtype(found.dtype, np.floating)
    except (OSError, ValueError, AttributeError, EOFError):
        right = False
    if not right:
        fix = "`numpy.save` and `kexue embed` write such files."
        raise ValueError(f"{file}: no .npy file of vectors [N, D]. {fix}")
    return found


def vector_files(paths: Sequence[str | Path]) -> list[str]:
    """Find the .npy files of vectors.

    Args:
        paths: .npy files, or folders that `embed_files` wrote.

    Returns:
        The files, in order.

    Raises:
        ValueError: if one is missing or something else.
    """
    found: list[str] = []
    for path in map(Path, paths):
        listed = path / LIST
        if listed.is_file():
            parts = json.loads(listed.read_text("utf-8")).get("parts")
            if parts is None:
                fix = "Run `kexue embed` again with the same arguments: it goes on."
                raise invalid("vectors", str(path), "a folder that is complete", fix)
            found += [str(path / part["vectors"]) for part in parts]
        elif path.is_file():
            read_vectors(path)
            found.append(str(path))
        else:
            raise invalid("vectors", str(path), ".npy files, or folders of `kexue embed`")
    return found


def file_moments(
    files: Sequence[str | Path],
    *,
    options: EmbeddingOptions | None = None,
    engine: str = "local",
    workers: int = 2,
    tell: Callable[[int], None] = lambda _: None,
) -> Moments:
    """Collect what whitening needs of files: one map, one reduce.

    Args:
        files: .npy files of vectors; or, with options, files of texts.
        options: how texts become vectors.
        engine: "local" or "ray", see `map_files`. The result does not depend on it.
        workers: of Ray.
        tell: told the number of vectors after each file.

    Returns:
        The moments of all vectors.

    Raises:
        ValueError: if a file is broken or has other features than the first.
    """
    work = {"options": None if options is None else asdict(options)}
    whole = Moments()
    for row in map_files(FileMoments, work, list(map(str, files)), engine=engine, workers=workers):
        with np.load(io.BytesIO(row["moments"])) as arrays:
            part = Moments.from_arrays(arrays)
        try:
            whole.merge(part)
        except ValueError as error:
            raise ValueError(f"{files[row['number']]}: {error}") from None
        tell(part.count)
    return whole


class FileMoments:
    """A worker that collects the moments of a file.

    Args:
        options: of `EmbeddingOptions`, where files hold texts; None where they hold vectors.

    Example:
        >>> FileMoments(None).options is None
        True
    """

    def __init__(self, options: dict[str, Any] | None) -> None:
        self.options = None if options is None else EmbeddingOptions(**options)
        self.encoder: SentenceEncoder | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Give the moments of the file of a row as bytes."""
        moments = Moments()
        for part in self._vectors(row["file"]):
            try:
                moments.add(part)
            except ValueError as error:
                raise ValueError(f"{row['file']}: {error}") from None
        written = io.BytesIO()
        np.savez(written, **moments.to_arrays())
        return {"number": row["number"], "moments": written.getvalue()}

    def _vectors(self, file: str) -> Iterator[np.ndarray]:
        if self.options is None:
            yield read_vectors(file)
            return
        # Seconds of imports that a worker on vectors has no use for
        from kexue.data.unread_lines import ReadingPlace, unread_stretches
        from kexue.tasks.embedding import SentenceEncoder

        if self.encoder is None:
            model, pooling = self.options.model, self.options.pooling
            self.encoder = SentenceEncoder.from_pretrained(model, pooling=pooling)
        size = self.options.batch_size
        for texts, _ in unread_stretches(file, ReadingPlace(), STRETCH * size):
            yield self.encoder(texts, batch_size=size, normalize=self.options.normalize)
