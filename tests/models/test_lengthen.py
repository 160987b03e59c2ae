import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    RobertaConfig,
)

from kexue.models import EntityConfig, EntityModel, lengthen
from kexue.models.lengthen import FAMILIES, lengthen_positions, restore_positions

TRAINED, LONG = 16, 100
SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "embedding_size": 8,
}
SPECIAL = {
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "mobilebert": {"intra_bottleneck_size": 16, "true_hidden_size": 16},
}
COUNTED_AFTER_PADDING = {
    *("camembert", "data2vec-text", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"),
    "xlm-roberta-xl",
}


def small(kind: str, *, trained: int = TRAINED):
    """A model of a family with random weights that reads `trained` tokens."""
    offset = 2 if kind in COUNTED_AFTER_PADDING else 0
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        **{**SMALL, **SPECIAL.get(kind, {})},
        max_position_embeddings=trained + offset,
        pad_token_id=1 if offset else 0,
    )
    model = AutoModel.from_config(config).eval()
    with torch.no_grad():  # rows as different as trained ones are
        model.embeddings.position_embeddings.weight.normal_()
    return model, offset


def text(length: int) -> torch.Tensor:
    return torch.randint(2, 50, (2, length), generator=torch.Generator().manual_seed(length))


def states(model, ids, **options) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **options).last_hidden_state


