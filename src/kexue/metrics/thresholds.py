"""The threshold of each label that gives the best F1 on labelled texts."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kexue._check import invalid


class _Cuts(NamedTuple):
    """Where a label's candidates can be cut: threshold, spans kept, right ones among them."""

    threshold: np.ndarray
    kept: np.ndarray
    correct: np.ndarray


def calibrate_thresholds(
    candidates: Mapping[str, Sequence[tuple[float, bool]]],
    gold_counts: Mapping[str, int],
    *,
    objective: str = "micro",
    floor: float | None = None,
) -> dict[str, float]:
    """Choose for each label the score above which its spans count.

    A threshold lies midway between two neighbouring scores. The micro objective is a ratio of sums
    over labels; Dinkelbach's iteration maximises it exactly, label by label: cut where
    2 correct - F kept is largest, compute the F1 that this gives, repeat. All counts are integers
    and so is the arithmetic; sorting dominates the cost.

    Args:
        candidates: for each label (score, right?) of all spans the model scores above a low floor.
        gold_counts: for each label its number of gold spans, found or not.
        objective: "micro" for the best micro F1, "macro" for the best F1 of each label by itself.
        floor: that low floor; keeping all candidates of a label then never keeps more than these.

    Returns:
        A threshold for each label: spans with a greater score count. Of equally good ones that
        nearest to 0; 0 for a label without gold spans or without candidates.

    Raises:
        ValueError: `objective` is unknown, a score is not finite, or more are right than there are.

    Example:
        >>> scores = [(2.0, True), (-0.5, True), (-1.5, False), (-2.0, True)]
        >>> calibrate_thresholds({"place": scores}, {"place": 3}, objective="macro")
        {'place': -2.5}
    """
    if objective not in ("micro", "macro"):
        raise invalid("objective", objective, "'micro' or 'macro'")
    for label, scored in candidates.items():
        _check_candidates(label, scored, gold_counts.get(label, 0))
    cuts = {
        label: _cuts(candidates.get(label, ()), gold_counts.get(label, 0), floor)
        for label in sorted({*candidates, *gold_counts})
    }
    if objective == "micro":
        return _best_for_micro(cuts, sum(gold_counts.values()))
    return _best_for_each(cuts, gold_counts)


def _check_candidates(label: str, scored: Sequence[tuple[float, bool]], gold: int) -> None:
    """Refuse candidates that cannot come from one model and one corpus."""
    if not all(math.isfinite(score) for score, _ in scored):
        raise invalid(f"a score of {label!r}", "not finite", "finite logits")
    right = sum(correct for _, correct in scored)
    if right > gold:
        raise invalid(f"candidates[{label!r}]", f"{right} right ones", f"at most {gold} gold spans")


def _cuts(scored: Sequence[tuple[float, bool]], gold: int, floor: float | None) -> _Cuts:
    """List the cuts between the distinct scores of a label; one at 0 where nothing is to gain."""
    ordered = sorted(scored, key=lambda pair: -pair[0])
    scores = np.array([score for score, _ in ordered], dtype=float)
    right = np.concatenate([[0], np.cumsum([correct for _, correct in ordered], dtype=int)])
    if not gold or not ordered:
        kept = np.array([int((scores > 0).sum())])
        return _Cuts(np.zeros(1), kept, right[kept])
    below = min(0.0, scores[-1] - 0.5) if floor is None else (scores[-1] + floor) / 2
    middle = scores[1:] + (scores[:-1] - scores[1:]) / 2
    # Between neighbouring floats there is no middle; the lower one itself separates them.
    middle = np.where(middle < scores[:-1], middle, scores[1:])
    threshold = np.concatenate([[max(0.0, scores[0] + 0.5)], middle, [below]])
    kept = np.flatnonzero(np.concatenate([[True], scores[:-1] > scores[1:], [True]]))
    return _Cuts(threshold[kept], kept, right[kept])


def _best_for_each(cuts: Mapping[str, _Cuts], gold: Mapping[str, int]) -> dict[str, float]:
    """Maximise the F1 of every label by itself."""
    found = {}
    for label, cut in cuts.items():
        f1 = 2 * cut.correct / np.maximum(cut.kept + gold.get(label, 0), 1)
        found[label] = float(cut.threshold[_best(cut, f1)])
    return found


def _best_for_micro(cuts: Mapping[str, _Cuts], gold: int) -> dict[str, float]:
    """Maximise 2 correct / (kept + gold) over one cut for each label."""
    above, below = 0, 1
    while True:
        chosen = {
            label: _best(cut, 2 * below * cut.correct - above * cut.kept)
            for label, cut in cuts.items()
        }
        twice = 2 * sum(int(cut.correct[chosen[label]]) for label, cut in cuts.items())
        spans = gold + sum(int(cut.kept[chosen[label]]) for label, cut in cuts.items())
        if twice * below <= above * spans:
            return {label: float(cut.threshold[chosen[label]]) for label, cut in cuts.items()}
        above, below = twice, spans


def _best(cut: _Cuts, value: np.ndarray) -> int:
    """Find the cut with the largest value, of several the one nearest to 0."""
    best = np.flatnonzero(value == value.max())
    nearest = np.lexsort((-cut.threshold[best], np.abs(cut.threshold[best])))
    return int(best[nearest[0]])
