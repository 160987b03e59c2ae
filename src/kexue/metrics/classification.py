"""Scores of texts that have one label each: accuracy, macro F1, and what was taken for what."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kexue._check import invalid
from kexue.metrics.spans import LabelScore


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of predicted labels; made by `classification_scores`.

    Args:
        micro: the counts of all labels together; with one label a text, precision, recall and F1
            of it are the accuracy.
        labels: the counts of each label that occurs in gold or predicted, sorted.
        confusion: how often which gold label was predicted as which, by (gold, predicted).

    Example:
        >>> scores = classification_scores(["a", "a", "b"], ["a", "b", "b"])
        >>> round(scores.accuracy, 4), scores.confusion["a", "b"]
        (0.6667, 1)
    """

    micro: LabelScore
    labels: dict[str, LabelScore]
    confusion: dict[tuple[str, str], int]

    @property
    def accuracy(self) -> float:
        """Share of the texts whose label is right."""
        return self.micro.recall

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that occur in gold or predicted."""
        return sum(score.f1 for score in self.labels.values()) / max(len(self.labels), 1)

    def to_dict(self) -> dict[str, float]:
        """Give the scores as flat numbers, as a Trainer logs them.

        Returns:
            `accuracy`, `macro_f1`, and `f1_<label>` for each label.
        """
        each = {f"f1_{label}": score.f1 for label, score in self.labels.items()}
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, **each}

    def table(self) -> list[dict[str, Any]]:
        """Give the scores of each label as rows, the most frequent gold label first.

        Returns:
            Rows with label, precision, recall, f1, gold, predicted and correct.
        """
        names = ("precision", "recall", "f1", "gold", "predicted", "correct")
        by_size = sorted(self.labels.items(), key=lambda item: (-item[1].gold, item[0]))
        return [{"label": label, **{n: getattr(s, n) for n in names}} for label, s in by_size]

    def __str__(self) -> str:
        rows = [f"accuracy {self.accuracy:.4f}, macro F1 {self.macro_f1:.4f}"]
        rows += [
            f"  {row['label']}: F1 {row['f1']:.4f}, {row['gold']} gold" for row in self.table()
        ]
        return "\n".join(rows)


def classification_scores(gold: Sequence[str], predicted: Sequence[str]) -> ClassificationScores:
    """Compare predicted labels with the right ones.

    Args:
        gold: the right label of each text.
        predicted: the predicted label of each text.

    Returns:
        The scores; all 0 where there are no texts.

    Raises:
        ValueError: if the two differ in length.

    Example:
        >>> classification_scores(["a", "b"], ["a", "b"]).to_dict()
        {'accuracy': 1.0, 'macro_f1': 1.0, 'f1_a': 1.0, 'f1_b': 1.0}
    """
    if len(gold) != len(predicted):
        raise invalid("predicted", f"{len(predicted)} labels", f"{len(gold)}, as many as gold ones")
    confusion = Counter(zip(gold, predicted, strict=True))
    there, said = Counter(gold), Counter(predicted)
    labels = {
        label: LabelScore(there[label], said[label], confusion[label, label])
        for label in sorted(there.keys() | said.keys())
    }
    right = sum(score.correct for score in labels.values())
    return ClassificationScores(
        LabelScore(len(gold), len(gold), right), labels, dict(sorted(confusion.items()))
    )
