"""What each token of a text adds to a score, as it is told to a person or a program.

Post: https://kexue.fm/archives/7533
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kexue.training.attribution_figure import AttributedText, AttributionFigure
from kexue.training.attribution_page import write_attribution_page
from kexue.training.attribution_picture import draw_attributions


@dataclass(frozen=True)
class TokenAttribution:
    """What a token adds to the score.

    Attributes:
        text: its surface.
        start: first character in its text.
        end: character after the last one.
        value: what it adds, below 0 where it speaks against the score.
        magnitude: how much it matters, for or against; on the scale of the article, which is not
            that of `value`.

    Example:
        >>> print(TokenAttribution("差", 3, 4, -1.25, 0.4))
        差 -1.250
    """

    text: str
    start: int
    end: int
    value: float
    magnitude: float

    def __str__(self) -> str:
        return f"{self.text} {self.value:+.3f}"


@dataclass(frozen=True)
class ExplainedText:
    """A text whose tokens are given their part of the score.

    Attributes:
        text: all of it.
        tokens: those that the model saw, in order, without overlap.
        baseline_score: the score when the tokens of this text are replaced by the baseline.
        gap: the sum of all values, less the difference of the two scores.
        steps: gradients that were taken.
        converged: whether the gap is within the tolerance.

    Example:
        >>> token = TokenAttribution("好", 0, 1, 0.75, 0.2)
        >>> ExplainedText("好", (token,), 0.5, 0.0, 5, converged=True).total
        0.75
    """

    text: str
    tokens: tuple[TokenAttribution, ...]
    baseline_score: float
    gap: float
    steps: int
    converged: bool

    @property
    def total(self) -> float:
        """The sum of all values."""
        return sum(token.value for token in self.tokens)

    def top(self, count: int) -> list[TokenAttribution]:
        """Find the tokens that add most, or take off most.

        Args:
            count: how many.

        Returns:
            The tokens by absolute value, the largest first.
        """
        return sorted(self.tokens, key=lambda token: -abs(token.value))[:count]


@dataclass(frozen=True)
class Explanation:
    """Why a model gives a score.

    Attributes:
        label: what was scored: a class, an entity type, a hidden or next token, "similarity".
        target: the kind of score: "log-odds", "probability", "cosine" or "value".
        score: what the model gives.
        texts: one, or two for a pair.
        span: the characters of the first text that the label is for, where there are such.
        baseline: "zero", "pad", "mask" or "given".

    Example:
        >>> token = TokenAttribution("好", 0, 1, 0.75, 0.2)
        >>> text = ExplainedText("好", (token,), 0.5, 0.0, 5, converged=True)
        >>> print(Explanation("positive", "log-odds", 1.25, (text,), None, "zero"))
        positive: log-odds +1.250 (+0.500 with the tokens replaced: zero), gap 0.0e+00
        好 +0.750
    """

    label: str
    target: str
    score: float
    texts: tuple[ExplainedText, ...]
    span: tuple[int, int] | None
    baseline: str

    @property
    def converged(self) -> bool:
        """Whether the parts of all texts add up within the tolerance."""
        return all(text.converged for text in self.texts)

    def __str__(self) -> str:
        lines = []
        for text in self.texts:
            without = f"{text.baseline_score:+.3f} with the tokens replaced: {self.baseline}"
            lines.append(
                f"{self.label}: {self.target} {self.score:+.3f} ({without}), "
                f"gap {abs(text.gap):.1e}{'' if text.converged else ', which is too much'}"
            )
            lines.append(", ".join(map(str, text.top(10))))
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the explanation as a JSON object.

        Returns:
            Its fields.
        """
        return asdict(self)

    def write_html(self, path: str | Path) -> Path:
        """Write a page that needs nothing else, neither files nor a network.

        Args:
            path: the file.

        Returns:
            The file.
        """
        return write_attribution_page(self._figure(), path)

    def write_png(self, path: str | Path) -> Path:
        """Draw a picture; matplotlib is needed.

        Args:
            path: the file; its ending decides the format, such as .png or .svg.

        Returns:
            The file.
        """
        return draw_attributions(self._figure(), path)

    def _figure(self) -> AttributionFigure:
        drawn = tuple(
            AttributedText(
                text=text.text,
                tokens=tuple((t.start, t.end, t.value, t.magnitude) for t in text.tokens),
                marked=self.span if number == 0 else None,
                score=text.baseline_score,
                gap=text.gap,
                steps=text.steps,
                converged=text.converged,
            )
            for number, text in enumerate(self.texts)
        )
        return AttributionFigure(self.label, self.target, self.score, self.baseline, drawn)


def merge_tokens(
    text: str, tokens: Iterable[tuple[int, int, float, float]]
) -> tuple[TokenAttribution, ...]:
    """Join tokens that share characters, such as the bytes of an emoji.

    Args:
        text: the text they are of.
        tokens: (start, end, value, squared magnitude) in the order of the text.

    Returns:
        Tokens without overlap; values and squared magnitudes are summed.

    Example:
        >>> merged = merge_tokens("a😀", [(0, 1, 1, 1), (1, 2, 2, 1), (1, 2, 3, 1)])
        >>> [str(token) for token in merged]
        ['a +1.000', '😀 +5.000']
    """
    joined: list[list[float]] = []
    for start, end, value, square in tokens:
        if joined and start < joined[-1][1]:
            last = joined[-1]
            joined[-1] = [last[0], max(last[1], end), last[2] + value, last[3] + square]
        else:
            joined.append([start, end, value, square])
    return tuple(
        TokenAttribution(text[int(start) : int(end)], int(start), int(end), value, square**0.5)
        for start, end, value, square in joined
    )
