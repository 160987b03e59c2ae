import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import kexue
from kexue.cli import search
from kexue.sentences.search import SearchIndex

TEXTS = ["今天天气很好", "明天要下雨", "a red fox", "a quick red fox jumps", "the fox is red"]

app = typer.Typer()
app.add_typer(search.app, name="search")


class Encoder:
    """A sentence encoder that counts characters."""

    @classmethod
    def from_pretrained(cls, folder):
        return cls()

    def __call__(self, texts, *, batch_size):
        table = np.random.default_rng(0).normal(size=(997, 12))
        rows = [sum((table[ord(c) % 997] for c in text), 0 * table[0]) for text in texts]
        return np.array(rows, dtype=np.float32)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(kexue, "SentenceEncoder", Encoder, raising=False)


def call(*words, **options):
    return CliRunner().invoke(app, ["search", *map(str, words)], **options)


@pytest.fixture
def index(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    result = call("build", tmp_path / "index", tmp_path / "a.txt", "--model", "some/model")
    assert result.exit_code == 0, result.output
    assert "5 texts, 5 of them new" in result.stdout
    assert "kexue search query" in result.stdout
    return tmp_path / "index"


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_text_finds_itself_and_what_is_like_it(index):
    (found,) = lines(call("query", index, "a red fox", "-k", 3))
    assert found["text"] == "a red fox"
    assert found["hits"][0] == {"text": "a red fox", "score": pytest.approx(1), "id": 2}
    assert [hit["text"] for hit in found["hits"][1:]] == [
        *("the fox is red", "a quick red fox jumps")
    ]


def test_several_texts_and_standard_input(index):
    given = lines(call("query", index, *TEXTS, "-k", 1))
    assert [found["hits"][0]["id"] for found in given] == [0, 1, 2, 3, 4]
    piped = call("query", index, "-k", 1, "--batch-size", 1, input="\n".join(TEXTS) + "\n")
    assert lines(piped) == given


def test_json_of_a_build(index, tmp_path):
    (tmp_path / "b.jsonl").write_text('{"text": "new"}\n{"text": "new"}\n')
    files = (tmp_path / "a.txt", tmp_path / "b.jsonl")
    (made,) = lines(call("build", index, *files, "--json"))
    assert made == {
        "index": str(index),
        "texts": 7,
        "added": 2,
        "left_out": 0,
        "model": "some/model",
    }


def test_unique_texts_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\na\n")
    result = call("build", tmp_path / "i", tmp_path / "a.txt", "--model", "m", "--unique")
    assert "2 texts, 2 of them new, 1 left out that were there already" in result.stdout


def test_a_terminal_sees_a_table(index, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    search.query(index, ["a red fox"], k=2, model=None, batch_size=32, as_json=False)
    shown = screen.getvalue()
    assert "score" in shown
    assert "1.0000" in shown
    assert "the fox is red" in shown
    assert "明天" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("query", "none", "text"), "none: there is no such folder"),
        (("query", "index", "text", "-k", "0"), "k is 0; allowed"),
        (("build", "index", "missing.txt"), "missing.txt: there is no such file"),
        (("build", "fresh", "a.txt"), "a new index needs a sentence encoder"),
        (("build", "a.txt", "a.txt"), "a.txt: this is a file"),
    ],
)
def test_mistakes_are_one_message(index, monkeypatch, words, message):
    monkeypatch.chdir(index.parent)
    result = call(*words)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_damaged_index_is_one_message(index):
    os.truncate(index / "vectors.bin", 10)
    result = call("query", index, "text", "--json")
    assert result.exit_code == 1
    assert "The file was cut short" in json.loads(result.stdout)["error"]["reason"]


SLOW = """
import sys, time, types
import typer
import kexue

# What makes transformers quiet and knows names of models takes seconds to import.
for name in ("kexue.models", "kexue.models.messages"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["kexue.models.messages"].quiet = lambda: None
sys.modules["kexue.models"].encoder_place = str

from kexue.cli import search

class Encoder:
    @classmethod
    def from_pretrained(cls, folder):
        return cls()

    def __call__(self, texts, *, batch_size):
        import numpy as np
        time.sleep(0.005)
        return np.array([[1, len(text), ord(text[-1])] for text in texts], dtype=np.float32)

kexue.SentenceEncoder = Encoder
app = typer.Typer()
app.add_typer(search.app, name="search")
app(sys.argv[1:])
"""


class Quick:
    """The same encoder."""

    @classmethod
    def from_pretrained(cls, folder):
        return cls()

    def __call__(self, texts, *, batch_size):
        return np.array([[1, len(text), ord(text[-1])] for text in texts], dtype=np.float32)


def test_a_build_that_is_killed_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(kexue, "SentenceEncoder", Quick)
    texts = [f"text {i**3}" for i in range(4000)]
    (tmp_path / "a.txt").write_text("\n".join(texts) + "\n")
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    words = (tmp_path / "a.txt", "--model", "m", "--batch-size", "1")
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, "search", "build", broken, *words],
        env={**os.environ, "PYTHONPATH": str(Path(kexue.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        deadline = time.monotonic() + 120
        while not (broken.is_dir() and len(SearchIndex.open(broken)) > 200):
            assert process.poll() is None, process.stdout.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    reached = len(SearchIndex.open(broken))
    assert 200 < reached < 4000
    for folder in (broken, unbroken):
        (made,) = lines(call("build", folder, *words, "--json"))
        assert made["added"] == (4000 - reached if folder == broken else 4000)
    first, second = SearchIndex.open(broken), SearchIndex.open(unbroken)
    assert np.array_equal(first.store.vectors(), second.store.vectors())
    assert first.store.notes() == second.store.notes()
    found = first.search([[1.0, 7.0, 49.0]], 4000)[0]
    assert [hit.text for hit in sorted(found, key=lambda hit: hit.id)] == texts
