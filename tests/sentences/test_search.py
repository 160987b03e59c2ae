import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import kexue
from kexue.sentences import cell_file, search, vector_store
from kexue.sentences.search import SearchHit, SearchIndex
from kexue.sentences.vector_store import VectorStore

RNG = np.random.default_rng(0)
TEXTS = [f"text {i}" for i in range(500)]
VECTORS = RNG.normal(size=(500, 8)).astype(np.float32)
QUERIES = RNG.normal(size=(20, 8)).astype(np.float32)


def make(tmp_path, **options):
    return SearchIndex.create(tmp_path / "index", dimension=8, **options)


def brute_force(vectors, queries, k, metric="cosine"):
    """By the definition, one pair at a time."""
    found = []
    for q in np.asarray(queries, dtype=np.float64):
        scores = []
        for row, v in enumerate(np.asarray(vectors, dtype=np.float64)):
            score = sum(a * b for a, b in zip(q, v, strict=True))
            if metric == "cosine":
                score /= sum(a * a for a in q) ** 0.5 * sum(b * b for b in v) ** 0.5
            scores.append((-score, row))
        found.append([(row, -score) for score, row in sorted(scores)[:k]])
    return found


def check_exact(hits, vectors, queries, k, metric="cosine"):
    expected = brute_force(vectors, queries, k, metric)
    assert [[hit.id for hit in row] for row in hits] == [[i for i, _ in row] for row in expected]
    for row, wanted in zip(hits, expected, strict=True):
        for hit, (number, score) in zip(row, wanted, strict=True):
            assert hit.text == TEXTS[number]
            assert hit.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("built", [False, True])
def test_it_finds_what_brute_force_finds(tmp_path, metric, built):
    index = make(tmp_path, metric=metric)
    assert index.add(TEXTS[:300], VECTORS[:300]) == 300
    if built:
        pytest.importorskip("faiss")
        index.build(cells=8)
    index.add(TEXTS[300:], VECTORS[300:])
    hits = index.search(QUERIES, 7, probes=8 if built else None)
    check_exact(hits, VECTORS, QUERIES, 7, metric)
    check_exact(
        SearchIndex.open(index.store.folder).search(QUERIES, 7, exact=True),
        *(*(VECTORS, QUERIES, 7, metric),),
    )
    assert len(index) == 500


def test_queries_of_all_kinds_give_the_same_hits(tmp_path):
    index = make(tmp_path)
    index.add(TEXTS, torch.from_numpy(VECTORS))
    expected = index.search(QUERIES, 5)
    assert index.search(torch.from_numpy(QUERIES), 5) == expected
    assert index.search(QUERIES.tolist(), np.int64(5)) == expected
    assert [index.search(q[None], 5)[0] for q in QUERIES] == expected
    assert index.search(1024 * QUERIES, 5) == expected
    assert isinstance(expected[0][0], SearchHit)
    assert type(expected[0][0].id) is int
    assert index.search(QUERIES[:0], 5) == []


def test_more_hits_than_texts_and_none(tmp_path):
    index = make(tmp_path)
    assert index.search(QUERIES, 3) == [[] for _ in QUERIES]
    assert index.add([], np.zeros((0, 8))) == 0
    index.add(TEXTS[:4], VECTORS[:4])
    assert [sorted(hit.id for hit in row) for row in index.search(QUERIES, 9)] == [
        [0, 1, 2, 3]
    ] * 20


def test_a_vector_of_zeros_has_no_direction(tmp_path):
    index = make(tmp_path)
    index.add(["nothing", "something"], np.array([np.zeros(8), VECTORS[0]]))
    hits = index.search([VECTORS[0], np.zeros(8)], 2)
    assert [(hit.id, hit.score) for hit in hits[0]] == [(1, pytest.approx(1)), (0, 0.0)]
    assert [hit.score for hit in hits[1]] == [0.0, 0.0]