def longer_rows(rows: torch.Tensor, length: int, alpha: float = 0.4) -> torch.Tensor:
    """The two-digit form of the article, row by row."""
    u = (rows - alpha * rows[0]) / (1 - alpha)
    n = len(rows)
    return torch.stack([alpha * u[t // n] + (1 - alpha) * u[t % n] for t in range(length)])


@pytest.mark.parametrize("kind", FAMILIES)
def test_equals_a_stock_model_with_the_longer_table(kind):
    model, offset = small(kind)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    table = weights["embeddings.position_embeddings.weight"]
    longer = longer_rows(table[offset:].double(), LONG).float()
    weights["embeddings.position_embeddings.weight"] = torch.cat((table[:offset], longer))
    config = AutoConfig.for_model(**model.config.to_dict())
    config.max_position_embeddings = LONG + offset
    stock = AutoModel.from_config(config).eval()
    stock.load_state_dict(weights)

    lengthen_positions(model, LONG)
    ids = text(LONG)
    torch.testing.assert_close(states(model, ids), states(stock, ids), rtol=0, atol=2e-6)
    assert not torch.allclose(
        states(model, ids)[:, TRAINED:], states(model, ids.flip(1))[:, TRAINED:]
    )


@pytest.mark.parametrize("kind", FAMILIES)
def test_short_texts_are_read_as_before_bit_for_bit(kind):
    model, offset = small(kind)
    ids = text(TRAINED)
    ids[1, 10:] = model.config.pad_token_id
    mask = (ids != model.config.pad_token_id).long()
    table = model.embeddings.position_embeddings.weight.detach().clone()
    before = states(model, ids, attention_mask=mask)
    lengthen_positions(model, LONG)
    assert torch.equal(states(model, ids, attention_mask=mask), before)
    after = model.embeddings.position_embeddings.weight
    assert after.shape[0] == model.config.max_position_embeddings == LONG + offset
    assert torch.equal(after[: TRAINED + offset], table)


@pytest.mark.parametrize("kind", FAMILIES)
def test_save_load_and_undo(kind, tmp_path):
    model, offset = small(kind)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    lengthen_positions(model, LONG)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    ids = text(LONG)
    assert torch.equal(states(again, ids), states(model, ids))
    assert again.config.max_position_embeddings == LONG + offset

    for lengthened in (model, again):
        restore_positions(lengthened)
        found = lengthened.state_dict()
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) for name in weights)
        with pytest.raises((IndexError, RuntimeError)):
            states(lengthened, ids)


def test_undoing_leaves_nothing_in_the_configuration():
    model, _ = small("roberta")
    config = model.config.to_dict()
    lengthen_positions(model, LONG)
    assert model.config.to_dict() != config
    restore_positions(model)
    assert model.config.to_dict() == config


def test_what_training_has_made_of_the_first_rows_is_kept():
    model, _ = small("bert")
    lengthen_positions(model, LONG)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight[3] = 7.0
    restore_positions(model)
    assert (model.embeddings.position_embeddings.weight[3] == 7.0).all()


def test_lengthened_again_from_the_trained_rows():
    model, _ = small("electra")
    once, _ = small("electra")
    lengthen_positions(once, 200)
    lengthen_positions(model, LONG)
    with pytest.raises(ValueError, match=r"lengthened from 16 to 100 tokens.*restore_positions"):
        lengthen_positions(model, 200)
    restore_positions(model)
    lengthen_positions(model, 200)
    ids = text(200)
    assert torch.equal(states(model, ids), states(once, ids))


def test_the_largest_length_is_the_square():
    model, _ = small("roberta", trained=5)
    lengthen_positions(model, 25, alpha=0.3)
    table = model.embeddings.position_embeddings.weight.detach()
    assert torch.cdist(table[2:], table[2:]).fill_diagonal_(1).min() > 1e-3
    assert states(model, text(25)).isfinite().all()
    model, _ = small("roberta", trained=5)
    with pytest.raises(ValueError, match="length is 26; allowed: 1 to 25"):
        lengthen_positions(model, 26)


def test_training_reaches_the_new_rows():
    model, _ = small("bert")
    lengthen_positions(model, LONG)
    model(input_ids=text(LONG)).last_hidden_state.pow(2).mean().backward()
    assert model.embeddings.position_embeddings.weight.grad[TRAINED:].any(-1).all()


def test_state_of_the_model_is_kept():
    model, _ = small("bert")
    model.train().half()
    model.embeddings.dropout.eval()
    model.embeddings.position_embeddings.requires_grad_(False)
    modes = [part.training for part in model.modules()]
    lengthen_positions(model, LONG)
    table = model.embeddings.position_embeddings
    assert [part.training for part in model.modules()] == modes
    assert table.weight.dtype == torch.float16
    assert not table.weight.requires_grad
    assert table.num_embeddings == LONG
    assert set(model.state_dict()) == set(small("bert")[0].state_dict())


def test_a_task_model_around_the_encoder(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(**SMALL, max_position_embeddings=TRAINED, num_labels=3)
    model = BertForSequenceClassification(config).eval()
    lengthen_positions(model, LONG)
    model.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(text(LONG)).logits, model(text(LONG)).logits)


def test_a_model_that_nests_the_configuration(tmp_path):
    torch.manual_seed(0)
    encoder = RobertaConfig(**SMALL, max_position_embeddings=TRAINED + 2, pad_token_id=1)
    model = EntityModel(EntityConfig(encoder, id2label={0: "person"}, window=LONG)).eval()
    # an encoder that comes from a folder brings a configuration of its own
    model.encoder.save_pretrained(tmp_path / "encoder")
    model.encoder = AutoModel.from_pretrained(tmp_path / "encoder", add_pooling_layer=False)
    lengthen_positions(model, LONG)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert again.config.encoder_config.max_position_embeddings == LONG + 2
    ids, mask = text(LONG), torch.ones(2, LONG, dtype=torch.long)
    with torch.no_grad():
        for one, other in zip(
            model(ids, mask).to_tuple(), again(ids, mask).to_tuple(), strict=True
        ):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    restore_positions(again)
    assert again.config.encoder_config.max_position_embeddings == TRAINED + 2


REFUSED = {
    "llama": "llama.*Not llama: it has rotary positions, which ReRoPE",
    "modernbert": "Not modernbert: it has rotary positions",
    "roformer": "Not roformer: its positions are fixed sinusoids",
    "deberta-v2": "Not deberta-v2: it learns distances between tokens",
    "longformer": "Not longformer: its attention is made for long texts",
    "kexue": "Not kexue: its configuration says how far it reads",
    "gpt2": "Not gpt2: where its positions are is not known here",
}


@pytest.mark.parametrize(("kind", "message"), REFUSED.items())
def test_a_model_without_such_a_table_is_refused_with_the_reason(kind, message):
    options = {**SMALL, "n_embd": 16, "n_layer": 1, "n_head": 2, "attention_window": [4]}
    options |= {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    wanted = AutoConfig.for_model(kind).to_dict()
    config = AutoConfig.for_model(kind, **{k: v for k, v in options.items() if k in wanted})
    with pytest.raises(ValueError, match=message):
        lengthen_positions(AutoModel.from_config(config), LONG)


def test_no_model_of_transformers_and_several_encoders_are_refused():
    with pytest.raises(ValueError, match=r"model is 'Linear'.*Pass a model of transformers"):
        lengthen_positions(nn.Linear(2, 2), LONG)
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**SMALL), BertConfig(**SMALL, is_decoder=True, add_cross_attention=True)
    )
    with pytest.raises(ValueError, match="'bert and bert'; allowed: one encoder"):
        lengthen_positions(EncoderDecoderModel(config), 1000)


