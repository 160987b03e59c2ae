"""The wider an encoder, the more carefully it is fine-tuned."""

import pytest
from transformers import BertConfig

from kexue.models import KexueConfig, SentenceConfig
from kexue.tasks.learning_rate import default_learning_rate
from kexue.tasks.ner_model import SCRATCH_RATE


def test_a_small_encoder_learns_faster_and_one_from_scratch_fastest(tmp_path):
    for width in (256, 768, 1024):
        BertConfig(hidden_size=width).save_pretrained(tmp_path / str(width))
    rates = [default_learning_rate(str(tmp_path / width)) for width in ("1024", "768", "256")]
    assert rates[0] < rates[1] < rates[2]
    assert rates[1] == pytest.approx(3e-5)
    assert default_learning_rate("mini") == rates[2] < SCRATCH_RATE


def test_a_very_small_one_learns_no_faster_than_the_limit(tmp_path):
    BertConfig(hidden_size=64).save_pretrained(tmp_path)
    assert default_learning_rate(str(tmp_path)) == 3e-4


def test_a_sentence_encoder_counts_by_the_width_of_its_layers(tmp_path):
    config = SentenceConfig(KexueConfig(hidden_size=512), features=64)
    config.save_pretrained(tmp_path / "run" / "model")
    assert default_learning_rate(str(tmp_path / "run")) == pytest.approx(3e-5 * 2.25)


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_what_is_no_encoder_gets_the_rate_of_a_wide_one(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert default_learning_rate(str(tmp_path)) == 3e-5
