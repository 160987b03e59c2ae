import json

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    ModernBertConfig,
    RobertaConfig,
)

from kexue.models import KexueConfig, SentenceConfig, SentenceModel
from kexue.models.classifier import ClassifierConfig, ClassifierModel

AutoConfig.register(ClassifierConfig.model_type, ClassifierConfig, exist_ok=True)
for auto in (AutoModel, AutoModelForSequenceClassification):
    auto.register(ClassifierConfig, ClassifierModel, exist_ok=True)

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
LABELS = {0: "坏", 1: "好", 2: "neither"}


def make(encoder="bert", **options):
    torch.manual_seed(0)
    return ClassifierModel(ClassifierConfig(ENCODERS[encoder](), id2label=LABELS, **options)).eval()


def batch():
    ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))
    attention = torch.ones(3, 12, dtype=torch.long)
    attention[1, 8:] = 0
    return ids, attention


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("pooling", ["P1", "P3", "P4"])
def test_a_saved_folder_loads_with_auto_classes_and_computes_the_same(tmp_path, encoder, pooling):
    model = make(encoder, pooling=pooling, window=24, pairs=True)
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert "_name_or_path" not in config["encoder_config"]
    ids, attention = batch()
    for auto in (AutoModel, AutoModelForSequenceClassification):
        again = auto.from_pretrained(tmp_path).eval()
        assert isinstance(again, ClassifierModel)
        assert again.config.labels == ["坏", "好", "neither"]
        assert (again.config.pooling, again.config.window, again.config.pairs) == (
            pooling,
            24,
            True,
        )
        torch.testing.assert_close(again(ids, attention).logits, model(ids, attention).logits)


@pytest.mark.parametrize("pooling", ["P1", "P2", "P3", "P4"])
def test_vectors_are_those_of_the_sentence_model(pooling):
    model = make(pooling=pooling)
    sentences = SentenceModel(SentenceConfig(ENCODERS["bert"](), pooling=pooling)).eval()
    sentences.encoder = model.encoder
    ids, attention = batch()
    found = model(ids, attention)
    torch.testing.assert_close(found.vectors, sentences(ids, attention).vectors)
    torch.testing.assert_close(found.logits, found.vectors @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_of_tokens_and_of_pieces_changes_nothing(encoder):
    model = make(encoder)
    ids, attention = batch()
    alone = model(ids[1:2, :8]).logits
    padded = torch.zeros(2, 3, 12, dtype=torch.long)
    mask = torch.zeros(2, 3, 12, dtype=torch.long)
    padded[0, 0], mask[0, 0] = ids[1], attention[1]
    padded[1], mask[1] = ids, attention
    found = model(padded, mask).logits
    torch.testing.assert_close(found[:1], alone, rtol=1e-4, atol=1e-5)


def test_pieces_are_averaged_by_their_weights():
    model = make()
    ids, attention = batch()
    apart = model(ids, attention).vectors
    weights = torch.tensor([[10, 3, 7]])
    together = model(ids[None], attention[None], piece_weights=weights)
    expected = (apart * weights[0][:, None]).sum(0, keepdim=True) / 20
    torch.testing.assert_close(together.vectors, expected, rtol=1e-4, atol=1e-5)
    plain = model(ids[None]).vectors
    torch.testing.assert_close(plain[0], model(ids).vectors.mean(0), rtol=1e-4, atol=1e-5)


def test_the_loss_is_cross_entropy_and_reaches_every_weight():
    model = make().train()
    ids, attention = batch()
    labels = torch.tensor([2, 0, 1])
    found = model(ids, attention, labels=labels)
    torch.testing.assert_close(found.loss, F.cross_entropy(found.logits, labels))
    found.loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("encoder", ["bert", "kexue"])
def test_embeddings_can_take_the_place_of_tokens(encoder):
    model = make(encoder)
    ids, attention = batch()
    words = model.get_input_embeddings()(ids)
    found = model(inputs_embeds=words, attention_mask=attention).logits
    torch.testing.assert_close(found, model(ids, attention).logits)
    torch.testing.assert_close(model(inputs_embeds=words).logits, model(ids).logits)


def test_segments_reach_the_encoder_in_pieces_too():
    model = make()
    ids, attention = batch()
    kinds = torch.ones_like(ids)
    plain = model(ids, attention).logits
    given = model(ids, attention, token_type_ids=kinds).logits
    assert not torch.allclose(plain, given)
    inside = model(ids[:, None], attention[:, None], token_type_ids=kinds[:, None]).logits
    torch.testing.assert_close(inside, given, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="pooling is 'P9'"):
        ClassifierConfig(pooling="P9")
    with pytest.raises(ValueError, match="encoder_config is None"):
        ClassifierModel(ClassifierConfig())
    with pytest.raises(ValueError, match="which has no pooler"):
        make("kexue", pooling="P2")
