"""Words without a dictionary: cut where neighbours matter little for each other.

    c_i = (f(i, i+1) + f(i+1, i)) / 2        join i and i+1 if c_i >= threshold

The article's threshold of 8 belongs to one encoder (Google's Chinese BERT-base, last layer,
Euclidean distance). For another, `calibrate_threshold` takes the quantile of many c that joins a
given share of all neighbours: it needs texts, and how long words are on average, but no words.

Post: https://kexue.fm/archives/7476
Axes: N units of a text, such as Chinese characters
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from kexue._check import invalid

Span = tuple[int, int]
# Of the neighbouring characters of UD Chinese GSD, 42 % are in one word (punctuation aside).
_JOINED = 0.42


def segment(
    impacts: Tensor, *, threshold: float | None = None, joined: float = _JOINED
) -> list[Span]:
    """Cut a text into words.

    Args:
        impacts: [N, N] from `impact_matrix`, or [N - 1] from `neighbour_impacts`.
        threshold: the least c of neighbours that stay together; by default it is calibrated on this
            text alone, however strong its impacts are all round.
        joined: for the default threshold, the share of neighbours that stay together: 1 - 1 / m
            for words of m units on average.

    Returns:
        Words as (first unit, unit after the last), one after another.

    Raises:
        ValueError: if `impacts` has another shape, or `joined` is no share.

    Example:
        >>> segment(torch.tensor([9.0, 3.0, 8.0]), threshold=8.0)
        [(0, 2), (2, 4)]
    """
    strength = neighbour_strength(impacts)
    if threshold is None:
        threshold = calibrate_threshold([strength], joined=joined)
    cuts = (torch.nonzero(strength < threshold).flatten() + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(strength) + 1], strict=True))


def neighbour_strength(impacts: Tensor) -> Tensor:
    """Take c of all neighbours out of an impact matrix.

    Args:
        impacts: [N, N] from `impact_matrix`; or [N - 1], which stays as it is.

    Returns:
        [N - 1] mean of the two impacts of neighbours.

    Raises:
        ValueError: if `impacts` has another shape.

    Example:
        >>> neighbour_strength(torch.tensor([[0.0, 2.0], [4.0, 0.0]]))
        tensor([3.])
    """
    square = impacts.ndim == 2 and impacts.shape[0] == impacts.shape[1] > 0
    if impacts.ndim != 1 and not square:
        fix = "Take it from impact_matrix or neighbour_impacts."
        raise invalid("impacts", tuple(impacts.shape), "[N, N] or [N - 1]", fix)
    if square:
        return (impacts.diagonal(1) + impacts.diagonal(-1)) / 2
    return impacts


def calibrate_threshold(strengths: Iterable[Tensor], *, joined: float = _JOINED) -> float:
    """Choose the threshold that joins a share of all neighbours in some texts.

    Args:
        strengths: [N - 1] from `neighbour_impacts` or `neighbour_strength`, one for each text.
        joined: share of neighbours that are to stay together, from 0 to 1.

    Returns:
        The threshold; infinite, so that nothing is joined, where there are no neighbours.

    Raises:
        ValueError: if `joined` is no share.

    Example:
        >>> calibrate_threshold([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])], joined=0.5)
        3.0
    """
    if not 0 <= joined <= 1:
        raise invalid("joined", joined, "a share from 0 to 1")
    every = torch.cat([torch.empty(0), *(part.float().cpu() for part in strengths)])
    count = round(joined * len(every))
    return float(every.sort(descending=True).values[count - 1]) if count else float("inf")


def equal_words(count: int, *, size: int = 1) -> list[Span]:
    """Cut a text into words of one size, for comparison.

    Args:
        count: N units.
        size: units of a word, but for the last.

    Returns:
        Words as (first unit, unit after the last).

    Raises:
        ValueError: if `size` is not positive.

    Example:
        >>> equal_words(5, size=2)
        [(0, 2), (2, 4), (4, 5)]
    """
    if size < 1:
        raise invalid("size", size, "1 or more")
    return [(first, min(first + size, count)) for first in range(0, count, size)]


@dataclass(frozen=True)
class SegmentationScores:
    """How well words were found.

    Attributes:
        precision: share of the found words that are right, at both ends.
        recall: share of the right words that were found.
        f1: their harmonic mean.
        cuts_f1: the same of places between two words, the ends of texts not counted.

    Example:
        >>> print(SegmentationScores(0.5, 1.0, 2 / 3, 0.8))
        words: precision 50.0, recall 100.0, F1 66.7; cuts: F1 80.0
    """

    precision: float
    recall: float
    f1: float
    cuts_f1: float

    def to_dict(self) -> dict[str, float]:
        """Give the figures as a JSON object.

        Returns:
            Fields by name.
        """
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"words: precision {100 * self.precision:.1f}, recall {100 * self.recall:.1f}, "
            f"F1 {100 * self.f1:.1f}; cuts: F1 {100 * self.cuts_f1:.1f}"
        )


def segmentation_scores(
    predicted: Sequence[Sequence[Span]], gold: Sequence[Sequence[Span]]
) -> SegmentationScores:
    """Compare words with the right ones, over all texts together.

    Args:
        predicted: the words of each text, as `segment` gives them.
        gold: the right words of the same texts.

    Returns:
        Precision, recall and F1 of words, and F1 of cuts; 0 where there is nothing to divide by.

    Raises:
        ValueError: if there is another number of texts.

    Example:
        >>> segmentation_scores([[(0, 1), (1, 4)]], [[(0, 1), (1, 3), (3, 4)]]).precision
        0.5
    """
    if len(predicted) != len(gold):
        raise invalid("predicted", f"{len(predicted)} texts", f"as many as gold, {len(gold)}")
    words, cuts = [0, 0, 0], [0, 0, 0]
    for ours, theirs in zip(predicted, gold, strict=True):
        for counts, one, other in (
            (words, set(ours), set(theirs)),
            (cuts, {start for start, _ in ours[1:]}, {start for start, _ in theirs[1:]}),
        ):
            for slot, number in enumerate((len(one & other), len(one), len(other))):
                counts[slot] += number
    right, found, there = words
    precision, recall = right / found if found else 0.0, right / there if there else 0.0
    return SegmentationScores(precision, recall, _f1(*words), _f1(*cuts))


def _f1(right: int, found: int, there: int) -> float:
    return 2 * right / (found + there) if found + there else 0.0
