import importlib.util
import json
from pathlib import Path

import pytest
import torch

from kexue.tasks.classification import PredictedLabel, TextClassifier
from kexue.tasks.classification_model import ClassifierSettings, build

_SPEC = importlib.util.spec_from_file_location(
    "classifying", Path(__file__).parents[1] / "tasks" / "classifying.py"
)
classifying = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(classifying)
make_texts = classifying.make_texts


def make(folder, *, pairs=False):
    encoder = classifying.write_encoder(folder)
    settings = ClassifierSettings(encoder=encoder, window=10)
    text = ("a", "b") if pairs else "a"
    return TextClassifier(*build(settings, [text], ["high", "low", "middle"]))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return make(tmp_path_factory.mktemp("encoder"))


def test_probabilities_are_the_softmax_of_the_model(classifier):
    texts = [text for text, _ in make_texts(20, 0, length=(2, 5))]
    for text, found in zip(texts, classifier(texts, batch_size=3), strict=True):
        batch = classifier.tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            expected = classifier.model(**batch).logits[0].softmax(0)
        assert list(found.probabilities) == ["high", "low", "middle"]
        got = torch.tensor(list(found.probabilities.values()))
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
        assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-12)
        assert found.score == found.probabilities[found.label] == max(found.probabilities.values())


def test_every_part_of_a_long_text_counts(classifier):
    text = "a b c d e f g h " * 30
    (whole,) = classifier([text])
    for changed in ("z z z z z z z z " + text[16:], text[:-16] + "z z z z z z z z "):
        assert classifier([changed])[0].probabilities != whole.probabilities
    # One of twice the same is that one.
    (once,) = classifier(["a b c d e f g h"])
    assert once.probabilities == pytest.approx(whole.probabilities, abs=1e-5)


def test_a_huge_text_is_read_to_its_end(classifier):
    (found,) = classifier(["a b " * 2_000])
    (short,) = classifier(["a b " * 4])
    assert found.probabilities == pytest.approx(short.probabilities, abs=1e-4)


def test_a_saved_folder_says_the_same(classifier, tmp_path):
    classifier.save_pretrained(tmp_path / "model")
    texts = [text for text, _ in make_texts(9, 1)]
    again = TextClassifier.from_pretrained(tmp_path, device="cpu")
    assert again.labels == ["high", "low", "middle"]
    assert again(texts) == classifier(texts)
    assert list(again.stream(iter(texts))) == again(texts)


def test_pairs_are_two_segments(tmp_path):
    classifier = make(tmp_path, pairs=True)
    pair = ("a b", "y z")
    (found,) = classifier([pair])
    batch = classifier.tokenizer([pair[0]], [pair[1]], return_tensors="pt")
    with torch.no_grad():
        expected = classifier.model(**batch).logits[0].softmax(0)
    got = torch.tensor(list(found.probabilities.values()))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="pairs of texts"):
        classifier(["a"])


def test_mistakes_are_told(classifier, tmp_path):
    with pytest.raises(ValueError, match="Put the text into brackets"):
        classifier("a b")
    with pytest.raises(ValueError, match="a list of texts"):
        classifier([("a", "b")])
    with pytest.raises(ValueError, match="It holds no model"):
        TextClassifier.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "kexue-entities"}))
    with pytest.raises(ValueError, match="It holds 'kexue-entities'"):
        TextClassifier.from_pretrained(tmp_path)


def test_no_texts_have_no_labels(classifier):
    assert classifier([]) == []


def test_scores_count_unknown_labels_as_wrong(classifier):
    texts = [text for text, _ in make_texts(12, 2)]
    labels = [found.label for found in classifier(texts)]
    assert classifier.score(texts, labels).accuracy == 1
    assert classifier.score(texts, ["other", *labels[1:]]).accuracy == pytest.approx(11 / 12)


def test_a_label_prints_and_is_a_json_object():
    found = PredictedLabel("a", 0.75, {"a": 0.75, "b": 0.25})
    assert str(found) == "a (0.75)"
    assert json.loads(json.dumps(found.to_dict()))["probabilities"]["b"] == 0.25
