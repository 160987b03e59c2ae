import pytest
import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from kexue.models import mini, scratch_tokenizer
from kexue.tasks.ner_model import (
    EntitySettings,
    build,
    label_set,
    rarely_overlap,
)

TEXTS = ["王小明在北京工作。", "He works in Beijing."] * 2
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 100,
}


@pytest.fixture(params=["bert", "roberta"])
def trained_encoder(request, tmp_path):
    """A folder as a Hub model would be: encoder with 40 positions, and tokenizer."""
    if request.param == "bert":
        model = BertModel(BertConfig(**SMALL, max_position_embeddings=40))
    else:
        model = RobertaModel(RobertaConfig(**SMALL, max_position_embeddings=42, pad_token_id=1))
    model.save_pretrained(tmp_path)
    scratch_tokenizer(TEXTS, max_length=1000).save_pretrained(tmp_path)
    return tmp_path, model


def test_any_encoder_comes_with_its_weights_and_its_limit(trained_encoder):
    folder, encoder = trained_encoder
    settings = EntitySettings(encoder=str(folder), head="standard")
    model, tokenizer = build(settings, TEXTS, ["person", "place"])
    table = model.encoder.embeddings.word_embeddings.weight
    torch.testing.assert_close(table, encoder.embeddings.word_embeddings.weight)
    assert (model.config.window, model.config.overlap) == (40, 10)
    ids = torch.tensor([tokenizer("北京" * 100, truncation=True, max_length=40)["input_ids"]])
    assert model(ids, torch.ones_like(ids)).last_hidden_state.shape == (1, 40, 32)


def test_the_same_seed_makes_the_same_model():
    settings = EntitySettings(encoder="scratch", layers=1, width=64)
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build(settings, TEXTS, ["place"])[0].state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=0)


def test_labels_are_sorted_and_of_all_parts():
    train, dev = [("a", [(0, 1, "y")])], [("b", [(0, 1, "x"), (0, 1, "y")])]
    assert label_set(train, dev) == ["x", "y"]
    with pytest.raises(ValueError, match="at least one entity"):
        label_set([("a", [])])


def test_the_encoder_that_comes_along_is_the_default():
    model, tokenizer = build(EntitySettings(), ["他"], ["place"])
    table = model.encoder.get_input_embeddings().weight
    torch.testing.assert_close(table, mini()[0].get_input_embeddings().weight)
    assert len(table) == len(tokenizer)
    assert model.config.encoder_config.hidden_dropout == 0
    assert model.config.token_dropout == 0.15


def test_errors_say_what_to_type(tmp_path):
    with pytest.raises(ValueError, match="'scratch' or 'scratch-characters'"):
        build(EntitySettings(encoder=str(tmp_path / "none")), TEXTS, ["place"])


def test_data_are_flat_up_to_one_overlap_in_a_thousand():
    apart = [(10 * i, 10 * i + 5, "name") for i in range(1999)]
    assert rarely_overlap([apart, [], [(0, 3, "name")]])
    assert rarely_overlap([])
    # Each pair of overlapping entities counts two: 2 of 2,001 are fewer, 4 of 2,003 are more.
    assert rarely_overlap([[*apart, (0, 3, "name"), (20_000, 20_001, "name")]])
    assert not rarely_overlap([[*apart, (0, 3, "name"), (50, 52, "name")]])
    # The same entity twice is one entity, and neighbours do not overlap.
    assert rarely_overlap([[(0, 2, "name"), (0, 2, "name"), (2, 4, "name")]])
    # Two labels on the same stretch do.
    assert not rarely_overlap([[(0, 2, "name"), (0, 2, "place")]])
