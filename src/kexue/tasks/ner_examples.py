"""Labelled texts as the model is trained on them: windows of tokens, padded into batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from kexue.data.windows import Window, cut_windows, token_spans

Span = tuple[int, int, str]


@dataclass(frozen=True)
class Example:
    """A window as the model is trained on it: token ids, kept tokens, gold (type, start, end)."""

    input_ids: list[int]
    keep: list[bool]
    spans: list[tuple[int, int, int]]
    token_type_ids: list[int] | None = None


@dataclass(frozen=True)
class Unlearnable:
    """A gold entity that no window can hold: it does not align with tokens, or is too long.

    Attributes:
        text: which text.
        start: first character.
        end: character after the last one.
        label: its type.
        reason: "does not align with tokens" or "longer than a window".
    """

    text: int
    start: int
    end: int
    label: str
    reason: str


def make_examples(
    texts: Sequence[str],
    gold: Sequence[Iterable[Span]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    labels: Sequence[str],
    window: int,
    overlap: int,
) -> tuple[list[Example], list[Unlearnable]]:
    """Cut labelled texts into training windows.

    Args:
        texts: the texts.
        gold: for each text its (start, end, label) in characters, end exclusive.
        tokenizer: a fast tokenizer.
        labels: entity types in the order of the head.
        window: most tokens of a window.
        overlap: tokens that neighbouring windows share.

    Returns:
        The windows with their gold spans, and the gold entities that are in none of them.
    """
    kinds = {label: kind for kind, label in enumerate(labels)}
    examples, missed = [], []
    windows = cut_windows(texts, tokenizer, window=window, overlap=overlap)
    for text, group in groupby(windows, key=lambda piece: piece.text):
        spans = sorted(set(gold[text]))
        starts, ends, placed = set(), set(), set()
        for piece in group:
            starts.update(s for s, keep in zip(piece.starts, piece.keep, strict=True) if keep)
            ends.update(e for e, keep in zip(piece.ends, piece.keep, strict=True) if keep)
            places = token_spans(piece, spans)
            placed.update(places)
            found = [(kinds[label], *places[start, end, label]) for start, end, label in places]
            examples.append(Example(piece.input_ids, piece.keep, found, piece.token_type_ids))
        for span in spans:
            if span not in placed:
                aligned = span[0] in starts and span[1] in ends
                reason = "longer than a window" if aligned else "does not align with tokens"
                missed.append(Unlearnable(text, *span, reason))
    return examples, missed


class Collator:
    """Pad windows to the longest of a batch.

    Args:
        tokenizer: says what padding is, and on which side.

    Example:
        >>> from kexue.models import scratch_tokenizer
        >>> collate = Collator(scratch_tokenizer(["ab"] * 2))
        >>> batch = collate([Example([2, 5, 3], [False, True, False], [(0, 1, 1)])])
        >>> batch["span_mask"].tolist(), batch["spans"].tolist()
        ([[False, True, False]], [[[0, 1, 1]]])
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.pad = tokenizer.pad_token_id or 0
        self.kind_pad = tokenizer.pad_token_type_id

    def __call__(self, examples: Sequence[Example | Window]) -> dict[str, Tensor]:
        """Make the tensors of a batch; `spans` only for examples that carry them."""
        longest = max(len(example.input_ids) for example in examples)
        batch = {
            "input_ids": _padded([e.input_ids for e in examples], longest, self.pad),
            "attention_mask": _padded([[1] * len(e.input_ids) for e in examples], longest, 0),
            "span_mask": _padded([e.keep for e in examples], longest, False),
        }
        if examples[0].token_type_ids is not None:
            kinds = [e.token_type_ids for e in examples]
            batch["token_type_ids"] = _padded(kinds, longest, self.kind_pad)
        if isinstance(examples[0], Example):
            most = max(1, *(len(e.spans) for e in examples))
            rows = [[*e.spans, *[(-1, -1, -1)] * (most - len(e.spans))] for e in examples]
            batch["spans"] = torch.tensor(rows)
        return batch


def _padded(rows: Sequence[Sequence[Any]], length: int, value: Any) -> Tensor:
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])
