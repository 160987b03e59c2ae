"""Which errors there are, of which kind, and which come first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.training.mistakes import KINDS, SpanError, worst_mistakes

places = st.tuples(st.integers(0, 10), st.integers(1, 6)).map(lambda p: (p[0], p[0] + p[1]))
spans = st.tuples(places, st.sampled_from("ab")).map(lambda s: (*s[0], s[1]))
gold_lists = st.lists(spans, max_size=6)
guess_lists = st.lists(st.tuples(spans, st.floats(0.5, 1)).map(lambda s: (*s[0], s[1])), max_size=6)
corpora = st.lists(st.tuples(gold_lists, guess_lists), max_size=5)
TEXT = "0123456789abcdefghij"


def pick(corpus, limit=30):
    gold, predicted = [g for g, _ in corpus], [p for _, p in corpus]
    return worst_mistakes([f"{k}{TEXT}" for k in range(len(corpus))], gold, predicted, limit=limit)


def errors(gold, predicted):
    found = worst_mistakes([TEXT], [gold], [predicted])
    return [(e.kind, e.gold, e.predicted) for mistake in found for e in mistake.errors]


@given(corpora)
def test_every_difference_is_in_one_error(corpus):
    wrong = [k for k, (g, p) in enumerate(corpus) if set(g) != {s[:3] for s in p}]
    found = pick(corpus)
    assert sorted(int(m.text[0]) for m in found) == wrong
    for mistake in found:
        gold, predicted = (set(corpus[int(mistake.text[0])][0]), set(mistake.predicted))
        assert set(mistake.gold) == gold
        found_spans = {span[:3] for span in predicted}
        missed = [e.gold for e in mistake.errors if e.gold]
        surplus = [e.predicted[:3] for e in mistake.errors if e.predicted]
        assert sorted(missed) == sorted(gold - found_spans)
        assert sorted(surplus) == sorted(found_spans - gold)


@given(corpora)
def test_kinds_say_what_is_the_case(corpus):
    for mistake in pick(corpus):
        for error in mistake.errors:
            assert error.kind in KINDS
            gold, guess = error.gold, error.predicted
            assert (gold is None) == (error.kind == "spurious")
            assert (guess is None) == (error.kind == "missed")
            if error.kind == "wrong label":
                assert gold[:2] == guess[:2]
                assert gold[2] != guess[2]
            if error.kind == "wrong boundary":
                assert gold[2] == guess[2]
                assert max(gold[0], guess[0]) < min(gold[1], guess[1])


@given(corpora, st.integers(0, 4))
def test_the_most_confident_come_first(corpus, limit):
    found = pick(corpus)
    worst = [mistake.errors[0].score for mistake in found]
    assert worst == sorted(worst, reverse=True)
    for mistake in found:
        scores = [error.score for error in mistake.errors]
        assert scores == sorted(scores, reverse=True)
    assert pick(corpus, limit) == found[:limit]


def test_one_of_each_kind():
    gold = [(0, 2, "a"), (3, 6, "a"), (7, 9, "b")]
    predicted = [(0, 2, "b", 0.9), (4, 7, "a", 0.8), (10, 12, "b", 0.7)]
    assert errors(gold, predicted) == [
        ("wrong label", (0, 2, "a"), (0, 2, "b", 0.9)),
        ("wrong boundary", (3, 6, "a"), (4, 7, "a", 0.8)),
        ("spurious", None, (10, 12, "b", 0.7)),
        ("missed", (7, 9, "b"), None),
    ]


def test_the_span_that_overlaps_most_is_the_partner():
    found = errors([(0, 8, "a")], [(6, 9, "a", 0.9), (0, 7, "a", 0.6)])
    assert ("wrong boundary", (0, 8, "a"), (0, 7, "a", 0.6)) in found
    assert ("spurious", None, (6, 9, "a", 0.9)) in found


def test_texts_with_missed_spans_only_come_last_the_fullest_first():
    found = pick([([(0, 1, "a")], []), ([(0, 1, "a"), (2, 3, "a")], []), ([], [(0, 1, "a", 0.5)])])
    assert [mistake.text[0] for mistake in found] == ["2", "1", "0"]


def test_of_a_span_found_twice_the_surer_counts():
    assert errors([], [(0, 1, "a", 0.9), (0, 1, "a", 0.6)]) == [
        ("spurious", None, (0, 1, "a", 0.9))
    ]


def test_lengths_that_differ_are_an_error():
    with pytest.raises(ValueError, match="gold is '0 texts'; allowed: 1 texts"):
        worst_mistakes(["a"], [], [[]])
    with pytest.raises(ValueError, match="predicted is '2 texts'; allowed: 1 texts"):
        worst_mistakes(["a"], [[]], [[], []])


def test_a_missed_span_has_no_score():
    assert SpanError("missed", (0, 1, "a"), None).score == 0
    assert SpanError("spurious", None, (0, 1, "a", 0.75)).score == 0.75
