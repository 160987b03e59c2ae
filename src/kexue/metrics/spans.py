"""Scores of extracted spans: strict, partial, by label, of nested and of long ones.

All scores are corpus scores: counts are summed over the texts before anything is divided, so they
are neither means over texts nor means over batches. Where nothing is to be found and nothing was,
a score is 0, not 1 and not nan.

    precision = correct / predicted, recall = correct / gold, F1 = 2 correct / (predicted + gold)
"""

import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from kexue._check import invalid
from kexue.metrics.matching import Span, count_confusion, count_overlaps, nested_places


@dataclass(frozen=True)
class LabelScore:
    """Counts of one label, or of one way to match, with the scores that follow from them.

    Args:
        gold: spans there are.
        predicted: spans that were predicted.
        correct: predicted spans that are right; partial matches can count one half.

    Example:
        >>> LabelScore(gold=3, predicted=1, correct=1).f1
        0.5
    """

    gold: int = 0
    predicted: int = 0
    correct: float = 0

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are right."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that were found."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.correct / (self.gold + self.predicted) if self.correct else 0.0


@dataclass(frozen=True)
class SpanScores:
    """Scores of a corpus of predicted spans; made by `span_scores`.

    Args:
        micro: all labels together, strict: boundaries and label agree.
        labels: the strict counts of each label that occurs in gold or predicted, sorted.
        partial: strict, and another overlap with a gold span of the same label counts one half.
        type: as `partial`, with such an overlap counting in full.
        exact: boundaries agree, whatever the label.
        nested: gold spans that contain, or lie in, another gold span of their text (no precision).
        long: gold spans of at least so many characters (no precision).
        confusion: how often which gold label was predicted as which, by (gold, predicted): spans
            with equal boundaries, None for a span that has no partner.

    Example:
        >>> scores = span_scores([[(0, 2, "place")]], [[(0, 2, "place"), (3, 4, "name")]])
        >>> scores.precision, scores.recall, scores.confusion[None, "name"]
        (0.5, 1.0, 1)
    """

    micro: LabelScore
    labels: dict[str, LabelScore]
    partial: LabelScore
    type: LabelScore
    exact: LabelScore
    nested: LabelScore
    long: LabelScore
    confusion: dict[tuple[str | None, str | None], int]

    @property
    def precision(self) -> float:
        """Micro precision."""
        return self.micro.precision

    @property
    def recall(self) -> float:
        """Micro recall."""
        return self.micro.recall

    @property
    def f1(self) -> float:
        """Micro F1."""
        return self.micro.f1

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that occur in gold or predicted."""
        return sum(score.f1 for score in self.labels.values()) / max(len(self.labels), 1)

    def to_dict(self) -> dict[str, float]:
        """Give the scores as flat numbers, as a Trainer logs them.

        Returns:
            `f1`, `precision`, `recall`, `macro_f1`, those of the other ways to match, the recall of
            nested and of long spans with their number, and `f1_<label>` for each label.
        """
        micro = {"f1": self.f1, "precision": self.precision, "recall": self.recall}
        ways = {"partial": self.partial, "type": self.type, "exact": self.exact}
        matched = {
            f"{way}_{name}": getattr(score, name)
            for way, score in ways.items()
            for name in ("f1", "precision", "recall")
        }
        subsets = {
            "nested_recall": self.nested.recall,
            "nested_gold": float(self.nested.gold),
            "long_recall": self.long.recall,
            "long_gold": float(self.long.gold),
        }
        each = {f"f1_{label}": score.f1 for label, score in self.labels.items()}
        return {**micro, "macro_f1": self.macro_f1, **matched, **subsets, **each}

    def table(self) -> list[dict[str, Any]]:
        """Give the scores of each label as rows, the most frequent gold label first.

        Returns:
            Rows with label, precision, recall, f1, gold, predicted and correct.
        """
        names = ("precision", "recall", "f1", "gold", "predicted", "correct")
        by_size = sorted(self.labels.items(), key=lambda item: (-item[1].gold, item[0]))
        return [{"label": label, **{n: getattr(s, n) for n in names}} for label, s in by_size]

    def __str__(self) -> str:
        rows = [(row["label"], self.labels[row["label"]]) for row in self.table()]
        rows.append(("micro", self.micro))
        width = max(_columns(label) for label, _ in rows)
        lines = [" " * width + " precision recall     F1    gold predicted"]
        for label, score in rows:
            name = label + " " * (width - _columns(label))
            figures = f"{score.precision:10.4f} {score.recall:6.4f} {score.f1:6.4f}"
            lines.append(f"{name}{figures} {score.gold:7d} {score.predicted:9d}")
        extra = f"macro F1 {self.macro_f1:.4f}, partial F1 {self.partial.f1:.4f}"
        for name, score in (("nested", self.nested), ("long", self.long)):
            if score.gold:
                extra += f", recall of {score.gold} {name} {score.recall:.4f}"
        return "\n".join([*lines, extra])


def _columns(text: str) -> int:
    """Count the terminal columns of a text; a Chinese character takes two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def span_scores(
    gold: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]], *, long: int = 10
) -> SpanScores:
    """Compare predicted spans with gold spans.

    Spans given twice in one text count once. For the partial scores every gold span has at most one
    partner: the equal one where it was predicted, and of the rest as many overlapping pairs of the
    same label as possible. (`nervaluate` agrees on flat spans, label by label; where spans nest,
    its partners depend on the order in which they are listed.)

    Args:
        gold: for each text its (start, end, label) in characters, end exclusive.
        predicted: for each text, in the same order, what was found.
        long: from how many characters on a gold span counts as long.

    Returns:
        The scores.

    Raises:
        ValueError: `gold` and `predicted` differ in length, or a span is empty.

    Example:
        >>> scores = span_scores(
        ...     [[(0, 7, "place"), (0, 2, "place")], [(3, 5, "name")]],
        ...     [[(0, 7, "place")], [(3, 6, "name")]],
        ... )
        >>> scores.f1, scores.partial.f1, scores.nested.recall
        (0.4, 0.6, 0.5)
    """
    if len(gold) != len(predicted):
        raise invalid("predicted", f"{len(predicted)} texts", f"{len(gold)} texts, as in gold")
    truth, found = _span_sets("gold", gold), _span_sets("predicted", predicted)
    confusion: Counter[tuple[str | None, str | None]] = Counter()
    overlapping = 0
    subsets: dict[str, list[bool]] = {"nested": [], "long": []}
    for true, guess in zip(truth, found, strict=True):
        confusion.update(count_confusion(true, guess))
        overlapping += count_overlaps(true - guess, guess - true)
        within = nested_places(true)
        subsets["nested"] += [span in guess for span in true if span[:2] in within]
        subsets["long"] += [span in guess for span in true if span[1] - span[0] >= long]
    return _from_counts(confusion, overlapping, subsets)


