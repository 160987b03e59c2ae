"""Span scores against seqeval and nervaluate, against loops, and their edge cases."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nervaluate.entities import Entity
from nervaluate.strategies import EntityTypeEvaluation, PartialEvaluation
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from kexue.metrics import LabelScore, span_scores

LABELS = ("a", "b", "c")

places = st.tuples(st.integers(0, 12), st.integers(1, 9)).map(lambda p: (p[0], p[0] + p[1]))
nested_spans = st.lists(st.tuples(places, st.sampled_from(LABELS)), max_size=8).map(
    lambda spans: [(*place, label) for place, label in spans]
)


@st.composite
def flat_spans(draw):
    """Draw spans that do not overlap, from left to right, sometimes touching."""
    spans, place = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=5)):
        label = draw(st.sampled_from(LABELS))
        spans.append((place + gap, place + gap + length, label))
        place += gap + length
    return spans


def corpora(texts):
    return st.lists(st.tuples(texts, texts), min_size=1, max_size=4).map(
        lambda pairs: tuple(map(list, zip(*pairs, strict=True)))
    )


def tags(spans, length=40):
    """Write flat spans as BIO tags, a character a token."""
    row = ["O"] * length
    for start, end, label in spans:
        row[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return row


@pytest.mark.filterwarnings("ignore")  # seqeval warns where nothing was predicted
@given(corpora(flat_spans()))
def test_strict_scores_agree_with_seqeval(corpus):
    gold, predicted = corpus
    true, guess = [tags(t) for t in gold], [tags(t) for t in predicted]
    options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    scores = span_scores(gold, predicted)
    assert scores.f1 == pytest.approx(f1_score(true, guess, **options))
    assert scores.precision == pytest.approx(precision_score(true, guess, **options))
    assert scores.recall == pytest.approx(recall_score(true, guess, **options))
    if not scores.labels:
        return
    report = classification_report(true, guess, output_dict=True, **options)
    assert scores.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert {row["label"] for row in scores.table()} == report.keys() - {
        "micro avg",
        "macro avg",
        "weighted avg",
    }
    for row in scores.table():
        theirs = report[row["label"]]
        assert row["precision"] == pytest.approx(theirs["precision"])
        assert row["recall"] == pytest.approx(theirs["recall"])
        assert row["f1"] == pytest.approx(theirs["f1-score"])
        assert row["gold"] == theirs["support"]


def nervaluate(strategy, gold, predicted):
    """Sum nervaluate's counts over texts and labels, each label by itself."""
    total = [0, 0, 0]
    for true, guess in zip(gold, predicted, strict=True):
        for label in LABELS:
            sides = [
                [Entity(label, start, end - 1) for start, end, kind in spans if kind == label]
                for spans in (true, guess)
            ]
            result, _ = strategy.evaluate(*sides, [label])
            total[0] += result.correct + 0.5 * result.partial
            total[1] += result.possible
            total[2] += result.actual
    return total


@given(corpora(flat_spans()))
def test_partial_scores_of_flat_spans_agree_with_nervaluate(corpus):
    partial = span_scores(*corpus).partial
    expected = nervaluate(PartialEvaluation(), *corpus)
    assert [partial.correct, partial.gold, partial.predicted] == expected


@given(corpora(flat_spans()))
def test_type_scores_find_at_least_the_partners_nervaluate_finds(corpus):
    assert span_scores(*corpus).type.correct >= nervaluate(EntityTypeEvaluation(), *corpus)[0]


def test_a_wider_search_for_partners_is_where_type_differs_from_nervaluate():
    gold, predicted = [[(0, 4, "a"), (4, 8, "a")]], [[(2, 7, "a"), (7, 9, "a")]]
    assert nervaluate(EntityTypeEvaluation(), gold, predicted)[0] == 1
    assert span_scores(gold, predicted).type.correct == 2


@given(corpora(nested_spans), st.integers(1, 12))
def test_counts_agree_with_loops(corpus, long):
    gold, predicted = ([set(spans) for spans in side] for side in corpus)
    scores = span_scores(*corpus, long=long)
    right = sum(len(t & p) for t, p in zip(gold, predicted, strict=True))
    assert scores.micro == LabelScore(sum(map(len, gold)), sum(map(len, predicted)), right)
    for label, score in scores.labels.items():
        alone = [[{s for s in spans if s[2] == label} for spans in side] for side in corpus]
        assert score == span_scores(*alone).micro
    inside = found = lengthy = lengthy_found = 0
    for true, guess in zip(gold, predicted, strict=True):
        for span in true:
            others = [o for o in true if o[:2] != span[:2]]
            contains = any(span[0] <= o[0] and o[1] <= span[1] for o in others)
            contained = any(o[0] <= span[0] and span[1] <= o[1] for o in others)
            inside += contains or contained
            found += (contains or contained) and span in guess
            lengthy += span[1] - span[0] >= long
            lengthy_found += span[1] - span[0] >= long and span in guess
    assert (scores.nested.gold, scores.nested.correct) == (inside, found)
    assert (scores.long.gold, scores.long.correct) == (lengthy, lengthy_found)


