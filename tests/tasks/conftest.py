"""A small corpus and its tokenizer, and files of texts with an encoder for them."""

import pytest
import torch

from kexue.data.synthetic import sample_records
from kexue.models import scratch_encoder, scratch_tokenizer, train_tokenizer
from kexue.tasks.embedding_options import EmbeddingOptions


@pytest.fixture(scope="session")
def plain_texts():
    """Three hundred short texts, Chinese and English."""
    return [record["text"] for record in sample_records(300, seed=3)]


@pytest.fixture(scope="session")
def plain_file(plain_texts, tmp_path_factory):
    """The texts in one file, a blank line after each."""
    path = tmp_path_factory.mktemp("plain") / "texts.txt"
    path.write_text("\n\n".join(plain_texts), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_tokenizer(plain_texts):
    return train_tokenizer(plain_texts, vocab_size=500)


@pytest.fixture(scope="session")
def text_lists():
    return {name: [f"{name} {i} b{i % 7}" for i in range(50)] for name in ("one", "two", "three")}


@pytest.fixture(scope="session")
def text_files(text_lists, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, lines in text_lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines), "utf-8")
    return [folder / f"{name}.txt" for name in text_lists]


@pytest.fixture(scope="session")
def embedding_options(text_lists, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    tokenizer = scratch_tokenizer([text for lines in text_lists.values() for text in lines])
    scratch_encoder(len(tokenizer), layers=1, width=64).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return EmbeddingOptions(str(path), batch_size=4)
