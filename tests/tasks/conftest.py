"""A small corpus and its tokenizer, for what pre-trains."""

import pytest

from kexue.data.synthetic import sample_records
from kexue.models import train_tokenizer


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