@given(corpora(nested_spans))
def test_looser_ways_to_match_never_score_less(corpus):
    scores = span_scores(*corpus)
    assert scores.f1 <= scores.partial.f1 <= scores.type.f1 <= 1
    assert scores.f1 <= scores.exact.f1 <= 1


@given(corpora(nested_spans))
def test_gold_and_predicted_swapped_swap_precision_and_recall(corpus):
    there, back = span_scores(*corpus), span_scores(*corpus[::-1])
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.f1 == back.f1
    assert there.partial.f1 == back.partial.f1
    assert there.confusion == {(g, p): n for (p, g), n in back.confusion.items()}


@given(corpora(nested_spans))
def test_everything_found_is_a_perfect_score_unless_there_was_nothing(corpus):
    gold, _ = corpus
    scores = span_scores(gold, gold)
    perfect = 1.0 if any(gold) else 0.0
    assert [scores.f1, scores.macro_f1, scores.partial.f1, scores.exact.f1] == [perfect] * 4


@given(corpora(nested_spans))
def test_the_order_and_repetition_of_spans_do_not_count(corpus):
    gold, predicted = corpus
    again = span_scores([s[::-1] for s in gold], [s + s for s in predicted])
    assert again == span_scores(gold, predicted)
    assert list(again.confusion) == list(span_scores(gold, predicted).confusion)


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [([], []), ([[]], [[]]), ([[]], [[(0, 1, "a")]]), ([[(0, 1, "a")]], [[]])],
)
def test_without_anything_right_all_scores_are_zero(gold, predicted):
    scores = span_scores(gold, predicted)
    rates = {k: v for k, v in scores.to_dict().items() if not k.endswith("_gold")}
    assert set(rates.values()) == {0.0}
    assert str(scores)


def test_a_corpus_score_is_no_mean_over_texts():
    gold = [[(0, 1, "a")], [(k, k + 1, "a") for k in range(9)]]
    assert span_scores(gold, [gold[0], []]).recall == 0.1


def test_the_confusion_is_sorted_with_no_span_last():
    gold = [[(8, 9, "b")], [(6, 7, "b"), (0, 1, "a"), (2, 3, "a")]]
    predicted = [[(4, 5, "a")], [(6, 7, "b"), (2, 3, "b")]]
    assert list(span_scores(gold, predicted).confusion.items()) == [
        (("a", "b"), 1),
        (("a", None), 1),
        (("b", "b"), 1),
        (("b", None), 1),
        ((None, "a"), 1),
    ]


def test_macro_counts_a_label_that_was_only_predicted():
    scores = span_scores([[(0, 1, "a")]], [[(0, 1, "a"), (2, 3, "b")]])
    assert scores.macro_f1 == 0.5


def test_flat_numbers_for_a_trainer():
    scores = span_scores([[(0, 12, "地址"), (0, 2, "b")]], [[(0, 12, "地址"), (0, 3, "b")]])
    flat = scores.to_dict()
    assert all(isinstance(v, float) and math.isfinite(v) for v in flat.values())
    assert flat["f1"] == flat["precision"] == flat["recall"] == 0.5
    assert flat["partial_f1"] == 0.75
    assert (flat["type_f1"], flat["exact_f1"]) == (1.0, 0.5)
    assert (flat["nested_recall"], flat["nested_gold"]) == (0.5, 2.0)
    assert (flat["long_recall"], flat["long_gold"]) == (1.0, 1.0)
    assert (flat["f1_地址"], flat["f1_b"]) == (1.0, 0.0)


def test_it_prints_as_a_table_with_columns_below_each_other():
    gold = [[(0, 12, "地址"), (0, 2, "person")]]
    lines = str(span_scores(gold, [[(0, 12, "地址")]])).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["person", "地址", "micro"]
    assert len({len(line) + ("地址" in line) * 2 for line in lines[:4]}) == 1
    assert lines[-1] == (
        "macro F1 0.5000, partial F1 0.6667, recall of 2 nested 0.5000, recall of 1 long 1.0000"
    )


def test_the_table_begins_with_the_most_frequent_label():
    gold = [[(0, 1, "b"), (1, 2, "b"), (2, 3, "a")]]
    table = span_scores(gold, [[(5, 6, "c")]]).table()
    assert [row["label"] for row in table] == ["b", "a", "c"]
    assert table[2] == {
        "label": "c",
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "gold": 0,
        "predicted": 1,
        "correct": 0,
    }


def test_texts_that_are_missing_are_an_error():
    with pytest.raises(ValueError, match="predicted is '1 texts'; allowed: 2 texts"):
        span_scores([[], []], [[]])


@pytest.mark.parametrize("span", [(5, 5, "a"), (5, 4, "a")])
def test_an_inclusive_end_is_explained(span):
    with pytest.raises(ValueError, match=r"predicted\[1\] is \(5, .*The end is exclusive"):
        span_scores([[], []], [[], [span]])