def test_a_whitening_is_applied_to_both_sides(tmp_path):
    matrix, bias = RNG.normal(size=(8, 3)), RNG.normal(size=3)
    index = make(tmp_path, transform=(matrix, bias))
    index.add(TEXTS, VECTORS)
    index = SearchIndex.open(tmp_path / "index")
    assert index.store.vectors().shape == (500, 3)
    check_exact(index.search(QUERIES, 5), VECTORS @ matrix + bias, QUERIES @ matrix + bias, 5)


def test_a_fitted_whitening_will_do(tmp_path):
    from kexue.sentences.whitening import Whitening

    mixed = VECTORS @ RNG.normal(size=(8, 8)) + 50
    whitening = Whitening(4).fit(mixed)
    index = make(tmp_path, transform=whitening)
    index.add(TEXTS, mixed)
    check_exact(
        index.search(mixed[:20], 5), whitening.transform(mixed), whitening.transform(mixed[:20]), 5
    )


def test_unique_texts(tmp_path):
    index = make(tmp_path, unique=True)
    assert index.add(["a", "b", "a"], VECTORS[:3]) == 2
    assert index.add(["b"], VECTORS[3:4], notes={"lines": 4}) == 0
    assert index.add(["c", "b", "d"], VECTORS[4:7]) == 2
    assert len(index) == 4
    assert index.store.notes() == {"lines": 4}
    hits = index.search(VECTORS[[0, 1, 4, 6]], 1)
    assert [(row[0].id, row[0].text) for row in hits] == [*enumerate("abcd")]
    assert all(row[0].score == pytest.approx(1) for row in hits)
    twice = SearchIndex.create(tmp_path / "twice", dimension=8)
    assert twice.add(["a", "a"], VECTORS[:2]) == 2


def test_facts_are_kept(tmp_path):
    index = make(tmp_path, facts={"model": "mini", "层": 6})
    index.facts["model"] = "other"
    assert SearchIndex.open(tmp_path / "index").facts == {"model": "mini", "层": 6}


def test_one_writes_while_others_read(tmp_path):
    writer = make(tmp_path)
    reader = SearchIndex.open(tmp_path / "index")
    for start in range(0, 500, 100):
        writer.add(TEXTS[start : start + 100], VECTORS[start : start + 100])
        assert len(reader) == start + 100
        check_exact(reader.search(QUERIES[:3], 5), VECTORS[: start + 100], QUERIES[:3], 5)


