"""Vectors of whole files of texts.

Each file of texts becomes one .npy file beside a list of all of them. A killed run goes on: what is
done of a file is in a `VectorStore` until the file is whole.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kexue._check import invalid
from kexue.data.unread_lines import ReadingPlace, unread_stretches
from kexue.sentences.npy_file import write_npy
from kexue.sentences.vector_store import VectorStore
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.embedding_options import LIST, STRETCH, EmbeddingOptions
from kexue.tasks.engines import map_files
from kexue.training.atomic import write_atomically


def embed_files(
    files: Sequence[str | Path],
    folder: str | Path,
    *,
    options: EmbeddingOptions,
    engine: str = "local",
    workers: int = 2,
    tell: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Write the vectors of files of texts.

    Args:
        files: a text a line, or JSON lines; plain or compressed.
        folder: gets a .npy file for each, and vectors.json, which names them in order.
        options: what vectors are made with.
        engine: "local" or "ray", see `map_files`.
        workers: of Ray.
        tell: told now and then how many more texts are done.

    Returns:
        For each file its name as "file", that of its "vectors", and the number of "texts".

    Raises:
        ValueError: if the folder holds vectors that were made otherwise, or a file is broken.
    """
    out = Path(folder)
    paths = [str(Path(file).resolve()) for file in files]
    if len(set(paths)) < len(paths):
        raise invalid("files", "the same file twice", "different files")
    plan = {"options": asdict(options), "files": paths}
    _begin(out, plan)
    work = {"folder": str(out), "options": asdict(options), "count": len(paths)}
    if engine == "local":
        work["tell"] = tell
    rows = []
    for row in map_files(FileEmbedder, work, paths, engine=engine, workers=workers):
        rows.append({"file": paths[row["number"]], **{k: row[k] for k in ("vectors", "texts")}})
        if engine != "local":
            tell(row["texts"])
    write_atomically(out / LIST, json.dumps({**plan, "parts": rows}, ensure_ascii=False) + "\n")
    return rows


def _begin(out: Path, plan: dict[str, Any]) -> None:
    """Refuse to mix vectors of two kinds in one folder."""
    listed = out / LIST
    if listed.is_file():
        old = json.loads(listed.read_text("utf-8"))
        # Further files may follow those that are done.
        begun = old.get("files", [])
        if old.get("options") != plan["options"] or plan["files"][: len(begun)] != begun:
            fix = f"Its {LIST} says how they were made; choose another folder."
            raise invalid("out", str(out), "a folder without other vectors", fix)
    elif out.is_dir() and any(out.iterdir()):
        raise invalid("out", str(out), "an empty folder, or one with vectors", "Choose another.")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(listed, json.dumps(plan, ensure_ascii=False) + "\n")


class FileEmbedder:
    """A worker that writes the vectors of a file.

    Args:
        folder: where to.
        options: of `EmbeddingOptions`.
        count: how many files there are, for their numbers.
        tell: told how many more texts are done.

    Example:
        >>> FileEmbedder("vectors", {"model": "mini"}, 3).options.model
        'mini'
    """

    def __init__(
        self,
        folder: str,
        options: dict[str, Any],
        count: int,
        *,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.folder, self.options = Path(folder), EmbeddingOptions(**options)
        self.digits, self.tell = len(str(count - 1)), tell
        self.encoder: SentenceEncoder | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Write the vectors of the file of a row, or what is missing of them."""
        stem = Path(row["file"]).name.split(".")[0]
        name = f"{row['number']:0{self.digits}d}-{stem}.npy"
        whole, partly = self.folder / name, self.folder / f".{name}.partial"
        if whole.is_file() and not partly.exists():
            done = len(np.load(whole, mmap_mode="r"))
            self.tell(done)
            return {"vectors": name, "texts": done}
        if self.encoder is None:
            model, pooling = self.options.model, self.options.pooling
            self.encoder = SentenceEncoder.from_pretrained(model, pooling=pooling)
        store = self._store(partly)
        self._fill(store, row["file"])
        write_npy(whole, store.vectors())
        shutil.rmtree(partly)
        return {"vectors": name, "texts": len(np.load(whole, mmap_mode="r"))}

    def _store(self, partly: Path) -> VectorStore:
        if partly.is_dir() and any(partly.iterdir()):
            return VectorStore.open(partly)
        return VectorStore.create(
            partly, dimension=self.encoder.dimension, dtype=self.options.dtype
        )

    def _fill(self, store: VectorStore, file: str) -> None:
        size = self.options.batch_size
        place = ReadingPlace(**store.notes().get("place", {}))
        if place.texts:
            self.tell(place.texts)
        for texts, reached in unread_stretches(file, place, STRETCH * size):
            vectors = self.encoder(texts, batch_size=size, normalize=self.options.normalize)
            store.append(vectors, notes={"place": reached.to_dict()})
            self.tell(len(texts))
