import json

import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, BertModel, ModernBertConfig, RobertaConfig

from kexue.models import KexueConfig, KexueModel, SentenceConfig, SentenceModel

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 40,
}
ENCODERS = {
    "bert": lambda: BertConfig(**SMALL),
    "roberta": lambda: RobertaConfig(**SMALL),
    "modernbert": lambda: ModernBertConfig(
        **SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
    ),
    "kexue": lambda: KexueConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2
    ),
}


def make(encoder="bert", **options):
    torch.manual_seed(0)
    return SentenceModel(SentenceConfig(ENCODERS[encoder](), **options)).eval()


def batch():
    ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))
    attention = torch.ones(3, 12, dtype=torch.long)
    attention[1, 8:] = 0
    return ids, attention


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("pooling", ["P1", "P3", "P4"])
def test_a_saved_folder_loads_with_auto_classes_and_computes_the_same(tmp_path, encoder, pooling):
    model = make(encoder, pooling=pooling, features=8, window=24)
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    assert (
        "_name_or_path" not in json.loads((tmp_path / "config.json").read_text())["encoder_config"]
    )
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(again, SentenceModel)
    assert (again.config.pooling, again.config.window, again.config.dimension) == (pooling, 24, 8)
    ids, attention = batch()
    torch.testing.assert_close(again(ids, attention).vectors, model(ids, attention).vectors)


@pytest.mark.parametrize("pooling", ["P1", "P2", "P3", "P4"])
def test_vectors_are_the_poolings_of_the_encoder(pooling):
    model = make(pooling=pooling)
    ids, attention = batch()
    with torch.no_grad():
        states = model.encoder(ids, attention, output_hidden_states=True).hidden_states
        found = model(ids, attention).vectors
    for text, length in enumerate(attention.sum(1).tolist()):
        last = states[-1][text, :length]
        expected = {
            "P1": last[0],
            "P3": last.mean(0),
            "P4": (states[1][text, :length].mean(0) + last.mean(0)) / 2,
        }
        if pooling == "P2":
            dense = model.encoder.pooler.dense
            expected["P2"] = dense.weight @ last[0] + dense.bias
        torch.testing.assert_close(found[text], expected[pooling], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("pooling", ["P1", "P3", "P4"])
def test_padding_changes_nothing(encoder, pooling):
    model = make(encoder, pooling=pooling)
    ids, attention = batch()
    alone = model(ids[1:2, :8]).vectors
    torch.testing.assert_close(model(ids, attention).vectors[1:2], alone, rtol=1e-4, atol=1e-5)


def test_linear_maps_follow_each_other():
    model = make()
    ids, attention = batch()
    plain = model(ids, attention).vectors
    first, second = nn.Linear(32, 12), nn.Linear(12, 5, bias=False)
    model.set_projection(first)
    torch.testing.assert_close(model(ids, attention).vectors, first(plain))
    model.set_projection(second)
    torch.testing.assert_close(
        model(ids, attention).vectors, second(first(plain)), rtol=1e-4, atol=1e-6
    )
    assert model.config.dimension == 5
    with pytest.raises(ValueError, match=r"linear.in_features is 12; allowed: 5"):
        model.set_projection(second)


def test_a_linear_map_is_saved(tmp_path):
    model = make()
    model.set_projection(nn.Linear(32, 7))
    model.save_pretrained(tmp_path)
    ids, attention = batch()
    again = SentenceModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(ids, attention).vectors, model(ids, attention).vectors)


def test_an_encoder_keeps_its_weights(tmp_path):
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path)
    weights = BertModel.from_pretrained(tmp_path).state_dict()
    for pooling in ("P2", "P3"):
        model = SentenceModel.from_encoder(str(tmp_path), pooling=pooling)
        inside = model.encoder.state_dict()
        assert ("pooler.dense.weight" in inside) == (pooling == "P2")
        assert all(torch.equal(weights[name], value) for name, value in inside.items())


def test_dropout_of_our_own_encoders_can_be_chosen(tmp_path):
    KexueModel(ENCODERS["kexue"]()).save_pretrained(tmp_path)
    model = SentenceModel.from_encoder(str(tmp_path), dropout=0.25)
    assert model.encoder.layers[0].dropout.p == 0.25
    model.save_pretrained(tmp_path / "again")
    again = SentenceModel.from_pretrained(tmp_path / "again")
    assert again.encoder.layers[0].dropout.p == 0.25


@pytest.mark.parametrize("encoder", ["modernbert", "kexue"])
def test_a_pooler_that_is_not_there_is_missed_at_once(encoder):
    with pytest.raises(ValueError, match=r"no pooler'; allowed: P1, P3 or P4"):
        make(encoder, pooling="P2")


def test_unknown_poolings_and_missing_encoders_are_refused():
    with pytest.raises(ValueError, match=r"pooling is 'mean'; allowed: 'P1', 'P2', 'P3', 'P4'"):
        SentenceConfig(BertConfig(**SMALL), pooling="mean")
    with pytest.raises(ValueError, match="encoder_config is None"):
        SentenceModel(SentenceConfig())


def test_gradients_reach_the_encoder_under_checkpointing():
    gradients = []
    for checkpointing in (False, True):
        model = make(pooling="P4")
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model(*batch()).vectors.square().sum().backward()
        gradients.append(model.encoder.embeddings.word_embeddings.weight.grad)
    torch.testing.assert_close(*gradients)
