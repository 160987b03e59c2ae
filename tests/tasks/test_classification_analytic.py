import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue.tasks.classification import TextClassifier
from kexue.tasks.classification_analytic import fit_head
from kexue.tasks.classification_model import ClassifierSettings, build
from kexue.tasks.classification_vectors import text_vectors

_SPEC = importlib.util.spec_from_file_location(
    "classifying", Path(__file__).parents[1] / "tasks" / "classifying.py"
)
classifying = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(classifying)
make_texts = classifying.make_texts


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    settings = ClassifierSettings(
        encoder=classifying.write_encoder(tmp_path_factory.mktemp("encoder"))
    )
    return build(settings, ["a"], ["high", "low", "middle"])


def test_the_layer_is_the_formula_of_the_article(parts):
    model, tokenizer = parts
    texts, ridge = make_texts(150, 0), 0.03
    before = [p.clone() for p in model.encoder.parameters()]
    fit_head(model, tokenizer, texts, ridge=ridge, batch_size=2)
    for one, other in zip(before, model.encoder.parameters(), strict=True):
        assert torch.equal(one, other)
    labels = np.array([label for _, label in texts])
    given = text_vectors(model.eval(), tokenizer, [text for text, _ in texts])
    x = np.concatenate(list(given)).astype(float)
    names = model.config.labels
    means = np.stack([x[labels == name].mean(0) for name in names])
    priors = np.array([(labels == name).mean() for name in names])
    inside = x - means[[names.index(label) for label in labels]]
    covariance = inside.T @ inside / len(x) + ridge * np.diag(x.var(0))
    weight = np.linalg.solve(covariance, means.T)
    scores = x @ weight + np.log(priors) - np.einsum("cd,dc->c", means, weight) / 2
    expected = np.exp(scores - scores.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    found = TextClassifier(model, tokenizer)([text for text, _ in texts])
    probabilities = [list(p.probabilities.values()) for p in found]
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)


def test_it_classifies_and_leaves_the_mode_as_it_was(parts):
    model, tokenizer = parts
    model.train()
    fit_head(model, tokenizer, make_texts(300, 0), ridge=0.01)
    assert model.training
    test = make_texts(90, 2)
    scores = TextClassifier(model, tokenizer).score([t for t, _ in test], [y for _, y in test])
    assert scores.accuracy > 0.8


def test_the_model_can_have_labels_in_any_order(parts):
    model, tokenizer = parts
    settings = ClassifierSettings(encoder="mini")
    other, _ = build(settings, ["a"], ["middle", "low", "high"])
    other.encoder, other.head = model.encoder, torch.nn.Linear(64, 3)
    texts = make_texts(120, 3)
    fit_head(model, tokenizer, texts, ridge=0.1)
    fit_head(other, tokenizer, texts, ridge=0.1)
    torch.testing.assert_close(other.head.weight, model.head.weight[[2, 1, 0]])
