import json

import numpy as np
import pytest

from kexue import SentenceEncoder
from kexue.tasks import file_embedding
from kexue.tasks.embedding_options import EmbeddingOptions
from kexue.tasks.file_embedding import embed_files


@pytest.fixture
def texts(text_lists):
    return text_lists


@pytest.fixture
def files(text_files):
    return text_files


@pytest.fixture
def options(embedding_options):
    return embedding_options


def test_each_file_gets_its_vectors(files, texts, options, tmp_path):
    told = []
    rows = embed_files(files, tmp_path / "v", options=options, tell=told.append)
    assert sum(told) == 150
    assert [row["vectors"] for row in rows] == ["0-one.npy", "1-two.npy", "2-three.npy"]
    encoder = SentenceEncoder.from_pretrained(options.model)
    for row, lines in zip(rows, texts.values(), strict=True):
        found = np.load(tmp_path / "v" / row["vectors"])
        assert row["texts"] == len(found) == 50
        np.testing.assert_allclose(found, encoder(lines), atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [
        *("0-one.npy", "1-two.npy", "2-three.npy"),
        "vectors.json",
    ]


def test_half_the_room(files, options, tmp_path):
    half = EmbeddingOptions(options.model, dtype="float16", normalize=True)
    embed_files(files[:1], tmp_path, options=half)
    found = np.load(tmp_path / "0-one.npy")
    assert found.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), 1, atol=1e-2)


class StopNowError(Exception):
    pass


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_what_was_interrupted_goes_on_without_doing_it_again(
    files, options, tmp_path, monkeypatch, batches
):
    monkeypatch.setattr(file_embedding, "STRETCH", 3)
    whole = tmp_path / "whole"
    embed_files(files, whole, options=options)
    calls = []
    plain = SentenceEncoder.__call__

    def encode(self, texts, **rest):
        if len(calls) == 5 + batches:
            raise StopNowError
        calls.append(len(texts))
        return plain(self, texts, **rest)

    monkeypatch.setattr(SentenceEncoder, "__call__", encode)
    with pytest.raises(StopNowError):
        embed_files(files, tmp_path / "v", options=options)
    done = sum(calls)
    calls.clear()
    monkeypatch.setattr(
        SentenceEncoder, "__call__", lambda *a, **k: calls.append(1) or plain(*a, **k)
    )
    embed_files(files, tmp_path / "v", options=options)
    assert len(calls) < 15
    assert done < 150
    for path in whole.glob("*.npy"):
        np.testing.assert_allclose(np.load(tmp_path / "v" / path.name), np.load(path), atol=1e-5)


def test_vectors_of_two_kinds_are_not_mixed(files, options, tmp_path):
    embed_files(files[:1], tmp_path / "v", options=options)
    other = EmbeddingOptions(options.model, pooling="P1")
    with pytest.raises(ValueError, match="choose another folder"):
        embed_files(files[:1], tmp_path / "v", options=other)
    with pytest.raises(ValueError, match="choose another folder"):
        embed_files(files[1:], tmp_path / "v", options=options)
    rows = embed_files(files, tmp_path / "v", options=options)
    assert len(rows) == 3
    with pytest.raises(ValueError, match="the same file twice"):
        embed_files([files[0], files[0]], tmp_path / "w", options=options)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises(ValueError, match="an empty folder"):
        embed_files(files, tmp_path / "full", options=options)


def test_the_list_says_how_vectors_were_made(files, options, tmp_path):
    embed_files(files[:1], tmp_path, options=options)
    listed = json.loads((tmp_path / "vectors.json").read_text("utf-8"))
    assert listed["options"]["batch_size"] == 4
    assert listed["parts"][0]["file"] == str(files[0].resolve())
