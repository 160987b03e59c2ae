import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
)

from kexue.models import KexueForMaskedLM
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.explainable import load_explainable
from kexue.tasks.explaining import explain
from kexue.tasks.ner import EntityRecognizer

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def save(kind, tokenizer, folder):
    if kind is GPT2LMHeadModel:
        config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2)
    else:
        config = BertConfig(vocab_size=len(tokenizer), intermediate_size=32, **SMALL)
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", [BertForSequenceClassification, BertForMaskedLM, GPT2LMHeadModel])
def test_models_of_transformers_by_their_kind(kind, small_tokenizer, tmp_path):
    found = load_explainable(save(kind, small_tokenizer, tmp_path))
    assert type(found.model) is kind
    assert not found.model.training


def test_a_run_folder_holds_its_model(small_tokenizer, tmp_path):
    save(BertForSequenceClassification, small_tokenizer, tmp_path / "model")
    assert type(load_explainable(tmp_path).model) is BertForSequenceClassification


def test_mini_names_hidden_tokens_or_compares():
    assert type(load_explainable("mini").model) is KexueForMaskedLM
    assert isinstance(load_explainable("mini", similarity=True), SentenceEncoder)


def test_a_classifier_of_pairs_stays_a_classifier(small_tokenizer, tmp_path):
    save(BertForSequenceClassification, small_tokenizer, tmp_path)
    found = load_explainable(tmp_path, similarity=True)
    assert type(found.model) is BertForSequenceClassification
    assert len(explain(found, "a b", other="c", tolerance=0.1).texts) == 2


def test_our_own_folders(trained_folder, tmp_path):
    assert isinstance(load_explainable(trained_folder), EntityRecognizer)
    SentenceEncoder.from_pretrained("mini").save_pretrained(tmp_path)
    assert isinstance(load_explainable(tmp_path), SentenceEncoder)


def test_any_encoder_compares_two_texts(small_tokenizer, tmp_path):
    save(BertModel, small_tokenizer, tmp_path)
    assert isinstance(load_explainable(tmp_path, similarity=True), SentenceEncoder)


@pytest.mark.parametrize("kind", [BertModel, BertForTokenClassification])
def test_other_models_are_refused(kind, small_tokenizer, tmp_path):
    save(kind, small_tokenizer, tmp_path)
    with pytest.raises(ValueError, match=f"a {kind.__name__}'; allowed: an entity recogniser"):
        load_explainable(tmp_path)


@pytest.mark.parametrize("content", [None, "no JSON", "[]"])
def test_what_is_no_model_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"allowed: a folder with the config\.json of a model"):
        load_explainable(tmp_path)


def test_a_configuration_without_a_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="a bert'; allowed: an entity recogniser"):
        load_explainable(tmp_path)
