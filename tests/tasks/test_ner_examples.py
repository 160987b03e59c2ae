import torch

from kexue.data.windows import cut_windows
from kexue.models import scratch_tokenizer
from kexue.tasks.ner_examples import Collator, Example, make_examples

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


def tokenizer():
    return scratch_tokenizer(TEXTS * 2, unit="character")


def test_examples_hold_the_tokens_of_the_gold_spans():
    pieces = tokenizer()
    examples, missed = make_examples(TEXTS, GOLD, pieces, labels=LABELS, window=64, overlap=8)
    assert missed == []
    assert sorted(examples[0].spans) == [(0, 1, 3), (1, 5, 6)]
    assert sorted(examples[2].spans) == [(1, 3, 4), (1, 3, 8), (1, 16, 17)]
    # Blanks are no tokens, so that places in a Latin text differ from characters.
    windows = list(cut_windows(TEXTS, pieces, window=64, overlap=8))
    _, first, last = sorted(examples[1].spans)[0]
    assert TEXTS[1][windows[1].starts[first] : windows[1].ends[last]] == "Beijing"


def test_entities_that_cannot_be_learnt_are_named_not_lost():
    pieces = tokenizer()
    texts = ["ab cd", "x" * 50]
    gold = [[(2, 5, "place"), (0, 2, "place")], [(0, 40, "person"), (3, 5, "place")]]
    examples, missed = make_examples(texts, gold, pieces, labels=LABELS, window=12, overlap=4)
    assert [(m.text, m.start, m.end, m.reason) for m in missed] == [
        (0, 2, 5, "does not align with tokens"),
        (1, 0, 40, "longer than a window"),
    ]
    held = sum(len(example.spans) for example in examples)
    assert held == 2  # (0, 2) of the first text, and (3, 5) in the one window that holds it


def test_windows_of_training_hold_every_span_that_fits():
    pieces = tokenizer()
    text = "a" * 100
    gold = [[(start, start + 4, "place") for start in range(0, 96, 3)]]
    examples, missed = make_examples([text], gold, pieces, labels=LABELS, window=22, overlap=4)
    assert missed == []
    assert len(examples) > 5


def test_collator_pads_to_the_longest_and_marks_what_is_kept():
    batch = Collator(tokenizer())(
        [
            Example([2, 5, 3], [False, True, False], []),
            Example([2, 5, 6, 3], [False, True, True, False], [(1, 1, 2), (0, 1, 1)]),
        ]
    )
    assert batch["input_ids"].tolist() == [[2, 5, 3, 0], [2, 5, 6, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["span_mask"].dtype == torch.bool
    assert batch["spans"].tolist() == [[[-1] * 3, [-1] * 3], [[1, 1, 2], [0, 1, 1]]]
