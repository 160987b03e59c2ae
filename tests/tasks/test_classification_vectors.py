import numpy as np
import pytest
import torch

from kexue.models import SentenceConfig, SentenceModel
from kexue.tasks.classification_model import ClassifierSettings, build
from kexue.tasks.classification_vectors import text_vectors
from kexue.tasks.embedding import SentenceEncoder


@pytest.fixture(scope="module")
def model(embedding_options):
    settings = ClassifierSettings(encoder=embedding_options.model, window=12)
    return build(settings, ["a"], ["x", "y"])


def vectors(model, texts, **options):
    return np.concatenate(list(text_vectors(model[0].eval(), model[1], texts, **options)))


def test_vectors_are_those_of_the_sentence_encoder(model, text_lists):
    texts = [*text_lists["one"], "one two three " * 30, ""]
    config = SentenceConfig(model[0].config.encoder_config, pooling="P3", window=12)
    sentences = SentenceModel(config)
    sentences.encoder = model[0].encoder
    expected = SentenceEncoder(sentences, model[1])(texts)
    np.testing.assert_allclose(vectors(model, texts), expected, atol=1e-5)


def test_batches_and_order_change_nothing(model, text_lists):
    texts = [*text_lists["two"], "a b c " * 20]
    whole = vectors(model, texts)
    np.testing.assert_allclose(vectors(model, texts, batch_size=1), whole, atol=1e-5)
    np.testing.assert_allclose(vectors(model, texts[::-1])[::-1], whole, atol=1e-5)


def test_pieces_of_a_long_pair_are_averaged_by_their_tokens(embedding_options):
    settings = ClassifierSettings(encoder=embedding_options.model, window=12)
    model, tokenizer = build(settings, [("a", "b")], ["x", "y"])
    model.eval()
    pair = ("one two three four five six", "b1")
    found = vectors((model, tokenizer), [pair, ("one", "b1")])
    from kexue.data.pair_windows import cut_pairs

    pieces = list(cut_pairs([pair], tokenizer, window=12))
    assert len(pieces) > 1
    with torch.no_grad():
        parts = [model(torch.tensor([piece.input_ids])).vectors[0].numpy() for piece in pieces]
    weights = [sum(piece.keep) for piece in pieces]
    np.testing.assert_allclose(found[0], np.average(parts, axis=0, weights=weights), atol=1e-5)


def test_texts_and_pairs_are_told_apart(model, embedding_options):
    with pytest.raises(ValueError, match="allowed: a list of texts"):
        vectors(model, [("a", "b")])
    settings = ClassifierSettings(encoder=embedding_options.model)
    of_pairs = build(settings, [("a", "b")], ["x", "y"])
    for wrong in ("ab", ("a", "b", "c")):
        with pytest.raises(ValueError, match="pairs of texts"):
            vectors(of_pairs, [wrong])


def test_no_text_has_no_vector(model):
    assert list(text_vectors(model[0], model[1], [])) == []
