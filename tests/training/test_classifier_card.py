from huggingface_hub import ModelCard

from kexue.metrics.classification import classification_scores
from kexue.training.classifier_card import ClassifierCard, write_classifier_card

SCORES = classification_scores(["a|b", "a|b", "c"], ["a|b", "c", "c"])


def written(folder, **changes):
    card = ClassifierCard("mine", ["a|b", "c"], "P3", 128, **changes)
    return write_classifier_card(folder, card)


def test_figures_are_for_the_hub_and_for_people(tmp_path):
    path = written(tmp_path, scores=SCORES, dataset="dev", facts={"head": "analytic"})
    found = ModelCard.load(path)
    results = {result.metric_name: result.metric_value for result in found.data.eval_results}
    assert results == {"accuracy": 0.6667, "F1 (macro)": 0.6667}
    assert found.data.pipeline_tag == "text-classification"
    assert "**Accuracy 66.67**, macro F1 66.67, measured on dev." in found.text
    assert r"| a\|b | 2 | 1 | 100.00 | 50.00 | 66.67 |" in found.text
    assert "| head | analytic |" in found.text
    assert "at most 128 tokens" in " ".join(found.text.split())


def test_without_scores_the_labels_are_listed(tmp_path):
    found = ModelCard.load(written(tmp_path))
    assert r"- a\|b" in found.text
    assert "Accuracy" not in found.text
    assert found.data.eval_results is None


def test_a_classifier_of_pairs_shows_a_pair(tmp_path):
    text = written(tmp_path, pairs=True, example=("a 'b'", "c")).read_text("utf-8")
    assert "classifier([(\"a 'b'\", 'c')])[0]" in text
    assert "texts.jsonl" in text
