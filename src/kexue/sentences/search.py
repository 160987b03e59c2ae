"""A search index on disk: texts with their vectors, appended to in batches that survive a kill.

Vectors lie in one file that is mapped, texts in an SQLite file, and a transaction of the latter is
the moment at which a batch begins to exist, see `kexue.sentences.vector_store`. Candidates come
from cells (`kexue.sentences.cells`) once `build` has made them; vectors that were added since, and
small sets altogether, are scanned. All candidates are scored exactly.

A whitening given as `transform` is kept as an affine map and applied to vectors and queries: fewer
features make the index smaller and faster, which is the point of whitening with k.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features, Q queries, K nearest
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kexue.sentences.cell_file import CellFile, choose
from kexue.sentences.nearest import rescore
from kexue.sentences.rows import as_rows, whole_number
from kexue.sentences.search_format import SearchFormat, lay_out_index, read_index_format
from kexue.sentences.search_hit import SearchHit
from kexue.sentences.text_store import check_texts, fresh_texts, insert_texts, read_texts
from kexue.sentences.transactions import reading
from kexue.sentences.vector_batch import CHUNK
from kexue.sentences.vector_store import VectorStore


class SearchIndex:
    """Texts and their vectors in a folder, to be searched by vectors.

    Made by `SearchIndex.create` or `SearchIndex.open`. It can be read by any number of processes
    while one writes; nothing has to be closed.

    Args:
        store: the vectors and the texts.
        form: what the index is like.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as above:
        ...     index = SearchIndex.create(Path(above, "index"), dimension=2)
        ...     _ = index.add(["east", "north"], [[1.0, 0.0], [0.0, 1.0]])
        ...     print(index.search([[3.0, 4.0]], 1)[0][0])
        0.8000 north
    """

    def __init__(self, store: VectorStore, form: SearchFormat) -> None:
        self.store, self.form = store, form
        self._cells = CellFile(store.folder)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        dimension: int,
        metric: str = "cosine",
        transform: Any = None,
        unique: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> "SearchIndex":
        """Make an empty index.

        Args:
            folder: missing or empty.
            dimension: D, the width of the vectors that will be given.
            metric: "cosine", or "dot" for the inner product.
            transform: an affine map for vectors and queries, such as a fitted `Whitening`: an
                object with `as_linear()`, a `torch.nn.Linear`, or (matrix [D, E], bias [E]).
            unique: leave out texts that are there already.
            facts: JSON values to keep, such as the name of the model.

        Returns:
            The index.

        Raises:
            ValueError: if the folder is in use, or an option is not allowed.
        """
        form = SearchFormat.checked(
            dimension=dimension, metric=metric, transform=transform, unique=unique, facts=facts
        )
        lay_out_index(folder, form)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "SearchIndex":
        """Open an index; vectors are mapped, not read, so that a large one opens at once.

        Args:
            folder: the folder.

        Returns:
            The index.

        Raises:
            ValueError: if it is missing, something else, damaged, or from a newer version.
        """
        form = read_index_format(folder)
        return cls(VectorStore.open(folder), form)

    def __len__(self) -> int:
        return len(self.store)

    @property
    def facts(self) -> dict[str, Any]:
        """What was given to `create` to be kept."""
        return dict(self.form.facts)

    def add(
        self, texts: Sequence[str], vectors: Any, *, notes: Mapping[str, Any] | None = None
    ) -> int:
        """Append texts as one batch; when this returns they outlive a kill and a loss of power.

        Args:
            texts: N texts.
            vectors: [N, D] array, memory map or tensor, real and finite.
            notes: JSON values that count together with the batch, such as how far a file has been
                read; `index.store.notes()` gives them back.

        Returns:
            How many texts were added; fewer than N only where the index is of unique texts.

        Raises:
            ValueError: if the texts or vectors do not fit; nothing is added then.
        """
        rows = as_rows(vectors, self.form.dimension)
        texts = check_texts(texts, len(rows))
        with self.store.writing() as batch:
            chosen = list(range(len(texts)))
            if self.form.unique:
                chosen = fresh_texts(batch.connection, texts)
            insert_texts(batch.connection, batch.rows, [texts[at] for at in chosen])
            for start in range(0, len(chosen), CHUNK):
                part = chosen[start : start + CHUNK]
                batch.append(self.form.prepare(rows[part], part))
            batch.note(notes or {})
        return len(chosen)

    def build(self, *, cells: int | None = None, retrain: bool = False) -> None:
        """Make search in many vectors fast; needed again only after many more were added.

        Up to 64 MiB of vectors are scanned and nothing is made. Where cells are there, the new
        vectors are added to them; they are found anew once their number is four times as large.

        Args:
            cells: how many cells; about 2 sqrt(N) by default.
            retrain: find the cells anew, as for vectors of another kind than the first ones.

        Raises:
            ImportError: if faiss is not installed.
            ValueError: if there are fewer vectors than cells, or another process is building.
        """
        self._cells.build(self.store.vectors(), cells=cells, retrain=retrain)

    def search(
        self, vectors: Any, k: int, *, probes: int | None = None, exact: bool = False
    ) -> list[list[SearchHit]]:
        """Find the nearest texts.

        Args:
            vectors: [Q, D] queries.
            k: how many texts for each query, at least 1.
            probes: cells to look into; a quarter of them by default. More find more.
            exact: scan all vectors instead.

        Returns:
            For each query the hits, best first; min(k, N) of them.

        Raises:
            ImportError: if cells were made and faiss is not installed.
            ValueError: if the queries do not fit or an option is not allowed.
        """
        k = whole_number("k", k)
        probes = None if probes is None else whole_number("probes", probes)
        rows = as_rows(vectors, self.form.dimension)
        queries = self.form.prepare(rows, range(len(rows)))
        # Cells first: another process may add vectors and build in between.
        cells = None if exact else self._cells.read()
        stored = self.store.vectors()
        candidates = choose(cells, stored, queries, k, probes=probes)
        found = rescore(stored, queries, candidates, k)
        with reading(self.store.rows_file) as connection:
            texts = read_texts(connection, [row for each in found for row in each.rows.tolist()])
        return [
            [SearchHit(texts[row], self.form.rounded(score), row) for row, score in each.pairs()]
            for each in found
        ]
