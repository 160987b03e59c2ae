import pytest
import torch

from kexue.data.synthetic import sample_records
from kexue.metrics import span_scores
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_decoding import find_everywhere
from kexue.tasks.ner_model import EntitySettings, build
from kexue.tasks.ner_thresholds import choose_thresholds, measure


def test_no_other_threshold_gives_a_better_f1():
    torch.manual_seed(0)
    found, gold = [], []
    for _ in range(30):
        spans = [(i, i + 1, "xy"[i % 2], torch.randn(()).item()) for i in range(6)]
        found.append(spans)
        gold.append([s[:3] for s in spans if s[3] + torch.randn(()).item() > 0.5])
    limits = choose_thresholds(found, gold, ["x", "y"])

    def f1(x, y):
        bound = {"x": x, "y": y}
        return span_scores(gold, [[s[:3] for s in t if s[3] > bound[s[2]]] for t in found]).f1

    best = f1(limits["x"], limits["y"])
    assert best > f1(0.0, 0.0)
    for x in torch.linspace(-2, 2, 21).tolist():
        for y in torch.linspace(-2, 2, 21).tolist():
            assert f1(x, y) <= best + 1e-12


@pytest.mark.parametrize("head", ["efficient", "crf"])
def test_figures_and_saved_thresholds(head):
    torch.manual_seed(0)
    records = sample_records(30, seed=2)
    texts = [record["text"] for record in records]
    settings = EntitySettings(encoder="scratch", layers=1, width=64, head=head)
    model, tokenizer = build(settings, texts, ["person", "place"])
    recognizer = EntityRecognizer(model, tokenizer)
    # Gold is what the model finds above 0.3: a threshold that the measure has to discover.
    level = [0.3, 0.3]
    gold = [
        [s[:3] for s in spans]
        for spans in find_everywhere(recognizer.model, tokenizer, texts, thresholds=level)
    ]
    scores, calibrated = measure(recognizer, texts, gold, calibrate=True)
    if head == "crf":
        assert calibrated is None
        assert scores.f1 == 1.0
        return
    assert scores.recall == 1.0
    assert scores.precision < 0.9
    assert calibrated.f1 > 0.97
    assert all(0.2 < limit < 0.4 for limit in recognizer.model.config.thresholds)


def test_thresholds_that_do_not_carry_over_are_not_saved():
    """Where 0.5 for all is perfect, no choice of thresholds beats it."""
    torch.manual_seed(0)
    texts = [record["text"] for record in sample_records(20, seed=2)]
    model, tokenizer = build(
        EntitySettings(encoder="scratch", layers=1, width=64), texts, ["person", "place"]
    )
    recognizer = EntityRecognizer(model, tokenizer)
    found = find_everywhere(recognizer.model, tokenizer, texts)
    gold = [[s[:3] for s in spans] for spans in found]
    scores, calibrated = measure(recognizer, texts, gold, calibrate=True)
    assert scores.f1 == 1.0
    assert calibrated.f1 <= 1.0
    assert recognizer.model.config.thresholds is None


def test_without_texts_there_is_nothing_to_choose():
    model, tokenizer = build(
        EntitySettings(encoder="scratch", layers=1, width=64), ["ab"] * 2, ["place"]
    )
    scores, calibrated = measure(EntityRecognizer(model, tokenizer), [], [], calibrate=True)
    assert (scores.f1, calibrated) == (0.0, None)
