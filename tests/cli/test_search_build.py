import gzip
import re
import sys
from typing import ClassVar

import numpy as np
import pytest

import kexue
from kexue.cli.search_build import build_index, load_encoder, readable_extra
from kexue.sentences.search import SearchIndex
from kexue.sentences.transactions import alone

TEXTS = [f"text {i}" for i in range(40)]


class Encoder:
    """A sentence encoder that knows texts by their characters."""

    calls: ClassVar[list] = []

    def __init__(self, folder):
        self.folder = folder

    @classmethod
    def from_pretrained(cls, folder):
        return cls(folder)

    def __call__(self, texts, *, batch_size):
        type(self).calls.append(list(texts))
        table = np.random.default_rng(len(str(self.folder))).normal(size=(128, 6))
        return np.stack(
            [sum((table[ord(c) % 128] * (i + 1) for i, c in enumerate(t)), table[0]) for t in texts]
        ).astype(np.float32)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(kexue, "SentenceEncoder", Encoder, raising=False)
    monkeypatch.setattr(Encoder, "calls", [])


def write(path, texts):
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def build(folder, *files, model="some/model", batch_size=1, unique=False):
    return build_index(
        folder / "index", files, model=model, batch_size=batch_size, unique=unique, as_json=True
    )


def texts_of(folder):
    index = SearchIndex.open(folder / "index")
    hits = index.search(index.store.vectors(), 1)
    found = index.search(np.ones((1, 6)), max(1, len(index)))[0]
    assert len(hits) == len(index)
    return [hit.text for hit in sorted(found, key=lambda hit: hit.id)]


def test_texts_of_several_files_in_their_order(tmp_path):
    first = write(tmp_path / "a.txt", TEXTS[:3])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "from json"}\n'))
    made = build(tmp_path, first, tmp_path / "b.jsonl.gz")
    assert made == {
        "index": str(tmp_path / "index"),
        "texts": 4,
        "added": 4,
        "left_out": 0,
        "model": "some/model",
    }
    assert texts_of(tmp_path) == [*TEXTS[:3], "from json"]


def test_the_same_again_adds_nothing_and_encodes_nothing(tmp_path):
    path = write(tmp_path / "a.txt", TEXTS)
    build(tmp_path, path)
    Encoder.calls.clear()
    made = build(tmp_path, path, path, model=None)
    assert (made["texts"], made["added"]) == (40, 0)
    # Nothing but the texts by which the model is known.
    assert len(Encoder.calls) == 1


def test_new_lines_at_the_end_are_added(tmp_path):
    path = write(tmp_path / "a.txt", TEXTS[:10])
    build(tmp_path, path)
    write(path, [*TEXTS[:10], "", *TEXTS[10:12]])
    assert build(tmp_path, path)["added"] == 2
    other = write(tmp_path / "b.txt", TEXTS[12:])
    assert build(tmp_path, other, path)["added"] == 28
    assert texts_of(tmp_path) == TEXTS


@pytest.mark.parametrize(
    "now", [["changed", *TEXTS[1:10]], TEXTS[:9], [], ["new first", *TEXTS[:10]], TEXTS[1:40]]
)
def test_a_file_that_was_changed_is_refused(tmp_path, now):
    path = write(tmp_path / "a.txt", TEXTS[:10])
    build(tmp_path, path)
    write(path, now)
    with pytest.raises(ValueError, match=r"its first 10 lines are not those that were read"):
        build(tmp_path, path)
    assert texts_of(tmp_path) == TEXTS[:10]


def test_a_broken_line_is_found_before_anything_is_encoded(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\n\xff\n")
    with pytest.raises(ValueError, match=r"a.txt:2: byte 1 \(0xff\) is not UTF-8"):
        build(tmp_path, write(tmp_path / "first.txt", TEXTS), path)
    assert Encoder.calls == []
    assert not (tmp_path / "index").exists()


def test_an_error_in_the_middle_keeps_what_was_committed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt", [f"text {i}" for i in range(200)])
    real = Encoder.__call__

    def fails(self, texts, *, batch_size):
        if "text 150" in texts:
            raise KeyboardInterrupt
        return real(self, texts, batch_size=batch_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "__call__", fails)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, path)
    assert len(SearchIndex.open(tmp_path / "index")) == 128
    made = build(tmp_path, path)
    assert (made["texts"], made["added"]) == (200, 72)
    assert texts_of(tmp_path) == [f"text {i}" for i in range(200)]


