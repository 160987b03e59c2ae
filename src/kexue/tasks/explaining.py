"""Why a model says what it says: the part of each token in a score, by integrated gradients.

Any score of any model of tasks here: an entity, the similarity of two texts, a hidden token; and of
transformers: a class, a hidden or next token. The path leads from a baseline in place of the tokens
of the text to their embeddings; [CLS] and its like stay, so that all of the difference goes to
characters.

Post: https://kexue.fm/archives/7533
Paper: https://arxiv.org/abs/1703.01365
Axes: n copies of a text, L tokens, D width of the embeddings
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.analysis.integrated_gradients import integrated_gradients
from kexue.tasks.embedded_inputs import EmbeddedInputs, EncodedTexts, encode_texts
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.explained_entities import entity_question
from kexue.tasks.explained_scores import (
    Question,
    class_question,
    similarity_questions,
    token_limit,
    token_question,
)
from kexue.tasks.explanation import ExplainedText, Explanation, merge_tokens
from kexue.tasks.ner import EntityRecognizer

TARGETS = ("log-odds", "probability")
BASELINES = ("zero", "pad", "mask")


class ModelWithTokenizer(NamedTuple):
    """A model of transformers to explain.

    Attributes:
        model: gives logits: of classes [B, C], or of tokens [B, L, V].
        tokenizer: of the model, a fast one.

    Example:
        >>> from kexue.models import mini
        >>> ModelWithTokenizer(*mini()).tokenizer.mask_token
        '[MASK]'
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def explain(
    model: EntityRecognizer | SentenceEncoder | ModelWithTokenizer | Any,
    text: str,
    *,
    label: str | None = None,
    other: str | None = None,
    span: tuple[int, int] | None = None,
    baseline: str | Tensor = "zero",
    target: str = "log-odds",
    tolerance: float = 1e-3,
) -> Explanation:
    """Say what each token of a text adds to a score.

    Args:
        model: an `EntityRecognizer`, a `SentenceEncoder`, or anything with a model of transformers
            and its tokenizer as `model` and `tokenizer`: a `ModelWithTokenizer`, a pipeline.
        text: the text.
        label: the entity type, class or token to explain; by default what the model says.
        other: the text to compare with, for a sentence encoder or a classifier of pairs.
        span: characters of the entity, or of the mask token; by default the surest, or the only
            one.
        baseline: what the tokens of the text are replaced by where the path begins: "zero", "pad"
            or "mask" embeddings, or any tensor that broadcasts to [L, D].
        target: "log-odds" or, as in the article, "probability"; a similarity is a cosine, and what
            a regression gives a value, whatever is asked for.
        tolerance: the largest gap between the sum of all parts and the difference of the scores,
            as a share of it.

    Returns:
        The parts by token, with their characters. Where the model saw but a window of a long text,
        there are tokens of the window alone.

    Raises:
        ValueError: if the model cannot be explained, or has no such label, span or baseline.

    Example:
        >>> from kexue.models import mini
        >>> found = explain(ModelWithTokenizer(*mini()), "中国的首[MASK]是北京。", label="都")
        >>> found.target, found.span, len(found.texts[0].tokens), found.converged
        ('log-odds', (4, 10), 8, True)
    """
    if target not in TARGETS:
        raise invalid("target", target, " or ".join(map(repr, TARGETS)))
    if isinstance(baseline, str) and baseline not in BASELINES:
        allowed = ", ".join(map(repr, BASELINES))
        raise invalid("baseline", baseline, f"{allowed} or a tensor [L, D]")
    tokenizer = getattr(model, "tokenizer", None)
    inner = getattr(model, "model", None)
    if not isinstance(inner, nn.Module) or tokenizer is None:
        fix = "Give ModelWithTokenizer(model, tokenizer), or a pipeline of transformers."
        raise invalid("model", type(model).__name__, "something with a model and a tokenizer", fix)
    with _evaluating(inner):
        questions = _questions(model, text, label=label, other=other, span=span)
        kind = questions[0].target
        kind = target if kind == "log-odds" else kind
        answers = [_answer(one, tokenizer, baseline, kind, tolerance) for one in questions]
    return Explanation(
        label=questions[0].label,
        target=kind,
        score=answers[0][0],
        texts=tuple(text for _, texts in answers for text in texts),
        span=questions[0].span,
        baseline=baseline if isinstance(baseline, str) else "given",
    )


