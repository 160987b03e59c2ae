"""A search index of a million sentences: killed twice while it is made, resumed, and searched.

Aims, for 1,000,000 texts with vectors of 256 features, on one core:

1. Killed with SIGKILL in the middle of the adding and again in the middle of the building, and
   started again with the same call, the index holds every text and every vector once: all of them
   are compared with what was given.
2. The median search for the ten nearest takes less than 50 ms.
3. At least 95 % of the ten nearest that a scan of all vectors finds are found (recall@10).

The vectors are drawn around one centre for each hundred of them, as far from it on average as
the centres are from the origin, so that two of one centre have a cosine of about 0.5 and of two
about 0. The texts are made up. A search is timed from the query vector to the texts; the encoder is
not part of it. "scan" is the exact search through all vectors with the same index; "opening" is
the time from nothing to the first answer in a new process that has imported the library.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import write_json

from kexue.sentences.cells import cell_count
from kexue.sentences.search import SearchIndex
from kexue.sentences.text_store import read_texts
from kexue.sentences.transactions import reading

TESTS = [
    "tests/sentences/test_search.py",
    "tests/sentences/test_vector_store.py",
    "tests/sentences/test_cells.py",
    "tests/sentences/test_cell_file.py",
    "tests/sentences/test_nearest.py",
]
# Nearly all of the time goes to building, which is not claimed to be fast.
TIMED = False

SEED, WIDTH, K = 0, 256, 10


def centres(size: int) -> np.ndarray:
    """Draw one centre for each hundred vectors."""
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((max(1, size // 100), WIDTH), dtype=np.float32)


def draw(middles: np.ndarray, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([SEED, seed])
    noise = rng.standard_normal((count, WIDTH), dtype=np.float32)
    return middles[rng.integers(len(middles), size=count)] + noise


def make_texts(first: int, count: int) -> list[str]:
    return [
        f"第{i}句：this is sentence number {i} of the index" for i in range(first, first + count)
    ]


def fill(folder: Path, size: int, batch: int) -> None:
    """Add what is missing and build: the same call begins and goes on."""
    if not folder.exists():
        SearchIndex.create(folder, dimension=WIDTH)
    index, middles = SearchIndex.open(folder), centres(size)
    for first in range(len(index), size, batch):
        count = min(batch, size - first)
        index.add(make_texts(first, count), draw(middles, count, first), notes={"next": first})
    (folder.parent / "building").touch()
    # The number that is chosen by default, also for sizes that would be scanned.
    index.build(cells=cell_count(size))


def start(folder: Path, size: int, batch: int) -> subprocess.Popen:
    words = [__file__, "--fill", folder, "--size", size, "--batch", batch]
    return subprocess.Popen([sys.executable, *map(str, words)])


def kill_when(process: subprocess.Popen, seen) -> None:
    """Kill a process once something is seen; that it ended by itself is an error."""
    while not seen():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def build_with_kills(folder: Path, size: int, batch: int) -> dict:
    """Kill while adding and while building, and finish."""
    length = lambda: len(SearchIndex.open(folder)) if folder.exists() else 0  # noqa: E731
    began = time.perf_counter()

    def torn() -> int:
        """Count the bytes of a batch that is being written."""
        committed = length()
        if committed < size // 2:
            return 0
        return (folder / "vectors.bin").stat().st_size - committed * WIDTH * 4

    kill_when(start(folder, size, batch), lambda: torn() > 0)
    at_kill, left = length(), torn()
    print(f"killed with {at_kill:,} texts committed and {left:,} bytes of a batch that was not")
    kill_when(start(folder, size, batch), (folder.parent / "building").exists)
    assert not (folder / "nearest.faiss").exists(), "the building was over before the kill"
    print(f"killed while building, with {length():,} texts")
    assert start(folder, size, batch).wait() == 0
    return {
        "killed_at": at_kill,
        "torn_bytes": left,
        "killed_building_at": size,
        "seconds": time.perf_counter() - began,
    }


def compare(folder: Path, size: int, batch: int) -> dict:
    """Compare every text and every vector with what was given."""
    index, middles = SearchIndex.open(folder), centres(size)
    stored, worst, wrong = index.store.vectors(), 0.0, 0
    for first in range(0, size, batch):
        count = min(batch, size - first)
        given = draw(middles, count, first)
        given /= np.linalg.norm(given, axis=1, keepdims=True)
        worst = max(worst, float(np.abs(given - stored[first : first + count]).max()))
        with reading(index.store.rows_file) as connection:
            found = read_texts(connection, range(first, first + count))
        texts = make_texts(first, count)
        wrong += sum(found.get(first + i) != text for i, text in enumerate(texts))
    lost = size - len(index)
    assert (lost, wrong) == (0, 0), f"{lost} texts lost, {wrong} wrong"
    assert worst < 1e-6, f"a vector is {worst} away from what was given"
    return {"texts": len(index), "lost": lost, "wrong_texts": wrong, "largest_difference": worst}


def seconds(index: SearchIndex, queries: np.ndarray, **options) -> tuple[dict, list]:
    """Search one query at a time."""
    wall, cpu, found = [], [], []
    for query in queries:
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        found += index.search(query[None], K, **options)
        cpu.append(time.process_time() - cpu_start)
        wall.append(time.perf_counter() - wall_start)
    figures = {
        "wall": statistics.median(wall),
        "wall_95": float(np.quantile(wall, 0.95)),
        "cpu": statistics.median(cpu),
        "cpu_95": float(np.quantile(cpu, 0.95)),
    }
    return figures, [{hit.id for hit in hits} for hits in found]


def search(folder: Path, size: int, count: int) -> dict:
    """Time searches, and compare them with a scan."""
    queries = draw(centres(size), count, size + 1)
    began = time.perf_counter()
    index = SearchIndex.open(folder)
    index.search(queries[:1], K)
    result = {"opening": time.perf_counter() - began}
    few = queries[: max(10, count // 5)]
    result["scan"], exact = seconds(index, few, exact=True)
    cells = index._cells.read()
    ways = {"default": None} | {f"1/{share}": max(1, cells.nlist // share) for share in (32, 8, 1)}
    for name, probes in ways.items():
        seconds(index, few[:5], probes=probes)
        figures, found = seconds(index, queries, probes=probes)
        shared = [len(a & b) for a, b in zip(exact, found, strict=False)]
        result[name] = {**figures, "recall_at_10": sum(shared) / (K * len(exact))}
        print(
            f"  cells {name:8} median {1e3 * figures['wall']:7.2f} ms "
            f"(95 %: {1e3 * figures['wall_95']:7.2f}), cpu {1e3 * figures['cpu']:7.2f} ms, "
            f"recall@10 {result[name]['recall_at_10']:.4f}"
        )
    print(f"  scan           median {1e3 * result['scan']['wall']:7.2f} ms")
    return {**result, "cells": cells.nlist, "queries": count}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--size", type=int, default=1_000_000, help="texts, at least 10,000")
    parser.add_argument("--batch", type=int, default=10_000, help="texts committed together")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--folder", help="where to put the index; a temporary folder by default")
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.fill is not None:
        fill(options.fill, options.size, options.batch)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as above:
        folder = Path(above) / "index"
        result = {"seed": SEED, "size": options.size, "width": WIDTH}
        result["build"] = build_with_kills(folder, options.size, options.batch)
        result["compared"] = compare(folder, options.size, options.batch)
        print(f"nothing lost, nothing doubled: {json.dumps(result['compared'])}")
        files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
        result["bytes"] = {**files, "all": sum(files.values())}
        print(f"on disk: {json.dumps(result['bytes'])}")
        result["search"] = search(folder, options.size, options.queries)
    write_json(options.json, result)


if __name__ == "__main__":
    main()