def test_unique_texts(tmp_path):
    path = write(tmp_path / "a.txt", [*TEXTS, *TEXTS])
    made = build(tmp_path, path, unique=True)
    assert (made["texts"], made["added"], made["left_out"]) == (40, 40, 40)
    assert build(tmp_path, path)["left_out"] == 0
    build_index(tmp_path / "plain", [path], model="m", batch_size=1, unique=False, as_json=True)
    with pytest.raises(ValueError, match="the index was made without --unique"):
        build_index(tmp_path / "plain", [path], model="m", batch_size=1, unique=True, as_json=True)


def test_progress_counts_what_was_there_before(tmp_path, capsys):
    path = write(tmp_path / "a.txt", TEXTS[:10])
    build(tmp_path, path)
    write(path, TEXTS)
    capsys.readouterr()
    build(tmp_path, path)
    assert re.fullmatch(r"embedding: 40 of 40 texts, [\d,]+ a second\n", capsys.readouterr().err)


def test_a_new_index_needs_a_model(tmp_path):
    with pytest.raises(ValueError, match=r"a new index needs a sentence encoder. Give --model"):
        build(tmp_path, write(tmp_path / "a.txt", TEXTS), model=None)


def test_another_folder_is_not_written_into(tmp_path):
    (tmp_path / "index").mkdir()
    path = write(tmp_path / "index" / "a.txt", TEXTS)
    with pytest.raises(ValueError, match="this is no kexue search index"):
        build(tmp_path, path)
    assert [each.name for each in (tmp_path / "index").iterdir()] == ["a.txt"]


def test_a_wrong_batch_size(tmp_path):
    with pytest.raises(ValueError, match="--batch-size is 0; allowed"):
        build(tmp_path, write(tmp_path / "a.txt", TEXTS), batch_size=0)


def test_two_do_not_add_at_once(tmp_path):
    path = write(tmp_path / "a.txt", TEXTS[:3])
    build(tmp_path, path)
    busy = pytest.raises(ValueError, match="another process is adding to the index")
    with alone(tmp_path / "index" / "adding.lock", "adding to the index"), busy:
        build(tmp_path, path)


def test_another_model_is_refused(tmp_path):
    path = write(tmp_path / "a.txt", TEXTS[:3])
    build(tmp_path, path)
    with pytest.raises(ValueError, match=r"an/other/model: it makes other vectors"):
        build(tmp_path, path, model="an/other/model")


def test_the_model_of_an_index_is_found_again(tmp_path):
    path = write(tmp_path / "a.txt", TEXTS[:3])
    (tmp_path / "model").mkdir()
    build(tmp_path, path, model=str(tmp_path / "model"))
    facts = SearchIndex.open(tmp_path / "index").facts
    assert load_encoder(facts, None).folder == str(tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"the model is not there. Say where it lies: --model"):
        load_encoder(facts, None)
    assert load_encoder(facts, str(tmp_path / "moved")).folder == str(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"does not say which model it is of. Give --model"):
        load_encoder({}, None)


def test_a_missing_extra_is_readable(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="pip install"), readable_extra():
        raise ImportError("pip install it")
    monkeypatch.setattr("kexue.sentences.cell_file.SCANNED_BYTES", 0)
    monkeypatch.setitem(sys.modules, "faiss", None)
    path = write(tmp_path / "a.txt", TEXTS)
    with pytest.raises(ValueError, match=r'pip install "kexue\[search\]"'):
        build(tmp_path, path)
    # The texts are there all the same.
    assert len(SearchIndex.open(tmp_path / "index")) == 40
