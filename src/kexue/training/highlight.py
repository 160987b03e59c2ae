"""Cut a text into pieces that can be drawn, with stacked lines for nested and crossing spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kexue.training.mistakes import Mistake

# Shown left and right of an error; what lies between two errors is left out if it is longer.
_MARGIN = 60

_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}


@dataclass(frozen=True)
class Line:
    """A line above (gold) or below (predicted) a piece of text.

    Args:
        layer: 0 next to the text, nested spans inside.
        label: whose colour it has.
        wrong: whether the span it belongs to is an error.
        last: whether the span ends here; touching spans keep a gap.

    Example:
        >>> Line(0, "place", wrong=False, last=True).layer
        0
    """

    layer: int
    label: str
    wrong: bool
    last: bool


@dataclass(frozen=True)
class Piece:
    """A stretch of text within which no span begins or ends.

    Args:
        text: its characters; control characters are replaced by their pictures.
        above: lines of gold spans.
        below: lines of predicted spans.

    Example:
        >>> Piece("北京").above
        ()
    """

    text: str
    above: tuple[Line, ...] = ()
    below: tuple[Line, ...] = ()


def layers(spans: Sequence[tuple[int, int, str]]) -> list[int]:
    """Stack spans so that those on one layer do not overlap, short ones next to the text.

    Args:
        spans: (start, end, label).

    Returns:
        The layer of each, from 0.

    Example:
        >>> layers([(0, 7, "place"), (0, 2, "place"), (4, 7, "place")])
        [1, 0, 0]
    """
    found = [0] * len(spans)
    placed: list[int] = []
    for k in sorted(range(len(spans)), key=lambda k: (spans[k][1] - spans[k][0], spans[k])):
        taken = {
            found[j]
            for j in placed
            if max(spans[j][0], spans[k][0]) < min(spans[j][1], spans[k][1])
        }
        found[k] = min(set(range(len(taken) + 1)) - taken)
        placed.append(k)
    return found


def excerpts(mistake: Mistake) -> list[tuple[int, int]]:
    """Choose the parts of a text that are worth showing.

    Args:
        mistake: a text with errors.

    Returns:
        (start, end) of each part: the errors, and some text around them; parts do not touch.

    Example:
        >>> from kexue.training.mistakes import worst_mistakes
        >>> mistake = worst_mistakes(["x" * 500], [[(200, 202, "a")]], [[]])[0]
        >>> excerpts(mistake)
        [(140, 262)]
    """
    spans = sorted(
        span[:2] for error in mistake.errors for span in (error.gold, error.predicted) if span
    )
    parts: list[tuple[int, int]] = []
    for start, end in spans:
        first, last = max(start - _MARGIN, 0), min(end + _MARGIN, len(mistake.text))
        if parts and first <= parts[-1][1] + _MARGIN // 2:
            parts[-1] = (parts[-1][0], max(parts[-1][1], last))
        else:
            parts.append((first, last))
    return parts


def pieces(mistake: Mistake, start: int, end: int) -> list[Piece]:
    """Cut a part of a text at every boundary of a span.

    Args:
        mistake: a text with errors.
        start: where the part begins.
        end: where it ends.

    Returns:
        The pieces in order; their texts together are the part.

    Example:
        >>> from kexue.training.mistakes import worst_mistakes
        >>> mistake = worst_mistakes(["我在北京"], [[(2, 4, "place")]], [[]])[0]
        >>> [(piece.text, len(piece.above)) for piece in pieces(mistake, 0, 4)]
        [('我在', 0), ('北京', 1)]
    """
    gold, predicted = list(mistake.gold), [span[:3] for span in mistake.predicted]
    drawn = [(spans, layers(spans)) for spans in (gold, predicted)]
    agreed = set(gold) & set(predicted)
    cuts = {start, end} | {
        place for span in (*gold, *predicted) for place in span[:2] if start < place < end
    }
    found = []
    for first, last in pairwise(sorted(cuts)):
        above, below = (
            tuple(
                Line(layer, span[2], wrong=span not in agreed, last=span[1] == last)
                for span, layer in zip(spans, heights, strict=True)
                if span[0] <= first and last <= span[1]
            )
            for spans, heights in drawn
        )
        found.append(Piece(mistake.text[first:last].translate(_CONTROL), above, below))
    return found