def test_building_while_another_searches(tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    writer = make(tmp_path)
    writer.add(TEXTS[:300], VECTORS[:300])
    writer.build(cells=4)
    reader = SearchIndex.open(tmp_path / "index")
    real = VectorStore.vectors

    def meanwhile(store):
        # Between the reader's two looks at the folder, everything changes.
        monkeypatch.setattr(VectorStore, "vectors", real)
        found = real(store)
        writer.add(TEXTS[300:], VECTORS[300:])
        writer.build(cells=4)
        return found

    monkeypatch.setattr(VectorStore, "vectors", meanwhile)
    check_exact(reader.search(QUERIES, 5, probes=4), VECTORS[:300], QUERIES, 5)
    check_exact(reader.search(QUERIES, 5, probes=4), VECTORS, QUERIES, 5)


def test_the_path_of_a_large_index_finds_nearly_all(tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(cell_file, "SCANNED_BYTES", 2**20)
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(200, 64))

    def draw(count):
        return centres[rng.integers(200, size=count)] + 0.7 * rng.normal(size=(count, 64))

    vectors, queries = draw(20_000), draw(100)
    index = SearchIndex.create(tmp_path / "large", dimension=64)
    index.add(list(map(str, range(20_000))), vectors)
    index.build()
    assert (tmp_path / "large" / "nearest.faiss").is_file()
    exact, found = index.search(queries, 10, exact=True), index.search(queries, 10)
    shared = [len(set(a) & set(b)) for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) / 10 > 0.98
    # What is found has its exact score, to the last digit.
    scores = [{hit.id: hit.score for hit in row} for row in exact]
    for row, known in zip(found, scores, strict=True):
        assert all(known.get(hit.id, hit.score) == hit.score for hit in row)


@pytest.mark.parametrize(
    ("texts", "vectors", "message"),
    [
        (["a"], np.zeros((2, 8)), "texts are 1, vectors are 2"),
        (["a"], np.zeros((1, 7)), r"vectors is of shape \(1, 7\); allowed: shape \[N, 8\]"),
        (["a"], np.zeros(8), r"Write vectors\[None\]"),
        ("a", np.zeros((1, 8)), "allowed: a list of texts"),
        (["a", "b"], [[0.0] * 8, [np.nan] * 8], r"vectors\[1\] holds NaN"),
        (["a", "\ud800"], np.zeros((2, 8)), r"texts\[1\] .* half surrogate"),
        (["a", 1], np.zeros((2, 8)), r"texts\[1\] is 1; allowed: a text"),
    ],
)
def test_what_does_not_fit_is_refused_whole(tmp_path, texts, vectors, message):
    index = make(tmp_path)
    index.add(["first"], VECTORS[:1])
    with pytest.raises(ValueError, match=message):
        index.add(texts, vectors)
    assert len(index) == 1
    assert [hit.text for hit in index.search(QUERIES[:1], 5)[0]] == ["first"]


def test_a_bad_vector_far_down_is_named_also_among_unique_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "CHUNK", 7)
    index = make(tmp_path, unique=True)
    index.add(TEXTS[:3], VECTORS[:3])
    bad = VECTORS.copy()
    bad[77] = np.inf
    with pytest.raises(ValueError, match=r"vectors\[77\] holds NaN"):
        index.add(TEXTS, bad)
    assert index.add(TEXTS, VECTORS) == 497
    check_exact(index.search(QUERIES, 5), VECTORS, QUERIES, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0; allowed: a whole number"),
        ({"k": 2.5}, "k is 2.5"),
        ({"k": 1, "probes": 0}, "probes is 0"),
    ],
)
def test_wrong_options_of_a_search(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path).search(QUERIES, **options)
    with pytest.raises(ValueError, match=r"shape \(20, 7\)"):
        SearchIndex.open(tmp_path / "index").search(QUERIES[:, :7], 1)


