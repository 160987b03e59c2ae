"""What pre-training begins with, and what does not go together."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from kexue.models import KexueForMaskedLM, train_tokenizer
from kexue.tasks.pretraining_model import check_fit, load_masked_lm, new_masked_lm

SMALL = {
    "vocab_size": 600,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def test_a_new_encoder_has_heads_of_64_and_no_end(small_tokenizer):
    model = new_masked_lm(small_tokenizer, layers=2, width=192)
    assert model.config.num_attention_heads == 3
    assert model.config.vocab_size == len(small_tokenizer)
    assert model.config.pad_token_id == small_tokenizer.pad_token_id
    check_fit(model, small_tokenizer, length=2**20)


def test_a_half_precision_encoder_is_trained_in_single_precision(small_tokenizer, tmp_path):
    new_masked_lm(small_tokenizer, layers=1, width=64).half().save_pretrained(tmp_path)
    model = load_masked_lm(str(tmp_path))
    assert isinstance(model, KexueForMaskedLM)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_any_encoder_of_transformers_will_do(tmp_path):
    BertForMaskedLM(BertConfig(**SMALL)).save_pretrained(tmp_path)
    assert isinstance(load_masked_lm(str(tmp_path)), BertForMaskedLM)


def test_what_is_no_encoder_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"AutoModelForMaskedLM loads\. transformers says: "):
        load_masked_lm(str(tmp_path))
    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match=r"Did you mean '.*/model'\?"):
        load_masked_lm(str(tmp_path))


def test_positions_end_the_rows(small_tokenizer):
    bert = BertForMaskedLM(BertConfig(**SMALL, max_position_embeddings=64))
    check_fit(bert, small_tokenizer, length=64)
    with pytest.raises(ValueError, match="length is 128; allowed: at most 64, the positions"):
        check_fit(bert, small_tokenizer, length=128)
    # RoBERTa loses the places up to that of padding.
    roberta = RobertaForMaskedLM(RobertaConfig(**SMALL, max_position_embeddings=64))
    with pytest.raises(ValueError, match="at most 62"):
        check_fit(roberta, small_tokenizer, length=64)


def test_a_tokenizer_with_more_entries_than_the_model_is_refused(small_tokenizer):
    small = train_tokenizer(["a b"] * 2, vocab_size=270)
    model = new_masked_lm(small, layers=1, width=64)
    check_fit(model, small, length=64)
    entries = f"{len(small_tokenizer)} entries"
    with pytest.raises(
        ValueError, match=f"tokenizer is '{entries}'; allowed: at most {len(small)}"
    ):
        check_fit(model, small_tokenizer, length=64)


@pytest.mark.parametrize("name", ["cls_token", "sep_token", "mask_token"])
def test_a_tokenizer_without_special_tokens_is_refused(small_tokenizer, name):
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    del names[name]
    lacking = type(small_tokenizer)(tokenizer_object=small_tokenizer.backend_tokenizer, **names)
    model = new_masked_lm(small_tokenizer, layers=1, width=64)
    with pytest.raises(ValueError, match=f"one without {name}"):
        check_fit(model, lacking, length=64)
