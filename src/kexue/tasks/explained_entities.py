"""The score of a span, as a question to explain.

A pointer head gives a span the logit s, with probability sigmoid(2 s): its log-odds are 2 s. A CRF
scores whole taggings: what counts is how much better the best one becomes by the span, compared
with the same tagging without it.

Post: https://kexue.fm/archives/8373
Axes: n copies of a text, L tokens, D hidden size, K tags
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.data.windows import Window, cut_windows, token_spans
from kexue.heads import LinearChainCRF
from kexue.heads.bio import Runs, bio_tags
from kexue.models import EntityOutput
from kexue.tasks.embedded_inputs import encoded_window
from kexue.tasks.explained_scores import Question
from kexue.tasks.ner import EntityRecognizer


@dataclass(frozen=True)
class _Found:
    """A span in a window: type and first and last token."""

    window: Window
    kind: int
    first: int
    last: int


def entity_question(
    recognizer: EntityRecognizer,
    text: str,
    *,
    label: str | None = None,
    span: tuple[int, int] | None = None,
) -> Question:
    """Ask why a span has the score it has.

    Args:
        recognizer: the recogniser.
        text: a text of any length; what is explained is the window that holds the span best.
        label: an entity type; by default that of the surest entity found.
        span: characters, end exclusive; by default the surest entity of the label. A span that is
            no entity can be asked for too.

    Returns:
        The question.

    Raises:
        ValueError: if there is no such label, no entity to explain, or no such tokens.
    """
    labels = recognizer.labels
    if label is not None and label not in labels:
        raise invalid("label", label, ", ".join(map(repr, labels)))
    if span is None or label is None:
        span, label = _surest(recognizer, text, label, span)
    found = _find(recognizer, text, span, label)
    head = recognizer.model.head
    score = _path_score if isinstance(head, LinearChainCRF) else _cell_score
    encoded = encoded_window(found.window)
    return Question(
        model=recognizer.model,
        encoded=encoded,
        texts=(text,),
        label=label,
        target="log-odds",
        score=score(recognizer, found),
        span=span,
    )


def _surest(
    recognizer: EntityRecognizer, text: str, label: str | None, span: tuple[int, int] | None
) -> tuple[tuple[int, int], str]:
    """Choose among the entities that are found."""
    (found,) = recognizer([text])
    fitting = [
        entity
        for entity in found
        if label in (None, entity.label) and span in (None, (entity.start, entity.end))
    ]
    if not fitting:
        asked = " ".join(str(part) for part in (label, span) if part is not None)
        fix = "Give both a label and a span, found or not."
        raise invalid("text", text, f"a text in which an entity {asked} is found".strip(), fix)
    best = max(fitting, key=lambda entity: entity.score)
    return (best.start, best.end), best.label


def _find(recognizer: EntityRecognizer, text: str, span: tuple[int, int], label: str) -> _Found:
    """Find the window in which the span lies furthest from a cut."""
    config = recognizer.model.config
    windows = cut_windows(
        [text], recognizer.tokenizer, window=config.window, overlap=config.overlap
    )
    whole = (*span, label)
    holding = [(w, places[whole]) for w in windows if whole in (places := token_spans(w, [whole]))]
    if not holding:
        fix = f"The tokens around it: {_around(recognizer, text, span)}."
        raise invalid("span", f"{span[0]}-{span[1]}", "one that begins and ends with a token", fix)
    window, (first, last) = max(
        holding, key=lambda held: min(span[0] - held[0].first, held[0].last - span[1])
    )
    return _Found(window, recognizer.labels.index(label), first, last)


def _around(recognizer: EntityRecognizer, text: str, span: tuple[int, int]) -> str:
    offsets = recognizer.tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )["offset_mapping"]
    near = [(s, e) for s, e in offsets if s < e and s < span[1] + 4 and e > span[0] - 4]
    return ", ".join(f"{text[s:e]} {s}-{e}" for s, e in near) or "none"


def _cell_score(recognizer: EntityRecognizer, found: _Found) -> Callable[[EntityOutput], Tensor]:
    """Score one cell of the matrix of a pointer head."""
    head = recognizer.model.head
    within = slice(found.first, found.last + 1)

    def score(output: EntityOutput) -> Tensor:
        # A score knows the distance of its two ends and no other place, so the rest is left out.
        hidden = output.last_hidden_state[:, within]
        keep = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        return 2 * head(hidden, keep)[:, found.kind, 0, -1]

    return score


def _path_score(recognizer: EntityRecognizer, found: _Found) -> Callable[[EntityOutput], Tensor]:
    """Score a tagging with the span against the same one without it."""
    head = recognizer.model.head
    place = recognizer.model.device
    keep = torch.tensor([found.window.keep], device=place)
    kept = keep[0].nonzero().flatten()
    rank = keep[0].cumsum(0) - 1
    inputs = {name: v.to(place) for name, v in encoded_window(found.window).inputs.items()}
    (others,) = recognizer.model.decode(**inputs, span_mask=keep)
    apart = [
        (s.type, s.start, s.end) for s in others if s.end < found.first or s.start > found.last
    ]
    asked = (found.kind, found.first, found.last)
    with_span, without = (_tags(spans, rank, len(kept)) for spans in ([*apart, asked], apart))

    def path(emissions: Tensor, tags: Tensor) -> Tensor:
        steps = head.transitions[tags[:-1], tags[1:]].sum()
        ends = head.start[tags[0]] + head.end[tags[-1]]
        return (
            emissions.gather(2, tags.expand(len(emissions), -1)[..., None]).sum((1, 2))
            + steps
            + ends
        )

    def score(output: EntityOutput) -> Tensor:
        emissions = head.project(output.last_hidden_state[:, kept])
        return path(emissions, with_span) - path(emissions, without)

    return score


def _tags(spans: list[tuple[int, int, int]], rank: Tensor, length: int) -> Tensor:
    """Write spans of tokens as tags of the kept ones."""
    table = torch.tensor(spans, dtype=torch.long, device=rank.device).view(-1, 3)
    return bio_tags(Runs(table[:, 0], rank[table[:, 1]], rank[table[:, 2]]), length)
