"""Texts whose tokens add to a score, cut into pieces that can be drawn.

Post: https://kexue.fm/archives/7533
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}


@dataclass(frozen=True)
class AttributedText:
    """A text and what its tokens add.

    Attributes:
        text: all of it.
        tokens: (start, end, value, magnitude) in order, without overlap.
        marked: the characters that the score is for, where there are such.
        score: the score without its tokens.
        gap: what the sum of the values misses.
        steps: gradients that were taken.
        converged: whether the gap is within the tolerance.

    Example:
        >>> AttributedText("好", ((0, 1, 0.5, 0.1),), None, 0.0, 0.0, 5).converged
        True
    """

    text: str
    tokens: Sequence[tuple[int, int, float, float]]
    marked: tuple[int, int] | None
    score: float
    gap: float
    steps: int
    converged: bool = True


@dataclass(frozen=True)
class AttributionFigure:
    """A score and the texts it comes from.

    Attributes:
        label: what is scored.
        target: the kind of score.
        score: of the texts as they are.
        baseline: what the tokens were replaced by.
        texts: one or two.

    Example:
        >>> text = AttributedText("好", ((0, 1, -0.5, 0.1),), None, 0.0, 0.0, 5)
        >>> AttributionFigure("x", "log-odds", 1.0, "zero", (text,)).largest
        (0.5, 0.1)
    """

    label: str
    target: str
    score: float
    baseline: str
    texts: Sequence[AttributedText]

    @property
    def largest(self) -> tuple[float, float]:
        """The largest absolute value and magnitude, which have the full colour."""
        tokens = [token for text in self.texts for token in text.tokens]
        values = max((abs(value) for _, _, value, _ in tokens), default=0.0)
        return values, max((magnitude for *_, magnitude in tokens), default=0.0)


@dataclass(frozen=True)
class Stretch:
    """Characters that are drawn alike.

    Attributes:
        text: control characters are replaced by their pictures.
        value: what they add, None between tokens.
        magnitude: how much they matter, None between tokens.
        shade: `value` from -1 to 1, where 1 is the largest of the figure.
        weight: `magnitude` from 0 to 1.
        marked: whether the score is for them.

    Example:
        >>> Stretch("北京").shade
        0.0
    """

    text: str
    value: float | None = None
    magnitude: float | None = None
    shade: float = 0.0
    weight: float = 0.0
    marked: bool = False


def stretches(text: AttributedText, largest: tuple[float, float]) -> list[Stretch]:
    """Cut a text into its tokens and what lies between them.

    Args:
        text: the text.
        largest: value and magnitude with the full colour.

    Returns:
        The pieces in order; their texts together are the text.

    Example:
        >>> text = AttributedText("我很好", ((0, 1, 0.5, 0.1), (2, 3, -1.0, 0.4)), (0, 2), 0, 0, 5)
        >>> [(s.text, s.shade, s.marked) for s in stretches(text, (1.0, 0.4))]
        [('我', 0.5, True), ('很', 0.0, True), ('好', -1.0, False)]
    """
    return list(_cut(text, largest))


def _cut(text: AttributedText, largest: tuple[float, float]) -> Iterator[Stretch]:
    first, last = text.marked or (0, 0)
    cuts = {0, first, last, len(text.text)}
    starts = {}
    for start, end, value, magnitude in text.tokens:
        cuts |= {start, end}
        starts[start] = (end, value, magnitude)
    places = sorted(cuts)
    until, value, magnitude = 0, None, None
    for start, end in pairwise(places):
        if start in starts:
            until, value, magnitude = starts[start]
        covered = start < until and value is not None and magnitude is not None
        yield Stretch(
            text.text[start:end].translate(_CONTROL),
            value if covered else None,
            magnitude if covered else None,
            value / (largest[0] or 1) if covered else 0.0,
            magnitude / (largest[1] or 1) if covered else 0.0,
            marked=first <= start < last,
        )
