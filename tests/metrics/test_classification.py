import random

import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from kexue.metrics.classification import classification_scores


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed):
    draw = random.Random(seed)
    labels = ["新闻", "sport", "a", "b"]
    gold = draw.choices(labels, k=60)
    # A label that is never gold, and one that is never predicted
    predicted = [draw.choice([g, *labels[1:], "other"]) for g in gold]
    found = classification_scores(gold, predicted)
    assert found.accuracy == pytest.approx(accuracy_score(gold, predicted))
    names = sorted({*gold, *predicted})
    p, r, f1, support = precision_recall_fscore_support(
        gold, predicted, labels=names, zero_division=0
    )
    assert list(found.labels) == names
    for k, name in enumerate(names):
        score = found.labels[name]
        assert (score.precision, score.recall, score.f1) == pytest.approx((p[k], r[k], f1[k]))
        assert score.gold == support[k]
    assert found.macro_f1 == pytest.approx(f1.mean())
    matrix = confusion_matrix(gold, predicted, labels=names)
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            assert found.confusion.get((one, other), 0) == matrix[i, j]


def test_the_table_begins_with_the_most_frequent_label():
    found = classification_scores(["b", "b", "a"], ["b", "a", "a"])
    assert [row["label"] for row in found.table()] == ["b", "a"]
    assert found.table()[0]["correct"] == 1
    assert "accuracy 0.6667" in str(found)
    assert found.to_dict().keys() == {"accuracy", "macro_f1", "f1_a", "f1_b"}


def test_no_texts_score_nothing():
    found = classification_scores([], [])
    assert (found.accuracy, found.macro_f1, found.table()) == (0, 0, [])


def test_another_number_of_labels_is_refused():
    with pytest.raises(ValueError, match="predicted is '1 labels'; allowed: 2"):
        classification_scores(["a", "b"], ["a"])
