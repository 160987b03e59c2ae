"""The 10 nearest documents by WMD and WRD: staged bounds against solving every problem.

Aims, for 3,000 documents (docstrings of numpy, scipy and scikit-learn without stop words, LSA
vectors of 200 dimensions), one thread, CPU time of a query:

1. The result is that of brute force on every query that is run: the distances to 1e-9, and the
   documents but for the order of equal distances.
2. At least 9 times faster than brute force with POT (`cdist` and `ot.emd2` for each document), and
   at least 20 times faster than gensim's `wmdistance`, whether the vectors are of length one (as
   gensim makes them by default) or as they come. gensim has no WRD.

Brute force computes the distances to all documents, for every query. What is not the same for all:
"kexue" answers all queries in one call, and the preparation of the documents is part of its time;
"kexue, one query" is a call for one query, which pays the preparation alone.
"""

import argparse
import ast
import importlib.util
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from timing import one_thread, write_json

from kexue.sentences.transport_search import NearestDocuments, nearest_documents

TESTS = [
    "tests/sentences/test_transport.py",
    "tests/sentences/test_transport_solver.py",
    "tests/sentences/test_transport_pruning.py",
    "tests/sentences/test_transport_search.py",
]

PACKAGES = ("numpy", "scipy", "sklearn")
FEWEST, MOST = 20, 150  # distinct words of a document


