import json

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from kexue import SentenceEncoder
from kexue.models import scratch_encoder, scratch_tokenizer
from kexue.tasks.embedding import is_sentence_model, new_sentence_model

TEXTS = [
    "北京的天气很好。",
    "",
    "He works in Beijing and lives in Shanghai.",
    "花",
    "   ",
    "上海",
    "The weather in Beijing is fine, 天气很好。" * 6,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder from scratch with its tokenizer, as a pre-training leaves it."""
    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    tokenizer = scratch_tokenizer(TEXTS * 2, vocab_size=300, max_length=512)
    scratch_encoder(len(tokenizer), layers=2, width=64).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def by_hand(encoder, text, how):
    """The vector of one text, without batches and windows."""
    inputs = encoder.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        output = encoder.model.encoder(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            output_hidden_states=True,
        )
    first, last = output.hidden_states[1][0], output.last_hidden_state[0]
    found = {"P1": last[0], "P3": last.mean(0), "P4": (first.mean(0) + last.mean(0)) / 2}
    return found[how].numpy()


@pytest.mark.parametrize("how", ["P1", "P3", "P4"])
def test_vectors_are_those_of_each_text_by_itself(folder, how):
    encoder = SentenceEncoder.from_pretrained(folder, pooling=how)
    found = encoder(TEXTS, batch_size=3)
    assert found.dtype == np.float32
    assert found.shape == (7, 64) == (7, encoder.dimension)
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, by_hand(encoder, text, how), rtol=1e-3, atol=1e-4)


def test_the_batch_size_and_the_order_change_nothing(folder):
    encoder = SentenceEncoder.from_pretrained(folder)
    found = encoder(TEXTS)
    for size in (1, 2, 100):
        np.testing.assert_allclose(encoder(TEXTS, batch_size=size), found, atol=1e-5)
    np.testing.assert_allclose(encoder(TEXTS[::-1])[::-1], found, atol=1e-5)
    parts = list(encoder.stream(TEXTS * 20, batch_size=1))
    assert [len(part) for part in parts] == [64, 64, 12]
    np.testing.assert_allclose(np.concatenate(parts), np.tile(found, (20, 1)), atol=1e-5)


def test_normalized_vectors_have_length_one(folder):
    encoder = SentenceEncoder.from_pretrained(folder)
    found = encoder(TEXTS, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    plain = encoder(TEXTS)
    np.testing.assert_allclose(found * np.linalg.norm(plain, axis=1)[:, None], plain, atol=1e-5)


def test_a_long_text_is_the_mean_of_its_pieces_by_their_tokens(folder):
    encoder = SentenceEncoder.from_pretrained(folder, pooling="P1", window=19)
    text = TEXTS[-1]
    room = 17
    ids = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = [ids[begin : begin + room] for begin in range(0, len(ids), room)]
    assert len(pieces[-1]) < room
    begin, end = encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id
    with torch.no_grad():
        vectors = [
            encoder.model(torch.tensor([[begin, *piece, end]])).vectors[0].numpy()
            for piece in pieces
        ]
    expected = np.average(vectors, axis=0, weights=[len(piece) for piece in pieces])
    np.testing.assert_allclose(encoder([text, "花"])[0], expected, rtol=1e-4, atol=1e-5)


def test_a_saved_folder_gives_the_same_vectors(folder, tmp_path):
    encoder = SentenceEncoder.from_pretrained(folder, pooling="P4", window=20)
    encoder.model.set_projection(nn.Linear(64, 5))
    encoder.save_pretrained(tmp_path / "run" / "model")
    assert not is_sentence_model(folder)
    for place in (tmp_path / "run", tmp_path / "run" / "model"):
        assert is_sentence_model(place)
        again = SentenceEncoder.from_pretrained(place)
        assert (again.dimension, again.model.config.window) == (5, 20)
        np.testing.assert_allclose(again(TEXTS), encoder(TEXTS), atol=1e-6)


@pytest.mark.parametrize("window", [30, 900])
def test_a_window_holds_for_every_kind_of_folder_as_far_as_the_encoder_goes(
    folder, tmp_path, window
):
    tokenizer = scratch_tokenizer(TEXTS * 2, vocab_size=300, max_length=800)
    scratch_encoder(len(tokenizer), layers=1, width=64).save_pretrained(tmp_path / "raw")
    tokenizer.save_pretrained(tmp_path / "raw")
    SentenceEncoder.from_pretrained(tmp_path / "raw").save_pretrained(tmp_path / "vectors")
    for name in ("raw", "vectors"):
        usual = SentenceEncoder.from_pretrained(tmp_path / name)
        assert usual.model.config.window == 512
        other = SentenceEncoder.from_pretrained(tmp_path / name, window=window)
        assert other.model.config.window == min(window, 800)


def test_dropout_is_for_training_alone(folder, tmp_path):
    SentenceEncoder.from_pretrained(folder).save_pretrained(tmp_path)
    for place in (folder, tmp_path):
        encoder = SentenceEncoder.from_pretrained(place, dropout=0.3)
        assert encoder.model.encoder.config.hidden_dropout == 0.3
        np.testing.assert_array_equal(encoder(TEXTS), encoder(TEXTS))
        ids = torch.tensor([[2, 5, 6, 3]])
        encoder.model.train()
        assert not torch.equal(encoder.model(ids).vectors, encoder.model(ids).vectors)


def test_another_pooling_only_where_it_makes_sense(folder, tmp_path):
    encoder = SentenceEncoder.from_pretrained(folder, pooling="P3")
    encoder.save_pretrained(tmp_path / "plain")
    other = SentenceEncoder.from_pretrained(tmp_path / "plain", pooling="P1")
    np.testing.assert_allclose(
        other(TEXTS), SentenceEncoder.from_pretrained(folder, pooling="P1")(TEXTS), atol=1e-6
    )
    with pytest.raises(ValueError, match="pooling is 'P9'"):
        SentenceEncoder.from_pretrained(tmp_path / "plain", pooling="P9")
    encoder.model.set_projection(nn.Linear(64, 5))
    encoder.save_pretrained(tmp_path / "mapped")
    with pytest.raises(ValueError, match="begin with the encoder that the folder was made from"):
        SentenceEncoder.from_pretrained(tmp_path / "mapped", pooling="P1")


def test_a_bert_brings_its_pooler_and_its_limit(folder, tmp_path):
    tokenizer = scratch_tokenizer(TEXTS * 2, vocab_size=300, max_length=512)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    bert = BertModel(config).eval()
    bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = SentenceEncoder.from_pretrained(tmp_path, pooling="P2")
    assert encoder.model.config.window == 24
    states = bert(**tokenizer("上海", return_tensors="pt")).last_hidden_state
    expected = bert.pooler.dense(states[:, 0])[0].detach().numpy()
    np.testing.assert_allclose(encoder(["上海"])[0], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(encoder(TEXTS)).all()


def test_no_texts_and_one_string(folder):
    encoder = SentenceEncoder.from_pretrained(folder)
    assert encoder([]).shape == (0, 64)
    with pytest.raises(ValueError, match=r"Put the text into brackets"):
        encoder("北京")


def test_wrong_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"encoder is '.*none'; allowed: 'mini', or a folder"):
        SentenceEncoder.from_pretrained(tmp_path / "none")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="transformers says"):
        SentenceEncoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "kexue-entities"}))
    with pytest.raises(ValueError, match="encoder is"):
        SentenceEncoder.from_pretrained(tmp_path)


def test_the_encoder_that_comes_along_knows_near_from_far():
    model, tokenizer = new_sentence_model("mini", pooling="P4")
    encoder = SentenceEncoder(model, tokenizer)
    a, b, c = encoder(["今天天气很好。", "今天的天气真好。", "他买了三本书。"], normalize=True)
    assert a @ b > a @ c
