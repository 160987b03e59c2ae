"""A threshold for each label, and what it can be expected to give."""

from collections import Counter
from collections.abc import Mapping, Sequence

from kexue.metrics import SpanScores, calibrate_thresholds, span_scores
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_decoding import FoundSpan, find_everywhere, without_overlap
from kexue.tasks.ner_examples import Span

# Spans below this logit (a probability of 0.2 %) are not candidates for a threshold.
_FLOOR = -3.0


def measure(
    recognizer: EntityRecognizer,
    texts: Sequence[str],
    gold: Sequence[list[Span]],
    *,
    calibrate: bool,
) -> tuple[SpanScores, SpanScores | None]:
    """Score at threshold 0, choose thresholds, and score these half by half.

    Args:
        recognizer: its model is given the thresholds that suit all texts, if choosing them paid on
            texts they were not chosen on; with few entities of a label it may not.
        texts: labelled texts that it was not trained on.
        gold: for each text its (start, end, label).
        calibrate: choose thresholds; a CRF has none.

    Returns:
        The scores at threshold 0, and those of thresholds chosen on the other half of the texts.
    """
    model, labels = recognizer.model, recognizer.labels
    calibrate = calibrate and model.config.head != "crf" and bool(texts)
    floor = [_FLOOR if calibrate else 0.0] * len(labels)
    found = find_everywhere(model, recognizer.tokenizer, texts, thresholds=floor, flat=False)

    def kept(spans: Sequence[FoundSpan], limits: Mapping[str, float]) -> list[Span]:
        above = [span for span in spans if span[3] > limits[span[2]]]
        return [s[:3] for s in (without_overlap(above, limits) if model.config.flat else above)]

    zero = dict.fromkeys(labels, 0.0)
    scores = span_scores(gold, [kept(spans, zero) for spans in found])
    if not calibrate:
        return scores, None
    halves: list[list[Span]] = [[] for _ in texts]
    for half in (0, 1):
        other = range(1 - half, len(texts), 2)
        limits = choose_thresholds([found[i] for i in other], [gold[i] for i in other], labels)
        for i in range(half, len(texts), 2):
            halves[i] = kept(found[i], limits)
    calibrated = span_scores(gold, halves)
    if calibrated.f1 > scores.f1:
        limits = choose_thresholds(found, gold, labels)
        model.config.thresholds = [limits[label] for label in labels]
    return scores, calibrated


def choose_thresholds(
    found: Sequence[Sequence[tuple[int, int, str, float]]],
    gold: Sequence[Sequence[Span]],
    labels: Sequence[str],
) -> dict[str, float]:
    """Choose for each label the logit above which spans count, for the best micro F1.

    Args:
        found: for each text all spans above a low logit.
        gold: for each text its spans.
        labels: entity types.

    Returns:
        A threshold for each label.

    Example:
        >>> found = [[(0, 2, "place", -0.5), (3, 4, "place", -2.0)]]
        >>> limits = choose_thresholds(found, [[(0, 2, "place")]], ["place"])
        >>> -2.0 < limits["place"] < -0.5
        True
    """
    counts = Counter(dict.fromkeys(labels, 0))
    candidates: dict[str, list[tuple[float, bool]]] = {label: [] for label in labels}
    for spans, truth in zip(found, gold, strict=True):
        true = set(truth)
        counts.update(label for _, _, label in true)
        for start, end, label, score in spans:
            candidates[label].append((score, (start, end, label) in true))
    return calibrate_thresholds(candidates, counts, floor=_FLOOR)
