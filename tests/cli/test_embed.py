import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kexue import SentenceEncoder
from kexue.cli import app
from kexue.cli.embed import count_texts, resolved


def call(*words):
    return CliRunner().invoke(app, ["embed", *(str(word) for word in words)])


def test_each_file_becomes_a_file_of_vectors(sentence_files, tmp_path):
    model, texts = sentence_files / "encoder", sentence_files / "texts.txt"
    words = [model, texts, sentence_files / "more.txt", "--out", tmp_path / "v", "--normalize"]
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert "240 of 240 texts" in result.output
    found = np.load(tmp_path / "v" / "0-texts.npy")
    expected = SentenceEncoder.from_pretrained(model)(
        texts.read_text("utf-8").splitlines(), normalize=True
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    again = call(*words, "--json")
    told = json.loads(again.stdout)
    assert [part["texts"] for part in told["parts"]] == [120, 120]


@pytest.mark.slow
def test_killed_and_called_again_it_ends_with_the_same_vectors(sentence_files, kill_once, tmp_path):
    text = (sentence_files / "texts.txt").read_text("utf-8")
    (tmp_path / "many.txt").write_text("\n".join([text] * 40), "utf-8")
    words = ["embed", sentence_files / "encoder", tmp_path / "many.txt", "--batch-size", "16"]
    partly = tmp_path / "v" / ".0-many.npy.partial" / "vectors.bin"
    kill_once(
        [*words, "--out", tmp_path / "v"],
        lambda: partly.is_file() and partly.stat().st_size > 0,
    )
    assert not (tmp_path / "v" / "0-many.npy").exists()
    for out in ("v", "w"):
        assert call(*words[1:], "--out", tmp_path / out).exit_code == 0
    both = [np.load(tmp_path / out / "0-many.npy") for out in ("v", "w")]
    assert len(both[0]) == 4800
    np.testing.assert_allclose(*both, atol=1e-6)


MISTAKES = {
    "no such file": (["none.txt"], "none.txt"),
    "unknown pooling": (["--pooling", "mean"], "'P1', 'P2', 'P3', 'P4'"),
    "unknown engine": (["--engine", "spark"], "'local' or 'ray'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message(mistake, sentence_files, tmp_path):
    extra, expected = MISTAKES[mistake]
    files = [] if mistake == "no such file" else [sentence_files / "texts.txt"]
    result = call(sentence_files / "encoder", *files, *extra, "--out", tmp_path / "v")
    assert result.exit_code == 1, result.output
    assert expected in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no texts"), (b"a\n\xff\n", "texts.txt:2"), (b"\n\n \n", "no texts")],
)
def test_broken_files_are_found_before_anything_is_done(content, says, sentence_files, tmp_path):
    (tmp_path / "texts.txt").write_bytes(content)
    result = call(sentence_files / "encoder", tmp_path / "texts.txt", "--out", tmp_path / "v")
    assert result.exit_code == 1
    assert says in result.output.replace("\n", " ")
    assert not (tmp_path / "v").exists()


def test_texts_are_counted_in_all_files(sentence_files):
    assert count_texts([sentence_files / "texts.txt", sentence_files / "more.txt"]) == 240
    assert resolved(str(sentence_files / "encoder")) == str(sentence_files / "encoder")
    assert resolved("org/base") == "org/base"