def _span_sets(name: str, texts: Sequence[Collection[Span]]) -> list[set[Span]]:
    """Drop duplicates, and refuse spans that read as if their end were inclusive."""
    sets = [{(start, end, label) for start, end, label in spans} for spans in texts]
    for number, spans in enumerate(sets):
        for span in spans:
            if span[0] >= span[1]:
                raise invalid(
                    f"{name}[{number}]",
                    span,
                    "spans with start < end",
                    "The end is exclusive: one character at 5 is (5, 6).",
                )
    return sets


def _from_counts(
    confusion: Counter[tuple[str | None, str | None]],
    overlapping: int,
    subsets: dict[str, list[bool]],
) -> SpanScores:
    """Sum the confusion up: rows are gold, columns are predicted, the diagonal is right."""
    gold: Counter[str | None] = Counter()
    predicted: Counter[str | None] = Counter()
    for (true, guess), count in confusion.items():
        gold[true] += count
        predicted[guess] += count
    known = sorted(label for label in gold.keys() | predicted.keys() if label is not None)
    labels = {k: LabelScore(gold[k], predicted[k], confusion[k, k]) for k in known}
    totals = gold.total() - gold[None], predicted.total() - predicted[None]
    right = sum(score.correct for score in labels.values())
    placed = sum(count for pair, count in confusion.items() if None not in pair)
    kinds = {kind: LabelScore(len(hits), sum(hits), sum(hits)) for kind, hits in subsets.items()}
    return SpanScores(
        micro=LabelScore(*totals, right),
        labels=labels,
        partial=LabelScore(*totals, right + overlapping / 2),
        type=LabelScore(*totals, right + overlapping),
        exact=LabelScore(*totals, placed),
        nested=kinds["nested"],
        long=kinds["long"],
        # None sorts behind every label; sets must not decide the order.
        confusion=dict(sorted(confusion.items(), key=lambda c: [(k is None, k) for k in c[0]])),
    )
