"""From texts, or pairs of texts, of any length to the vectors that a classifier decides by.

Axes: N texts, D hidden size
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.data.pair_windows import cut_pairs
from kexue.data.windows import Window, cut_windows
from kexue.models.classifier import ClassifierModel

Text = str | tuple[str, str]

# Batches that are sorted by length together: long enough to save padding, short enough to keep.
_STRETCH = 64


def cut_texts(
    texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, *, window: int, pairs: bool
) -> Iterator[Window]:
    """Cut texts, or pairs of texts, into windows that share no token.

    Args:
        texts: the texts, or the pairs.
        tokenizer: a fast tokenizer.
        window: most tokens of a window.
        pairs: whether these are pairs.

    Yields:
        The windows in the order of the texts; every text has at least one.

    Raises:
        ValueError: if something is a text where pairs are wanted, or a pair where texts are.

    Example:
        >>> from kexue.models import scratch_tokenizer
        >>> tokenizer = scratch_tokenizer(["a b c"] * 2)
        >>> [w.text for w in cut_texts(["a b c"], tokenizer, window=4, pairs=False)]
        [0, 0]
    """
    for text in texts:
        if pairs and (isinstance(text, str) or len(text) != 2):
            raise invalid("texts", text, "pairs of texts", "Write a pair as (text, text).")
        if not pairs and not isinstance(text, str):
            fix = "This classifier was trained on texts without a second one."
            raise invalid("texts", text, "a list of texts", fix)
    if pairs:
        return cut_pairs([(one, two) for one, two in texts], tokenizer, window=window)
    return cut_windows(texts, tokenizer, window=window, overlap=0)


def weight_of(piece: Window) -> int:
    """Say how much a window counts: by its tokens that are not special.

    Args:
        piece: the window.

    Returns:
        Their number, 1 at least.

    Example:
        >>> weight_of(Window(0, [2, 7, 3], [False, True, False], [0, 0, 0], [0, 1, 0]))
        1
    """
    return max(1, sum(piece.keep))


def text_vectors(
    model: ClassifierModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[Text],
    *,
    batch_size: int = 32,
) -> Iterator[np.ndarray]:
    """Give each text its vector, stretch by stretch as they are ready.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.
        texts: texts, or pairs where the model labels pairs.
        batch_size: pieces of texts that go through the model at once.

    Yields:
        [n, D] float32, vectors of the next texts. Those of the pieces of a long text are averaged
        by their number of tokens.

    Raises:
        ValueError: if something is no text, or no pair where pairs are wanted.
    """
    remaining = iter(texts)
    while part := list(islice(remaining, _STRETCH * batch_size)):
        yield _stretch(model, tokenizer, part, batch_size)


@torch.inference_mode()
def _stretch(
    model: ClassifierModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    batch_size: int,
) -> np.ndarray:
    config = model.config
    pieces = list(cut_texts(texts, tokenizer, window=config.window, pairs=config.pairs))
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i].input_ids))
    total = np.zeros((len(texts), model.head.in_features))
    weights = np.zeros((len(texts), 1))
    for first in range(0, len(order), batch_size):
        chosen = [pieces[i] for i in order[first : first + batch_size]]
        batch = tokenizer.pad(_columns(chosen), return_tensors="pt")
        vectors = model.vectors(**batch.to(model.device)).float().cpu().numpy()
        counts = np.array([[weight_of(piece)] for piece in chosen])
        rows = [piece.text for piece in chosen]
        np.add.at(total, rows, counts * vectors)
        np.add.at(weights, rows, counts)
    return (total / weights).astype(np.float32)


def _columns(pieces: Sequence[Window]) -> dict[str, list[list[int]]]:
    columns = {"input_ids": [piece.input_ids for piece in pieces]}
    columns["attention_mask"] = [[1] * len(piece.input_ids) for piece in pieces]
    if pieces[0].token_type_ids is not None:
        columns["token_type_ids"] = [piece.token_type_ids for piece in pieces]
    return columns