def _questions(
    model: Any,
    text: str,
    *,
    label: str | None,
    other: str | None,
    span: tuple[int, int] | None,
) -> tuple[Question, ...]:
    """Ask what the model can be asked."""
    if isinstance(model, SentenceEncoder):
        _refuse("a sentence encoder", label=label, span=span)
        if other is None:
            fix = "Give the text to compare with as `other`."
            raise invalid("other", other, "a text, for a sentence encoder", fix)
        return similarity_questions(model, text, other)
    if isinstance(model, EntityRecognizer):
        _refuse("an entity recogniser", other=other)
        return (entity_question(model, text, label=label, span=span),)
    if _axes_of_logits(model, text) == 2:
        _refuse("a classifier", span=span)
        options = {"label": label, "other": other}
        return (class_question(model.model, model.tokenizer, text, **options),)
    _refuse("a model of tokens", other=other)
    return (token_question(model.model, model.tokenizer, text, label=label, span=span),)


def _refuse(kind: str, **options: object) -> None:
    """Name what was given but plays no part."""
    for name, value in options.items():
        if value is not None:
            raise invalid(name, value, f"nothing, for {kind}", "Leave it out.")


@torch.no_grad()
def _axes_of_logits(model: ModelWithTokenizer, text: str) -> int:
    """Tell a classifier of texts, 2, from a model of tokens, 3."""
    limit = token_limit(model.model, model.tokenizer)
    encoded = encode_texts(model.tokenizer, (text,), limit=limit)
    place = next(model.model.parameters()).device
    output = model.model(**{name: value.to(place) for name, value in encoded.inputs.items()})
    logits = getattr(output, "logits", None)
    table = model.model.get_input_embeddings()
    if logits is None or (logits.ndim == 3 and logits.shape[2] < len(table.weight)):
        allowed = "a classifier of texts, or a model that names hidden or next tokens"
        fix = "An encoder alone can be explained as SentenceEncoder, with another text."
        raise invalid("model", f"a {type(model.model).__name__}", allowed, fix)
    return logits.ndim


def _answer(
    question: Question,
    tokenizer: PreTrainedTokenizerBase,
    baseline: str | Tensor,
    target: str,
    tolerance: float,
) -> tuple[float, list[ExplainedText]]:
    """Integrate, and hand the parts out to the characters of the texts."""
    embedded = EmbeddedInputs(question.model, question.encoded.inputs)

    def score(points: Tensor) -> Tensor:
        found = question.score(embedded(points)).float()
        return found.sigmoid() if target == "probability" else found

    start = _start(embedded, question.encoded, tokenizer, baseline)
    found = integrated_gradients(score, embedded.embeddings, baseline=start, tolerance=tolerance)
    values, squares = found.signed[0].tolist(), found.magnitude[0].square().tolist()
    texts = []
    for number, text in enumerate(question.texts):
        tokens = [
            (place[1], place[2], value, square)
            for place, value, square in zip(question.encoded.places, values, squares, strict=True)
            if place is not None and place[0] == number
        ]
        texts.append(
            ExplainedText(
                text=text,
                tokens=merge_tokens(text, tokens),
                baseline_score=found.baseline_score.item(),
                gap=found.gap.item(),
                steps=int(found.steps),
                converged=bool(found.converged),
            )
        )
    return found.score.item(), texts


def _start(
    embedded: EmbeddedInputs,
    encoded: EncodedTexts,
    tokenizer: PreTrainedTokenizerBase,
    baseline: str | Tensor,
) -> Tensor:
    """Replace the tokens of the texts, and none that belong to no text."""
    x = embedded.embeddings
    if isinstance(baseline, Tensor):
        try:
            chosen = baseline.to(x).expand(x.shape[1:])
        except RuntimeError:
            allowed = f"a shape that broadcasts to {tuple(x.shape[1:])}"
            raise invalid("baseline", tuple(baseline.shape), allowed) from None
    elif baseline == "zero":
        chosen = torch.zeros_like(x[0])
    else:
        token = tokenizer.pad_token_id if baseline == "pad" else tokenizer.mask_token_id
        if token is None:
            fix = "Take another one."
            raise invalid(
                "baseline", baseline, f"one that the tokenizer has; no {baseline} token", fix
            )
        chosen = embedded.look_up(token)
    kept = torch.tensor([place is None for place in encoded.places], device=x.device)
    return torch.where(kept[:, None], x, chosen)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while: a score that is drawn anew each time has no parts."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