def test_folders_that_are_no_index(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        SearchIndex.open(tmp_path / "none")
    VectorStore.create(tmp_path / "store", dimension=8)
    with pytest.raises(ValueError, match=r"this is no kexue search index: it has no search.json"):
        SearchIndex.open(tmp_path / "store")
    index = make(tmp_path)
    with pytest.raises(ValueError, match="the folder is not empty"):
        make(tmp_path)
    manifest = index.store.folder / "search.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 9}))
    with pytest.raises(ValueError, match=r"has version 9; .* Update kexue"):
        SearchIndex.open(tmp_path / "index")


def test_without_faiss_only_cells_are_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    index = make(tmp_path)
    index.add(TEXTS, VECTORS)
    index.build()
    check_exact(index.search(QUERIES, 5), VECTORS, QUERIES, 5)
    with pytest.raises(ImportError, match=r"kexue\[search\]"):
        index.build(cells=8)


class Killed(BaseException):
    """As a kill: nothing of the program may catch it."""


def die(*arguments, **options):
    raise Killed


STEPS = {
    "hashed": (search, "fresh_texts"),
    "texts written": (search, "insert_texts"),
    "vectors written": (vector_store.Batch, "append"),
    "notes written": (vector_store.Batch, "note"),
    "flushed": (vector_store.os, "fsync"),
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_an_end_at_any_step_loses_and_doubles_nothing(tmp_path, step, after):
    index = make(tmp_path, unique=True)
    index.add(TEXTS[:100], VECTORS[:100], notes={"lines": 100})
    owner, name = STEPS[step]
    real = getattr(owner, name)

    def last(*arguments):
        real(*arguments)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, last if after else die)
        with pytest.raises(Killed):
            index.add(TEXTS[100:200], VECTORS[100:200] + 3, notes={"lines": 200})
    again = SearchIndex.open(tmp_path / "index")
    assert (len(again), again.store.notes()) == (100, {"lines": 100})
    assert again.add(TEXTS[50:500], VECTORS[50:500], notes={"lines": 500}) == 400
    check_exact(again.search(QUERIES, 5), VECTORS, QUERIES, 5)


@pytest.mark.parametrize("step", ["train_cells", "extend_cells", "write_cells"])
def test_an_end_while_building_leaves_the_old_cells(tmp_path, step):
    pytest.importorskip("faiss")
    index = make(tmp_path)
    index.add(TEXTS[:300], VECTORS[:300])
    index.build(cells=8)
    index.add(TEXTS[300:], VECTORS[300:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_file, step, die)
        with pytest.raises(Killed):
            index.build(cells=8, retrain=True)
    again = SearchIndex.open(tmp_path / "index")
    check_exact(again.search(QUERIES, 5, probes=8), VECTORS, QUERIES, 5)
    again.build(cells=8)
    check_exact(again.search(QUERIES, 5, probes=8), VECTORS, QUERIES, 5)


def test_an_end_while_creating_leaves_nothing(tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kexue.sentences.search_format.create_texts", die)
        with pytest.raises(Killed):
            make(tmp_path)
    assert list(tmp_path.iterdir()) == []
    make(tmp_path)


KILLING = """
import json, os, random, signal, sys, time
import numpy as np
from kexue.sentences.search import SearchIndex

folder, rounds = sys.argv[1], int(sys.argv[2])

def batch(first):
    numbers = np.arange(first, first + 1 + first % 90)
    return [f"text {i}" for i in numbers], np.stack([numbers, numbers**0, numbers % 7], axis=1)

def add_for_ever(report):
    index = SearchIndex.open(folder)
    while True:
        first = len(index)
        texts, vectors = batch(first)
        index.add(texts, vectors, notes={"next": first + len(texts)})
        os.write(report, b"%d\\n" % (first + len(texts)))

SearchIndex.create(folder, dimension=3, metric="dot")
random.seed(int(sys.argv[3]))
lengths = []
for _ in range(rounds):
    reading, report = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        add_for_ever(report)
    os.close(report)
    with os.fdopen(reading, "rb") as stream:
        said = stream.readline()  # it has begun
        time.sleep(random.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = ([said] + stream.readlines())[-1]
    index = SearchIndex.open(folder)
    lengths.append([int(said), len(index), index.store.notes()["next"]])
print(json.dumps(lengths))
"""


def test_what_was_reported_is_there_after_a_kill_at_any_moment(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", KILLING, tmp_path / "index", "25", "0"],
        env={**os.environ, "PYTHONPATH": str(Path(kexue.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lengths = json.loads(run.stdout)
    assert len(lengths) == 25
    ends = {0}
    while max(ends) < lengths[-1][1]:
        ends.add(max(ends) + 1 + max(ends) % 90)
    for reported, length, noted in lengths:
        # Between the commit and the report a kill may fall, so that there may be one batch more.
        assert reported <= length == noted
        assert length <= reported + 1 + reported % 90
        assert length in ends
    assert lengths[0][1] < lengths[-1][1]
    index = SearchIndex.open(tmp_path / "index")
    numbers = np.arange(len(index))
    expected = np.stack([numbers, numbers**0, numbers % 7], axis=1)
    assert np.array_equal(index.store.vectors(), expected)
    last = index.search([[1, 0, 0]], len(index))[0]
    assert [(hit.id, hit.text) for hit in last] == [(i, f"text {i}") for i in numbers[::-1]]
