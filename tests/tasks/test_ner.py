import math
from itertools import pairwise

import pytest
import torch

from kexue.data.synthetic import sample_records
from kexue.data.windows import cut_windows
from kexue.models import EntityModel
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_decoding import find_spans
from kexue.tasks.ner_examples import Collator, Example, make_examples
from kexue.tasks.ner_model import EntitySettings, build

LABELS = ["person", "place"]
TEXTS = [
    "王小明在北京工作。",
    "He works in Beijing, China.",
    "他在上海交通大学读书，后来去了南京。",
]
GOLD = [
    [(0, 3, "person"), (4, 6, "place")],
    [(12, 19, "place"), (12, 26, "place")],
    [(2, 8, "place"), (2, 4, "place"), (15, 17, "place")],
]


def recognizer(head="efficient", *, window=512, overlap=None, seed=0):
    torch.manual_seed(seed)
    settings = EntitySettings(
        encoder="scratch-characters", layers=1, width=64, head=head, window=window, overlap=overlap
    )
    model, tokenizer = build(settings, TEXTS * 2, LABELS)
    return EntityRecognizer(model, tokenizer)


def test_examples_hold_the_tokens_of_the_gold_spans():
    tokenizer = recognizer().tokenizer
    examples, missed = make_examples(TEXTS, GOLD, tokenizer, labels=LABELS, window=64, overlap=8)
    assert missed == []
    assert sorted(examples[0].spans) == [(0, 1, 3), (1, 5, 6)]
    assert sorted(examples[2].spans) == [(1, 3, 4), (1, 3, 8), (1, 16, 17)]
    # Blanks are no tokens, so that places in a Latin text differ from characters.
    windows = list(cut_windows(TEXTS, tokenizer, window=64, overlap=8))
    _, first, last = sorted(examples[1].spans)[0]
    assert TEXTS[1][windows[1].starts[first] : windows[1].ends[last]] == "Beijing"


def test_entities_that_cannot_be_learnt_are_named_not_lost():
    tokenizer = recognizer().tokenizer
    texts = ["ab cd", "x" * 50]
    gold = [[(2, 5, "place"), (0, 2, "place")], [(0, 40, "person"), (3, 5, "place")]]
    examples, missed = make_examples(texts, gold, tokenizer, labels=LABELS, window=12, overlap=4)
    assert [(m.text, m.start, m.end, m.reason) for m in missed] == [
        (0, 2, 5, "does not align with tokens"),
        (1, 0, 40, "longer than a window"),
    ]
    held = sum(len(example.spans) for example in examples)
    assert held == 2  # (0, 2) of the first text, and (3, 5) in the one window that holds it


def test_windows_of_training_hold_every_span_that_fits():
    tokenizer = recognizer().tokenizer
    text = "a" * 100
    gold = [[(start, start + 4, "place") for start in range(0, 96, 3)]]
    examples, missed = make_examples([text], gold, tokenizer, labels=LABELS, window=22, overlap=4)
    assert missed == []
    assert len(examples) > 5


def test_collator_pads_to_the_longest_and_marks_what_is_kept():
    batch = Collator(recognizer().tokenizer)(
        [
            Example([2, 5, 3], [False, True, False], []),
            Example([2, 5, 6, 3], [False, True, True, False], [(1, 1, 2), (0, 1, 1)]),
        ]
    )
    assert batch["input_ids"].tolist() == [[2, 5, 3, 0], [2, 5, 6, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["span_mask"].dtype == torch.bool
    assert batch["spans"].tolist() == [[[-1] * 3, [-1] * 3], [[1, 1, 2], [0, 1, 1]]]


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
