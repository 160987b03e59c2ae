import pytest
import torch
from transformers import BertConfig, BertModel, ModernBertConfig, RobertaConfig, RobertaModel

from kexue.models import KexueConfig, KexueModel, load_encoder, longest_input
from kexue.models.encoder_loading import without_pooler

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 40,
}


def has_pooler(model):
    return any("pooler" in name for name, _ in model.named_parameters())


def test_the_pooler_stays_away_unless_it_is_wanted(tmp_path):
    whole = BertModel(BertConfig(**SMALL))
    whole.save_pretrained(tmp_path)
    assert not has_pooler(load_encoder(str(tmp_path)))
    kept = load_encoder(str(tmp_path), pooler=True)
    assert torch.equal(kept.pooler.dense.weight, whole.pooler.dense.weight)


def test_models_without_a_pooler_are_asked_for_nothing():
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = ModernBertConfig(**SMALL, **special, cls_token_id=1, sep_token_id=2)
    assert without_pooler(config) == {}
    assert without_pooler(RobertaConfig(**SMALL)) == {"add_pooling_layer": False}


@pytest.mark.parametrize("dropout", [None, 0.3])
def test_dropout_is_that_of_our_encoders_alone(tmp_path, dropout):
    ours = KexueConfig(vocab_size=9, hidden_size=32, num_hidden_layers=1, num_attention_heads=1)
    KexueModel(ours).save_pretrained(tmp_path / "ours")
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path / "theirs")
    expected = ours.hidden_dropout if dropout is None else dropout
    loaded = load_encoder(str(tmp_path / "ours"), dropout=dropout)
    assert loaded.layers[0].dropout.p == expected
    theirs = load_encoder(str(tmp_path / "theirs"), dropout=dropout)
    assert theirs.config.hidden_dropout_prob == 0.1


def test_the_longest_input_that_an_encoder_really_takes():
    assert longest_input(BertModel(BertConfig(**SMALL))) == 40
    ours = KexueConfig(vocab_size=9, hidden_size=32, num_hidden_layers=1, num_attention_heads=1)
    assert longest_input(KexueModel(ours)) == 10**9
    roberta = RobertaModel(RobertaConfig(**SMALL)).eval()
    limit = longest_input(roberta)
    assert limit == 38
    ids = torch.full((1, limit), 7)
    assert roberta(ids).last_hidden_state.shape == (1, limit, 32)
    with pytest.raises(RuntimeError):
        roberta(torch.full((1, limit + 1), 7))
