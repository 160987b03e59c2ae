"""What a model got wrong, the most confident errors first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kexue._check import invalid

Span = tuple[int, int, str]
ScoredSpan = tuple[int, int, str, float]

KINDS = ("wrong label", "wrong boundary", "spurious", "missed")


@dataclass(frozen=True)
class SpanError:
    """One span that is wrong.

    Args:
        kind: "wrong label" (the boundaries are right), "wrong boundary" (the label is, and the
            spans overlap), "spurious" (there is no such span) or "missed" (it was not found).
        gold: the (start, end, label) there is; None for a spurious one.
        predicted: the (start, end, label, score) that was found; None for a missed one.

    Example:
        >>> SpanError("missed", (0, 2, "place"), None).score
        0.0
    """

    kind: str
    gold: Span | None
    predicted: ScoredSpan | None

    @property
    def score(self) -> float:
        """How sure the model was; 0 where it found nothing."""
        return 0.0 if self.predicted is None else self.predicted[3]


@dataclass(frozen=True)
class Mistake:
    """A text with errors.

    Args:
        text: the whole text.
        gold: its (start, end, label) in characters, end exclusive.
        predicted: the (start, end, label, score) found in it.
        errors: where the two differ, the most confident error first.

    Example:
        >>> missed = SpanError("missed", (0, 2, "place"), None)
        >>> Mistake("北京", ((0, 2, "place"),), (), (missed,)).errors[0].kind
        'missed'
    """

    text: str
    gold: tuple[Span, ...]
    predicted: tuple[ScoredSpan, ...]
    errors: tuple[SpanError, ...]


def worst_mistakes(
    texts: Sequence[str],
    gold: Sequence[Collection[Span]],
    predicted: Sequence[Collection[ScoredSpan]],
    *,
    limit: int = 30,
) -> list[Mistake]:
    """Pick the texts with the worst errors.

    First the text with the wrong span that the model was surest of; of equal ones, that with more
    errors. Texts in which spans were only missed come last.

    Args:
        texts: the texts.
        gold: for each text its (start, end, label).
        predicted: for each text (start, end, label, score), the score best a probability.
        limit: at most so many texts.

    Returns:
        The texts with their errors; those without errors are left out.

    Raises:
        ValueError: `texts`, `gold` and `predicted` differ in length.

    Example:
        >>> found = worst_mistakes(["我在北京"], [[(2, 4, "place")]], [[(2, 4, "name", 0.9)]])
        >>> found[0].errors[0].kind
        'wrong label'
    """
    for name, given in (("gold", gold), ("predicted", predicted)):
        if len(given) != len(texts):
            raise invalid(name, f"{len(given)} texts", f"{len(texts)} texts")
    found = []
    for text, true, guess in zip(texts, gold, predicted, strict=True):
        truth = sorted({(start, end, label) for start, end, label in true})
        # Of a span that was found twice the surer one counts.
        surest = {span[:3]: span for span in sorted(guess, key=lambda span: span[3])}
        errors = _errors(set(truth), surest)
        if errors:
            found.append(Mistake(text, tuple(truth), tuple(sorted(surest.values())), errors))
    found.sort(key=lambda m: (-m.errors[0].score, -len(m.errors)))
    return found[:limit]


def _errors(true: set[Span], guess: dict[Span, ScoredSpan]) -> tuple[SpanError, ...]:
    """Compare the spans of one text; each is part of at most one error."""
    missed, wrong = true - guess.keys(), guess.keys() - true
    errors = []
    for kind, gold, predicted in (*_same_place(missed, wrong), *_overlapping(missed, wrong)):
        if gold in missed and predicted in wrong:
            missed.discard(gold)
            wrong.discard(predicted)
            errors.append(SpanError(kind, gold, guess[predicted]))
    errors += [SpanError("spurious", None, guess[span]) for span in sorted(wrong)]
    errors += [SpanError("missed", span, None) for span in sorted(missed)]
    return tuple(sorted(errors, key=lambda error: -error.score))


def _same_place(missed: set[Span], wrong: set[Span]) -> list[tuple[str, Span, Span]]:
    """List the pairs of equal boundaries."""
    return [
        ("wrong label", gold, guess)
        for gold in sorted(missed)
        for guess in sorted(wrong)
        if gold[:2] == guess[:2]
    ]


def _overlapping(missed: set[Span], wrong: set[Span]) -> list[tuple[str, Span, Span]]:
    """List the overlapping pairs of one label, those that share most of their length first."""
    pairs = []
    for gold in missed:
        for guess in wrong:
            shared = min(gold[1], guess[1]) - max(gold[0], guess[0])
            if shared > 0 and gold[2] == guess[2]:
                covered = max(gold[1], guess[1]) - min(gold[0], guess[0])
                pairs.append((-shared / covered, gold, guess))
    return [("wrong boundary", gold, guess) for _, gold, guess in sorted(pairs)]
