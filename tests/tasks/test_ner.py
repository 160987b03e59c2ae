import math
from itertools import pairwise

import pytest
import torch

from kexue.data.synthetic import sample_records
from kexue.models import EntityModel
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_decoding import find_spans
from kexue.tasks.ner_model import EntitySettings, build

LABELS = ["person", "place"]
TEXTS = [
    "王小明在北京工作。",
    "He works in Beijing, China.",
    "他在上海交通大学读书，后来去了南京。",
]


def recognizer(head="efficient", *, window=512, overlap=None, seed=0):
    torch.manual_seed(seed)
    settings = EntitySettings(
        encoder="scratch-characters", layers=1, width=64, head=head, window=window, overlap=overlap
    )
    model, tokenizer = build(settings, TEXTS * 2, LABELS)
    return EntityRecognizer(model, tokenizer)


@pytest.mark.parametrize("head", ["efficient", "standard", "crf"])
def test_found_entities_slice_the_text_they_were_found_in(head):
    found = recognizer(head)([*TEXTS, "", "  \n", "😀 emoji 北京"])
    assert len(found) == 6
    assert found[3] == found[4] == []
    for text, entities in zip(TEXTS, found, strict=False):
        for entity in entities:
            assert text[entity.start : entity.end] == entity.text
            assert entity.text.strip() == entity.text != ""
            assert 0 <= entity.score <= 1
            assert entity.label in LABELS


@pytest.mark.parametrize("head", ["efficient", "standard", "crf"])
def test_a_text_that_fits_gives_the_same_windowed_or_not(head):
    wide = recognizer(head, window=512)
    narrow = EntityRecognizer(wide.model, wide.tokenizer)
    text = TEXTS[2]
    whole = wide([text])[0]
    narrow.model.config.window, narrow.model.config.overlap = len(text) + 2, 4
    assert narrow([text])[0] == whole


def test_order_batch_size_and_company_change_nothing():
    model = recognizer()
    texts = [r["text"] for r in sample_records(40, seed=5)]
    one_by_one = [model([text])[0] for text in texts]
    for batch_size in (1, 7, 64):
        for alone, together in zip(one_by_one, model(texts, batch_size=batch_size), strict=True):
            assert [(e.start, e.end, e.label) for e in alone] == [
                (e.start, e.end, e.label) for e in together
            ]


def test_threshold_is_a_probability_and_raises_precision():
    model = recognizer()
    low, high = model(TEXTS, threshold=0.4), model(TEXTS, threshold=0.6)
    assert sum(map(len, low)) > sum(map(len, high))
    assert all(e.score > 0.6 for entities in high for e in entities)
    assert all(e.score > 0.4 for entities in low for e in entities)
    # The logit of p is half of what it would be in a softmax over two classes: p = sigmoid(2 s).
    spans = next(iter(find_spans(model.model, model.tokenizer, TEXTS[:1])))
    scores = {span[:3]: span[3] for span in spans}
    for entity in model(TEXTS[:1])[0]:
        logit = scores[entity.start, entity.end, entity.label]
        assert entity.score == pytest.approx(1 / (1 + math.exp(-2 * logit)))


def test_calibrated_thresholds_are_used_and_saved(tmp_path):
    model = recognizer()
    before = model(TEXTS)
    model.model.config.thresholds = [50.0, 0.0]
    after = model(TEXTS)
    assert all(e.label == "place" for entities in after for e in entities)
    assert any(e.label == "person" for entities in before for e in entities)
    model.save_pretrained(tmp_path)
    again = EntityRecognizer.from_pretrained(tmp_path)
    assert again(TEXTS) == after
    assert isinstance(again.model, EntityModel)


def test_flat_keeps_no_overlap_and_prefers_the_better_sum():
    found = recognizer()(TEXTS, flat=True)
    for entities in found:
        for left, right in pairwise(entities):
            assert left.end <= right.start


def test_score_counts_what_cannot_be_represented_as_missed():
    model = recognizer()
    model.model.config.thresholds = [100.0, 100.0]
    scores = model.score(["ab cd"], [[(2, 5, "place"), (0, 2, "place")]])
    assert (scores.micro.gold, scores.micro.predicted, scores.recall) == (2, 0, 0.0)


def test_errors_say_what_to_type(tmp_path):
    model = recognizer()
    with pytest.raises(ValueError, match=r"into brackets: \[text\]"):
        model("北京")
    with pytest.raises(ValueError, match="a probability between 0 and 1"):
        model(TEXTS, threshold=1.5)
    with pytest.raises(ValueError, match="A CRF chooses one path"):
        recognizer("crf")(TEXTS, threshold=0.5)
    for content in (None, "{}", '{"model_type": "bert"}'):
        if content is not None:
            (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match="kexue train ner"):
            EntityRecognizer.from_pretrained(tmp_path)