def test_sinusoids_are_refused():
    config = DistilBertConfig(vocab_size=50, **SPECIAL["distilbert"], sinusoidal_pos_embds=True)
    with pytest.raises(ValueError, match="sinusoids"):
        lengthen_positions(DistilBertModel(config), 1000)


@pytest.mark.parametrize("length", [-1, 5, TRAINED])
def test_a_model_that_reads_as_much_already_is_refused(length):
    model, _ = small("roberta")
    with pytest.raises(ValueError, match="This roberta model reads 16 tokens already"):
        lengthen_positions(model, length)


def test_a_bad_alpha_leaves_the_model_alone():
    model, _ = small("bert")
    with pytest.raises(ValueError, match=r"alpha is 0\.5"):
        lengthen_positions(model, LONG, alpha=0.5)
    assert model.config.max_position_embeddings == TRAINED


def test_a_model_that_was_not_lengthened_cannot_be_restored():
    model, _ = small("bert")
    with pytest.raises(ValueError, match="allowed: one that lengthen_positions has changed"):
        restore_positions(model)


class ForgetsItsRows(BertModel):
    """Reads positions from a copy of its own, which nobody tells."""

    def __init__(self, config):
        super().__init__(config)
        old = torch.arange(config.max_position_embeddings)[None]
        inner = self.embeddings.forward
        self.embeddings.forward = lambda input_ids: inner(
            input_ids, position_ids=old[:, : input_ids.shape[1]]
        )


FAULTS = {
    "first rows": "first rows of the longer table are not the trained ones",
    "whole text": "size",  # torch's own message
    "short text": "a short text is no longer read as it was",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_self_check_finds_a_fault_and_takes_everything_back(fault, monkeypatch):
    torch.manual_seed(0)
    config = BertConfig(**SMALL, max_position_embeddings=TRAINED)
    model = (ForgetsItsRows if fault == "whole text" else BertModel)(config).eval()
    before = model.state_dict()["embeddings.position_embeddings.weight"].clone()
    saved = model.config.to_dict()
    if fault == "first rows":
        right = lengthen.hierarchical_table
        wrong = lambda table, length, alpha: right(table, length, alpha=alpha) * 1.001  # noqa: E731
        monkeypatch.setattr(lengthen, "hierarchical_table", wrong)
    if fault == "short text":
        norm = model.embeddings.LayerNorm
        inner = norm.forward
        norm.forward = lambda x: inner(x) * model.config.max_position_embeddings
    with pytest.raises((RuntimeError, IndexError), match=FAULTS[fault]):
        lengthen_positions(model, LONG)
    assert torch.equal(model.embeddings.position_embeddings.weight, before)
    assert model.config.to_dict() == saved
    assert model.embeddings.position_ids.shape == (1, TRAINED)


def test_a_roberta_table_is_not_lengthened_as_if_its_first_rows_were_positions():
    model, _ = small("roberta")
    table = model.embeddings.position_embeddings.weight.detach().clone()
    lengthen_positions(model, LONG)
    long = model.embeddings.position_embeddings.weight.detach()
    mistaken = longer_rows(table, LONG + 2)
    assert not torch.allclose(long[TRAINED + 2 :], mistaken[TRAINED + 2 :], atol=0.1)
