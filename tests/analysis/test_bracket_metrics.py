import pytest

from kexue.analysis.bracket_metrics import BracketScores, bracket_scores


def test_words_and_whole_texts_are_not_counted():
    gold = {(0, 1), (0, 2), (2, 4), (0, 5)}
    found = {(1, 2), (0, 2), (1, 4), (2, 4), (0, 5)}
    scores = bracket_scores([found], [gold], [5])
    assert scores.precision == 2 / 3
    assert scores.recall == 1.0
    assert scores.f1 == pytest.approx(0.8)


def test_the_mean_is_over_texts():
    long_text = {(0, n) for n in range(2, 10)}
    scores = bracket_scores([long_text, {(0, 2)}], [long_text, {(1, 3)}], [10, 3])
    assert scores == BracketScores(0.5, 0.5, 0.5)


def test_a_text_without_constituents_is_right_when_none_is_found():
    assert bracket_scores([set()], [{(0, 3)}], [3]) == BracketScores(1.0, 1.0, 1.0)
    assert bracket_scores([{(0, 2)}], [set()], [3]) == BracketScores(0.0, 1.0, 0.0)
    assert bracket_scores([set()], [{(0, 2)}], [3]) == BracketScores(1.0, 0.0, 0.0)


def test_nothing_in_common():
    assert bracket_scores([{(0, 2)}], [{(1, 3)}], [3]) == BracketScores(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("predicted", "sizes"), [([], [3]), ([set()], []), ([set()] * 2, [3])])
def test_missing_texts_are_an_error(predicted, sizes):
    with pytest.raises(ValueError, match="as many of each"):
        bracket_scores(predicted, [set()], sizes)


def test_no_texts_are_an_error():
    with pytest.raises(ValueError, match="one or more"):
        bracket_scores([], [], [])


def test_figures():
    scores = BracketScores(0.25, 0.5, 1 / 3)
    assert scores.to_dict() == {"precision": 0.25, "recall": 0.5, "f1": 1 / 3}
    assert "F1 33.3" in str(scores)
