"""Scores of classes, of hidden and next tokens, of pairs of texts, as questions to explain.

A class c with logit z_c has the log-odds z_c - log sum of e^z over the others, whose sigmoid is its
probability; unlike a logit alone they do not change where all logits grow alike.

Post: https://kexue.fm/archives/7533
Axes: n copies of a text, L tokens, C classes, V vocabulary entries, E features of a vector
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.models import longest_input
from kexue.tasks.embedded_inputs import EncodedTexts, encode_texts
from kexue.tasks.embedding import SentenceEncoder


@dataclass(frozen=True)
class Question:
    """A score that is to be explained.

    Attributes:
        model: of transformers.
        encoded: what it is given.
        texts: one or two, that `encoded` is of.
        label: what is scored.
        target: "log-odds", "cosine" or "value", what `score` gives.
        score: takes what the model gives for n texts, and gives their scores [n].
        span: characters of the text that the label is for.

    Example:
        >>> from kexue.models import mini
        >>> question = token_question(*mini(), "中国的首[MASK]是北京。", label="都")
        >>> question.label, question.target, question.span
        ('都', 'log-odds', (4, 10))
    """

    model: PreTrainedModel
    encoded: EncodedTexts
    texts: tuple[str, ...]
    label: str
    target: str
    score: Callable[[Any], Tensor]
    span: tuple[int, int] | None = None


def log_odds(logits: Tensor, which: int) -> Tensor:
    """Compute the log-odds of one class.

    Args:
        logits: [n, C], at least two classes.
        which: the class.

    Returns:
        [n].

    Example:
        >>> log_odds(torch.tensor([[1.0, 2.0, 1.0]]), 1).sigmoid()
        tensor([0.5761])
    """
    others = torch.cat((logits[:, :which], logits[:, which + 1 :]), 1)
    return logits[:, which] - others.logsumexp(1)


def class_question(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    label: str | None = None,
    other: str | None = None,
) -> Question:
    """Ask why a text has a class.

    Args:
        model: gives logits [B, C].
        tokenizer: of the model.
        text: the text.
        label: name or number of the class; the likeliest by default.
        other: the second text, for models of pairs.

    Returns:
        The question.

    Raises:
        ValueError: if there is no such class, or the text is too long.
    """
    texts = (text,) if other is None else (text, other)
    encoded = encode_texts(tokenizer, texts, limit=token_limit(model, tokenizer))
    logits = _logits(model, encoded)[0]
    if len(logits) == 1:
        return Question(model, encoded, texts, "value", "value", lambda out: out.logits[:, 0])
    names = [model.config.id2label.get(k, str(k)) for k in range(len(logits))]
    which = int(logits.argmax()) if label is None else _class(names, label)

    def score(output: Any) -> Tensor:
        if model.config.problem_type == "multi_label_classification":
            return output.logits[:, which]
        return log_odds(output.logits, which)

    return Question(model, encoded, texts, names[which], "log-odds", score)


def _class(names: list[str], label: str) -> int:
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    raise invalid("label", label, ", ".join(map(repr, names)))


def token_question(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    label: str | None = None,
    span: tuple[int, int] | None = None,
) -> Question:
    """Ask why a hidden token, or the next one, is what it is.

    Args:
        model: gives logits [B, L, V].
        tokenizer: of the model.
        text: with the tokenizer's mask token; for a decoder without, what comes before the token.
        label: the token; the likeliest by default.
        span: characters of the mask token, where there are several.

    Returns:
        The question.

    Raises:
        ValueError: if there is nothing to guess, the label is not one token, or the text is too
            long.
    """
    encoded = encode_texts(tokenizer, (text,), limit=token_limit(model, tokenizer))
    place = _hidden_place(model, tokenizer, encoded, text, span)
    logits = _logits(model, encoded)[0, place]
    which = int(logits.argmax()) if label is None else _token(tokenizer, label)
    hidden = encoded.places[place]
    span = None
    if tokenizer.mask_token_id is not None and place >= 0 and hidden is not None:
        span = hidden[1:]
        # What is asked for is no reason for itself.
        kept = tuple(None if k == place else p for k, p in enumerate(encoded.places))
        encoded = EncodedTexts(encoded.inputs, kept)
    name = tokenizer.decode([which]).strip() or tokenizer.convert_ids_to_tokens(which)
    score = _at(place, which)
    return Question(model, encoded, (text,), name, "log-odds", score, span)


def _at(place: int, which: int) -> Callable[[Any], Tensor]:
    return lambda output: log_odds(output.logits[:, place], which)


def _hidden_place(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: EncodedTexts,
    text: str,
    span: tuple[int, int] | None,
) -> int:
    """Find the mask token, or the last place of a decoder."""
    ids = encoded.inputs["input_ids"][0].tolist()
    masks = [k for k, token in enumerate(ids) if token == tokenizer.mask_token_id]
    if not masks and span is None and type(model).__name__.endswith(("CausalLM", "LMHeadModel")):
        return -1
    places = {encoded.places[k][1:]: k for k in masks if encoded.places[k] is not None}
    if span is None and len(masks) == 1:
        return masks[0]
    if span in places:
        return places[span]
    shown = ", ".join(f"{start}-{end}" for start, end in places) or "none"
    if span is None:
        fix = f"There are {len(masks)}: {shown}. Choose one by its span."
        if not masks:
            fix = f"Write {tokenizer.mask_token} where the model is to guess."
        raise invalid("text", text, f"a text with {tokenizer.mask_token} for a token", fix)
    raise invalid("span", f"{span[0]}-{span[1]}", f"characters of a mask token: {shown}")


def _token(tokenizer: PreTrainedTokenizerBase, label: str) -> int:
    """Find the token of a label; the one it would be within a text first."""
    ids = tokenizer(label, add_special_tokens=False)["input_ids"]
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
        return ids[0]
    whole = tokenizer.convert_tokens_to_ids(label)
    if whole is not None and whole != tokenizer.unk_token_id:
        return whole
    tokens = tokenizer.convert_ids_to_tokens(ids)
    raise invalid("label", label, "one token", f"The tokenizer makes {tokens} of it.")


def similarity_questions(
    encoder: SentenceEncoder, text: str, other: str
) -> tuple[Question, Question]:
    """Ask of each of two texts why it is near the other one.

    Args:
        encoder: of sentences.
        text: a text.
        other: another one.

    Returns:
        The question of each text; the vector of the other one stays as it is.

    Raises:
        ValueError: if a text is too long for one piece.
    """
    limit = encoder.model.config.window
    texts = (text, other)
    encoded = [encode_texts(encoder.tokenizer, (part,), limit=limit) for part in texts]
    with torch.no_grad():
        vectors = [encoder.model(**_placed(encoder.model, e)).vectors for e in encoded]
    one, two = (
        Question(
            encoder.model, encoded[k], (texts[k],), "similarity", "cosine", _near(vectors[1 - k])
        )
        for k in range(2)
    )
    return one, two


def _near(vector: Tensor) -> Callable[[Any], Tensor]:
    return lambda output: torch.cosine_similarity(output.vectors, vector)


def token_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Say how many tokens a model takes.

    Args:
        model: of transformers.
        tokenizer: of the model.

    Returns:
        The smaller of what both say.

    Example:
        >>> from kexue.models import mini
        >>> token_limit(*mini())
        512
    """
    return min(tokenizer.model_max_length, longest_input(model.base_model))


def _placed(model: PreTrainedModel, encoded: EncodedTexts) -> dict[str, Tensor]:
    return {name: value.to(model.device) for name, value in encoded.inputs.items()}


@torch.no_grad()
def _logits(model: PreTrainedModel, encoded: EncodedTexts) -> Tensor:
    return model(**_placed(model, encoded)).logits
