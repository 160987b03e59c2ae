import pytest
import torch
from transformers import BertConfig, BertModel

from kexue.models import EntityConfig, EntityModel, SentenceConfig, SentenceModel, load_tokenizer
from kexue.tasks.classification_model import ClassifierSettings, build


def test_an_encoder_keeps_its_weights_and_its_window(embedding_options):
    settings = ClassifierSettings(encoder=embedding_options.model, dropout=0.25)
    model, tokenizer = build(settings, ["one"], ["a", "b", "c"])
    assert model.head.out_features == 3
    assert model.config.window == min(512, tokenizer.model_max_length)
    assert model.encoder.config.hidden_dropout == 0.25
    again, _ = build(settings, ["one"], ["a", "b", "c"])
    for one, other in zip(model.encoder.parameters(), again.encoder.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", [SentenceModel, EntityModel])
def test_a_model_of_another_task_gives_its_encoder(kind, embedding_options, tmp_path):
    plain, tokenizer = build(ClassifierSettings(encoder=embedding_options.model), ["a"], ["x", "y"])
    config = plain.config.encoder_config
    given = kind(
        SentenceConfig(config)
        if kind is SentenceModel
        else EntityConfig(config, id2label={0: "place"})
    )
    given.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = build(ClassifierSettings(encoder=str(tmp_path)), ["a"], ["x", "y"])
    assert type(model.encoder) is type(plain.encoder)
    expected = given.encoder.state_dict()
    found = model.encoder.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    model.save_pretrained(tmp_path / "again")
    assert type(model).from_pretrained(tmp_path / "again").config.labels == ["x", "y"]


def test_a_pooler_is_kept_where_it_is_used(embedding_options, tmp_path):
    config = BertConfig(
        vocab_size=len(load_tokenizer(embedding_options.model)),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(tmp_path)
    load_tokenizer(embedding_options.model).save_pretrained(tmp_path)
    model, _ = build(ClassifierSettings(encoder=str(tmp_path), pooling="P2"), ["a"], ["x", "y"])
    assert model.encoder.pooler is not None
    model, _ = build(ClassifierSettings(encoder=str(tmp_path)), ["a"], ["x", "y"])
    assert model.encoder.pooler is None


def test_from_scratch_the_vocabulary_is_that_of_both_texts_of_pairs():
    settings = ClassifierSettings(encoder="scratch-characters", layers=1, width=64)
    model, tokenizer = build(settings, [("ab", "cd"), ("ab", "cd")], ["x", "y"])
    assert model.config.pairs
    assert tokenizer.unk_token_id not in tokenizer("abcd")["input_ids"]


WRONG = {
    "head": ({"head": "linear"}, "head is 'linear'; allowed: 'softmax', 'analytic'"),
    "initial_head": ({"initial_head": "zero"}, "initial_head is 'zero'"),
    "ridge": ({"ridge": -1.0}, "ridge is -1.0"),
    "nan": ({"ridge": float("nan")}, "ridge is nan"),
    "training_pieces": ({"training_pieces": 0}, "training_pieces is 0"),
    "encoder": ({"encoder": "runs/none"}, "encoder is 'runs/none'"),
    "pooling": ({"pooling": "P2"}, "which has no pooler"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_do_not_exist_are_refused(name, embedding_options):
    changes, message = WRONG[name]
    options = {"encoder": embedding_options.model, **changes}
    with pytest.raises(ValueError, match=message):
        build(ClassifierSettings(**options), ["a"], ["x", "y"])
