import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kexue import SentenceEncoder
from kexue.cli import app
from kexue.sentences.whitening import Whitening


def call(*words):
    return CliRunner().invoke(app, ["whiten", *(str(word) for word in words)])


@pytest.fixture
def vectors(tmp_path):
    rng = np.random.default_rng(0)
    parts = [rng.normal(3, 1, size=(n, 6)).astype(np.float32) for n in (80, 50)]
    for name, part in zip("ab", parts, strict=True):
        np.save(tmp_path / f"{name}.npy", part)
    return np.concatenate(parts)


def test_vectors_of_several_files_are_whitened_together(vectors, tmp_path):
    result = call(tmp_path / "a.npy", tmp_path / "b.npy", "--out", tmp_path / "w", "-k", "4")
    assert result.exit_code == 0, result.output
    assert "vectors: 130" in result.output
    assert "features: 4" in result.output
    whitening = Whitening.from_pretrained(tmp_path / "w")
    expected = Whitening(4).fit(vectors)
    np.testing.assert_allclose(
        whitening.transform(vectors), expected.transform(vectors), rtol=1e-4, atol=1e-5
    )


def test_a_model_is_whitened_and_saved(sentence_files, tmp_path):
    texts, model = sentence_files / "texts.txt", sentence_files / "encoder"
    words = [texts, "--model", model, "--pooling", "P4", "-k", "8", "--out", tmp_path / "w"]
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["vectors"], told["dimension"], told["features"]) == (120, 64, 8)
    assert 0 < told["variance kept"] <= 1
    lines = texts.read_text("utf-8").splitlines()
    plain = SentenceEncoder.from_pretrained(model, pooling="P4")(lines)
    found = SentenceEncoder.from_pretrained(told["model"])(lines)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(found.T, ddof=0), np.eye(8), atol=1e-2)
    expected = Whitening(8).fit(plain).transform(plain)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_forms_and_features_are_tried_on_pairs(sentence_files, tmp_path):
    words = [sentence_files / "texts.txt", "--model", sentence_files / "encoder"]
    words += ["-k", "8", "-k", "16", "--beta-gamma", "1,1", "--beta-gamma", "0,0"]
    result = call(*words, "--pairs", sentence_files / "dev.tsv", "--out", tmp_path / "w")
    assert result.exit_code == 0, result.output
    rows = (tmp_path / "w" / "sweep.csv").read_text("utf-8").splitlines()
    assert rows[0] == "encoder,pooling,vectors,dev"
    names = [row.split(",dev")[0] for row in rows[1:]]
    assert [name for name in names if "raw" in name]
    for name in ("whitened, 8", "whitened, 16", "(0, 0), 8", "(0, 0), 16"):
        assert any(name in row for row in rows), name
        assert name in result.output
    assert (tmp_path / "w" / "sweep.png").read_bytes()[:4] == b"\x89PNG"


MISTAKES = {
    "pairs without a model": (["a.npy", "--pairs", "dev.tsv"], "together with --model"),
    "no numbers": (["a.npy", "--beta-gamma", "one"], "as in 1,1 or 0,0"),
    "too many features": (["a.npy", "-k", "9"], "k is 9"),
    "no features": (["a.npy", "-k", "0"], "k is 0"),
    "no such file": (["none.npy"], "none.npy"),
    "something else": (["text.npy"], "text.npy: no .npy file of vectors"),
    "other features": (["a.npy", "wide.npy"], "wide.npy"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.usefixtures("vectors")
def test_a_mistake_is_one_message(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npy").write_text("a")
    np.save(tmp_path / "wide.npy", np.ones((9, 8)))
    extra, expected = MISTAKES[mistake]
    result = call(*extra, "--out", "w")
    assert result.exit_code == 1, result.output
    assert expected in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "w").exists()


@pytest.mark.usefixtures("vectors")
def test_a_folder_in_use_is_not_written_into(tmp_path):
    result = call(tmp_path / "a.npy", "--out", tmp_path)
    assert result.exit_code == 1
    assert "an empty or missing folder" in result.output
