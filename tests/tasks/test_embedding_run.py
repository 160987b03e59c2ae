import json

import pytest
import torch

from kexue.models import scratch_encoder, scratch_tokenizer
from kexue.tasks.embedding_data import TextGroup
from kexue.tasks.embedding_run import run_embeddings
from kexue.tasks.embedding_training import EmbeddingSettings

PAIRS = [TextGroup((f"a b {i}", f"c {i % 3} d"), float(i % 4)) for i in range(40)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    texts = [text for group in PAIRS for text in group.texts]
    tokenizer = scratch_tokenizer(texts, unit="character")
    scratch_encoder(len(tokenizer), layers=1, width=64).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return EmbeddingSettings(encoder=str(path), window=8)


def run(out, settings, *, train=PAIRS, dev=PAIRS[:10], **more):
    options = {"num_train_epochs": 1, "per_device_train_batch_size": 16}
    sources = {"train": "a.tsv", "dev": "folder/b.tsv"}
    return run_embeddings(
        train, dev, out, settings=settings, options=options, sources=sources, **more
    )


def test_the_card_and_the_report_tell_what_was_done(settings, tmp_path):
    finished = run(tmp_path / "mine", settings)
    card = (tmp_path / "mine" / "model" / "README.md").read_text("utf-8")
    assert "# Sentences: mine" in card
    assert "Measured on b." in card
    assert f"**{100 * finished.after['spearman']:.2f}**" in card
    report = (tmp_path / "mine" / "report.html").read_text("utf-8")
    assert "Sentences: mine" in report
    assert "spearman, after" in report
    assert "Correlation on the development set" in report
    assert "Effective rank of the vectors" in report


def test_texts_longer_than_the_window_are_told(settings, tmp_path):
    long = TextGroup(("a b c d " * 4, "a"), 1.0)
    finished = run(tmp_path / "mine", settings, train=[*PAIRS, long])
    assert finished.longer == 1
    assert json.loads((tmp_path / "mine" / "scores.json").read_text())["longer"] == 1
    card = (tmp_path / "mine" / "model" / "README.md").read_text("utf-8")
    assert "1 training texts, beginning alone seen" in card


def test_without_labels_the_last_weights_are_kept(settings, tmp_path):
    texts = [TextGroup((group.texts[0],)) for group in PAIRS]
    simcse = EmbeddingSettings(encoder=settings.encoder, objective="simcse")
    finished = run(tmp_path / "mine", simcse, train=texts, dev=[])
    assert "spearman" not in finished.after


def test_other_data_are_another_run(settings, tmp_path):
    run(tmp_path / "mine", settings)
    again = run(tmp_path / "mine", settings, resume=True)
    assert again.after == json.loads((tmp_path / "mine" / "scores.json").read_text())["after"]
    with pytest.raises(ValueError, match="other data"):
        run(tmp_path / "mine", settings, train=PAIRS[1:], resume=True)