def docstrings() -> Iterator[str]:
    """Read the docstrings of installed packages, without importing them."""
    for package in PACKAGES:
        root = Path(importlib.util.find_spec(package).submodule_search_locations[0])
        for file in sorted(root.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    yield ast.get_docstring(node) or ""


def load(count: int, width: int, seed: int) -> tuple[csr_array, np.ndarray]:
    """Make counts of words [N, V] and vectors of words [V, D]."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    texts = sorted(set(docstrings()))
    random.Random(seed).shuffle(texts)
    counter = CountVectorizer(stop_words="english", token_pattern=r"[a-z]{2,}")
    counts = counter.fit_transform(texts)
    sizes = np.diff(counts.indptr)
    counts = counts[np.flatnonzero((sizes >= FEWEST) & (sizes <= MOST))[:count]]
    counts = counts[:, np.flatnonzero(counts.sum(0).A1)]
    if counts.shape[0] < count:
        raise SystemExit(f"There are {counts.shape[0]} docstrings, not {count}.")
    weights = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    svd = TruncatedSVD(width, random_state=seed).fit(weights)
    # gensim keeps float32: all methods get the same numbers.
    vectors = (svd.components_.T * svd.singular_values_).astype(np.float32)
    return csr_array(counts), vectors.astype(np.float64)


def words_of(bags: csr_array, row: int) -> tuple[np.ndarray, np.ndarray]:
    span = slice(*bags.indptr[row : row + 2])
    return bags.indices[span], bags.data[span]


def pot(bags: csr_array, vectors: np.ndarray, distance: str) -> Callable[[int], np.ndarray]:
    """Distances from a query to all documents with POT, as its documentation shows."""
    import ot

    metric = "euclidean" if distance == "wmd" else "cosine"
    norms = np.ones(len(vectors)) if distance == "wmd" else np.linalg.norm(vectors, axis=1)
    documents = []
    for row in range(bags.shape[0]):
        words, counts = words_of(bags, row)
        weights = counts * norms[words]
        documents.append((vectors[words], weights / weights.sum()))

    def distances(query: int) -> np.ndarray:
        x, p = documents[query]
        return np.array([ot.emd2(p, q, cdist(x, y, metric)) for y, q in documents])

    return distances


def gensim(bags: csr_array, vectors: np.ndarray) -> Callable[[int], np.ndarray]:
    """Distances from a query to all documents with gensim, vectors left as they are."""
    from gensim.models import KeyedVectors

    names = [f"w{word}" for word in range(len(vectors))]
    model = KeyedVectors(vectors.shape[1])
    model.add_vectors(names, vectors.astype(np.float32))
    documents = []
    for row in range(bags.shape[0]):
        words, counts = words_of(bags, row)
        documents.append([names[word] for word in np.repeat(words, counts)])

    def distances(query: int) -> np.ndarray:
        mine = documents[query]
        return np.array([model.wmdistance(mine, other, norm=False) for other in documents])

    return distances


def timed(function: Callable[[], object]) -> tuple[object, float]:
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def check(found: NearestDocuments, row: int, exact: np.ndarray) -> bool:
    """Compare with all distances of a query; tell whether the documents come in the same order."""
    k = found.indices.shape[1]
    nearest = np.argsort(exact, kind="stable")[:k]
    assert np.abs(found.distances[row] - exact[nearest]).max() < 1e-9, "other distances"
    assert np.abs(found.distances[row] - exact[found.indices[row]]).max() < 1e-9, "other documents"
    assert len(set(found.indices[row].tolist())) == k, "a document twice"
    return bool((found.indices[row] == nearest).all())


def setting(bags: csr_array, vectors: np.ndarray, distance: str, rows: np.ndarray, k: int) -> dict:
    """Time one distance on one kind of vectors; the methods take turns with each query."""
    peers = {"POT": pot(bags, vectors, distance)}
    if distance == "wmd":
        peers["gensim"] = gensim(bags, vectors)

    def ours(queries: np.ndarray) -> NearestDocuments:
        return nearest_documents(bags[queries], bags, k, vectors=vectors, distance=distance)

    ours(rows[:1])
    seconds = {name: [] for name in ("kexue", "kexue, one query", *peers)}
    same = 0
    for row, query in enumerate(rows):
        if row % 5 == 0:
            found, spent = timed(lambda: ours(rows))
            seconds["kexue"].append(spent / len(rows))
        seconds["kexue, one query"].append(timed(lambda q=query: ours(np.array([q])))[1])
        for name, peer in peers.items():
            exact, spent = timed(lambda q=query, peer=peer: peer(q))
            seconds[name].append(spent)
            if name == "POT":
                same += check(found, row, exact)
            else:
                error = np.abs(found.distances[row] - exact[found.indices[row]]).max()
                assert error < 1e-6, f"{name} differs by {error}"
    # The mean, because queries differ: what all of them take together.
    cpu = {name: statistics.mean(values) for name, values in seconds.items()}
    cpu["kexue"] = statistics.median(seconds["kexue"])
    return {
        "cpu_per_query": cpu,
        "times_faster": {name: cpu[name] / cpu["kexue"] for name in peers},
        "queries_equal_to_brute_force": len(rows),
        "queries_in_the_same_order": same,
        "solved_per_query": float(found.solved.mean()),
        "solved_most": int(found.solved.max()),
    }


def show(title: str, figures: dict) -> None:
    print(f"{title}: {figures['solved_per_query']:.0f} problems solved of each query's")
    for name, seconds in figures["cpu_per_query"].items():
        ratio = seconds / figures["cpu_per_query"]["kexue"]
        print(f"  {name:18} {seconds * 1e3:9.1f} ms a query {ratio:7.1f} x")
    equal, order = figures["queries_equal_to_brute_force"], figures["queries_in_the_same_order"]
    print(f"  equal to brute force on {equal} queries, {order} of them in the same order")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    # gensim and scikit-learn warn of the NumPy to come.
    warnings.simplefilter("ignore", DeprecationWarning)
    bags, vectors = load(options.documents, options.width, options.seed)
    rows = np.random.default_rng(options.seed).choice(len(bags.indptr) - 1, options.queries, False)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = unit.astype(np.float32).astype(np.float64)
    result = {
        "seed": options.seed,
        "documents": bags.shape[0],
        "vocabulary": bags.shape[1],
        "mean_words": bags.nnz / bags.shape[0],
        "queries": options.queries,
        "k": options.k,
        "settings": {},
    }
    print(f"{bags.shape[0]} documents, {result['mean_words']:.0f} distinct words each")
    with one_thread():
        for title, table, distance in (
            ("WMD, unit vectors", unit, "wmd"),
            ("WMD", vectors, "wmd"),
            ("WRD", vectors, "wrd"),
        ):
            figures = setting(bags, table, distance, rows, options.k)
            result["settings"][title] = figures
            show(title, figures)
    write_json(options.json, result)


if __name__ == "__main__":
    main()
