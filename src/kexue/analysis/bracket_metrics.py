"""How many of the constituents that people drew a program found, as parsers are compared.

Constituents are those of two words or more, but not the whole text. The figures are means over
texts, so that long ones do not outvote short ones.

Post: https://kexue.fm/archives/7476
Axes: N words of a text
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kexue._check import invalid

Span = tuple[int, int]


@dataclass(frozen=True)
class BracketScores:
    """How well constituents were found, as the mean over texts.

    Attributes:
        precision: share of the found constituents that are right.
        recall: share of the right constituents that were found. Both are 1 for a text without any.
        f1: mean of the F1 of the texts.

    Example:
        >>> print(BracketScores(0.25, 0.5, 1 / 3))
        constituents: precision 25.0, recall 50.0, F1 33.3
    """

    precision: float
    recall: float
    f1: float

    def to_dict(self) -> dict[str, float]:
        """Give the figures as a JSON object.

        Returns:
            Fields by name.
        """
        return asdict(self)

    def __str__(self) -> str:
        parts = (f"{name} {100 * share:.1f}" for name, share in self.to_dict().items())
        return "constituents: " + ", ".join(parts).replace("f1", "F1")


def bracket_scores(
    predicted: Sequence[set[Span]], gold: Sequence[set[Span]], sizes: Sequence[int]
) -> BracketScores:
    """Compare constituents with the right ones; single words and whole texts are not counted.

    Args:
        predicted: constituents of each text, as `brackets` gives them.
        gold: the right ones.
        sizes: N words of each text.

    Returns:
        Means over texts of precision, recall and F1.

    Raises:
        ValueError: if there is another number of texts, or none.

    Example:
        >>> bracket_scores([{(0, 2), (0, 3)}], [{(0, 2), (0, 4)}], [4])
        BracketScores(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    if not len(predicted) == len(gold) == len(sizes) or not sizes:
        given = f"{len(predicted)}, {len(gold)} and {len(sizes)} texts"
        raise invalid("predicted, gold and sizes", given, "as many of each, one or more")
    total = [0.0, 0.0, 0.0]
    for ours, theirs, size in zip(predicted, gold, sizes, strict=True):
        found, there = (
            {(start, end) for start, end in part if 1 < end - start < size}
            for part in (ours, theirs)
        )
        right = len(found & there)
        precision = right / len(found) if found else 1.0
        recall = right / len(there) if there else 1.0
        both = precision + recall
        scores = precision, recall, 2 * precision * recall / both if both else 0.0
        total = [a + b for a, b in zip(total, scores, strict=True)]
    return BracketScores(*(part / len(sizes) for part in total))
