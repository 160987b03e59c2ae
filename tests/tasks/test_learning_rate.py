"""The wider an encoder, the more carefully it is fine-tuned."""

import pytest
from transformers import BertConfig

from kexue.models import KexueConfig, SentenceConfig
from kexue.tasks.learning_rate import default_learning_rate


def rate(place):
    return default_learning_rate(str(place), of_kexue=7e-4)


def test_a_small_encoder_learns_faster(tmp_path):
    for width in (256, 768, 1024):
        BertConfig(hidden_size=width).save_pretrained(tmp_path / str(width))
    rates = [rate(tmp_path / width) for width in ("1024", "768", "256")]
    assert rates[0] < rates[1] < rates[2]
    assert rates[1] == pytest.approx(3e-5)


def test_a_very_small_one_learns_no_faster_than_the_limit(tmp_path):
    BertConfig(hidden_size=64).save_pretrained(tmp_path)
    assert rate(tmp_path) == 3e-4


def test_a_sentence_encoder_counts_by_the_encoder_in_it(tmp_path):
    for name, inner in (("bert", BertConfig(hidden_size=512)), ("own", KexueConfig())):
        SentenceConfig(inner, features=64).save_pretrained(tmp_path / name / "model")
    assert rate(tmp_path / "bert") == pytest.approx(3e-5 * 2.25)
    assert rate(tmp_path / "own") == rate("mini") == 7e-4


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_what_is_no_encoder_gets_the_rate_of_a_wide_one(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert rate(tmp_path) == 3e-5
