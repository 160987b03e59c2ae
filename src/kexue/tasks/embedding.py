"""Sentence vectors: texts in, one vector for each out, near where the texts mean alike.

Post: https://kexue.fm/archives/8321, https://kexue.fm/archives/8069
Axes: N texts, E features
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.data.windows import Window, cut_windows
from kexue.models import (
    SentenceConfig,
    SentenceModel,
    choose_dropout,
    encoder_place,
    load_tokenizer,
    longest_input,
)

# Batches that are sorted by length together: long enough to save padding, short enough to keep.
_STRETCH = 64


class SentenceEncoder:
    """Something that turns texts into vectors.

    Args:
        model: the model.
        tokenizer: its tokenizer.

    Example:
        >>> encoder = SentenceEncoder.from_pretrained("mini")
        >>> encoder(["花开了", "What a day"]).shape
        (2, 256)
    """

    def __init__(self, model: SentenceModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        pooling: str | None = None,
        window: int | None = None,
        dropout: float | None = None,
        device: str | None = None,
    ) -> "SentenceEncoder":
        """Load a sentence encoder, or make one of any encoder.

        Args:
            folder: "mini"; a folder that `kexue train embedding`, `kexue whiten` or
                `save_pretrained` wrote, or the run folder that holds it as `model`; or a folder or
                Hub name of an encoder that AutoModel loads.
            pooling: "P1" to "P4", see `kexue.sentences.pool`. By default that of the folder, and
                P4, which the article found best, for an encoder that was not trained for vectors.
            window: most tokens of a piece of a text; less where the encoder takes less. By default
                that of the folder, and 512 for an encoder that was not trained for vectors.
            dropout: while it is trained further, of an encoder that kexue pre-trained.
            device: where to put it; a GPU where there is one, by default.

        Returns:
            The encoder.

        Raises:
            ValueError: if there is no such encoder, or the pooling does not fit it.
        """
        if is_sentence_model(folder):
            model, tokenizer = _saved(encoder_place(str(folder)), dropout)
            _choose_pooling(model, pooling)
            if window is not None:
                model.config.window = _window(window, model, tokenizer)
        else:
            model, tokenizer = new_sentence_model(
                str(folder), pooling=pooling or "P4", window=window or 512, dropout=dropout
            )
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model.to(device), tokenizer)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that loads without anything else.

        Args:
            folder: where to.
        """
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def dimension(self) -> int:
        """E, the number of features of a vector."""
        return self.model.config.dimension

    def __call__(
        self, texts: Sequence[str], *, batch_size: int = 64, normalize: bool = False
    ) -> np.ndarray:
        """Encode texts of any length.

        Args:
            texts: a list of texts.
            batch_size: pieces of texts that go through the model at once.
            normalize: scale each vector to length 1, so that inner products are cosines.

        Returns:
            [N, E] float32. A text that is longer than the window is cut into pieces, whose vectors
            are averaged by their number of tokens: with P3 this is the mean over all its tokens.

        Raises:
            ValueError: if `texts` is one string.
        """
        parts = list(self.stream(texts, batch_size=batch_size, normalize=normalize))
        return np.concatenate([np.empty((0, self.dimension), np.float32), *parts])

    def stream(
        self, texts: Sequence[str], *, batch_size: int = 64, normalize: bool = False
    ) -> Iterator[np.ndarray]:
        """Encode texts, stretch by stretch as they are ready.

        Args:
            texts: a list of texts.
            batch_size: as in a call.
            normalize: as in a call.

        Yields:
            [n, E] float32, vectors of the next texts.

        Raises:
            ValueError: if `texts` is one string.
        """
        if isinstance(texts, str):
            raise invalid("texts", texts, "a list of texts", "Put the text into brackets: [text].")
        remaining = iter(texts)
        while part := list(islice(remaining, _STRETCH * batch_size)):
            vectors = self._encode(part, batch_size)
            if normalize:
                length = np.linalg.norm(vectors, axis=1, keepdims=True)
                vectors = vectors / np.where(length == 0, 1, length)
            yield vectors

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], batch_size: int) -> np.ndarray:
        window = self.model.config.window
        pieces = list(cut_windows(texts, self.tokenizer, window=window, overlap=0))
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i].input_ids))
        total = np.zeros((len(texts), self.dimension))
        weights = np.zeros((len(texts), 1))
        for first in range(0, len(order), batch_size):
            chosen = [pieces[i] for i in order[first : first + batch_size]]
            batch = self.tokenizer.pad(_columns(chosen), return_tensors="pt")
            vectors = self.model(**batch.to(self.model.device)).vectors.float().cpu().numpy()
            counts = np.array([[max(1, sum(piece.keep))] for piece in chosen])
            rows = [piece.text for piece in chosen]
            np.add.at(total, rows, counts * vectors)
            np.add.at(weights, rows, counts)
        return (total / weights).astype(np.float32)


def new_sentence_model(
    name: str,
    *,
    pooling: str = "P4",
    window: int = 512,
    dropout: float | None = None,
) -> tuple[SentenceModel, PreTrainedTokenizerBase]:
    """Put a pooling on an encoder.

    Args:
        name: "mini", or a folder or Hub name of an encoder that AutoModel loads.
        pooling: "P1" to "P4".
        window: most tokens of a piece of a text; less where the encoder takes less.
        dropout: of an encoder that kexue pre-trained, which was done without; others bring theirs.

    Returns:
        Model and tokenizer.

    Raises:
        ValueError: if there is no such encoder, or the pooling does not fit it.

    Example:
        >>> model, tokenizer = new_sentence_model("mini", pooling="P3")
        >>> model.config.pooling
        'P3'
    """
    place = encoder_place(name)
    try:
        model = SentenceModel.from_encoder(place, pooling=pooling, dropout=dropout)
    except (OSError, ValueError, KeyError) as error:
        if "pooling is" in str(error):
            raise
        raise invalid(
            "encoder",
            name,
            "'mini', or a folder or Hub name that AutoModel loads",
            f"transformers says: {str(error).strip().splitlines()[0]}",
        ) from error
    tokenizer = load_tokenizer(place)
    model.config.window = _window(window, model, tokenizer)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _saved(place: str, dropout: float | None) -> tuple[SentenceModel, PreTrainedTokenizerBase]:
    config = SentenceConfig.from_pretrained(place, local_files_only=True)
    choose_dropout(config.encoder_config, dropout)
    model = SentenceModel.from_pretrained(place, config=config, local_files_only=True)
    return model, load_tokenizer(place, local=True)


def _window(most: int, model: SentenceModel, tokenizer: PreTrainedTokenizerBase) -> int:
    return min(most, tokenizer.model_max_length, longest_input(model.encoder))


def _columns(pieces: Sequence[Window]) -> dict[str, list[list[int]]]:
    columns = {"input_ids": [piece.input_ids for piece in pieces]}
    columns["attention_mask"] = [[1] * len(piece.input_ids) for piece in pieces]
    if pieces[0].token_type_ids is not None:
        columns["token_type_ids"] = [piece.token_type_ids for piece in pieces]
    return columns


def is_sentence_model(folder: str | Path) -> bool:
    """Say whether a folder holds a sentence encoder rather than an encoder of tokens.

    Args:
        folder: a model folder, or a run folder that holds it as `model`.

    Returns:
        False also for what is no folder.

    Example:
        >>> is_sentence_model("mini")
        False
    """
    return _kind(encoder_place(str(folder))) == SentenceConfig.model_type


def _kind(place: str | Path) -> str | None:
    """Read the model type of a folder; None for what is no folder of a model."""
    file = Path(place) / "config.json"
    try:
        return json.loads(file.read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None  # transformers says what is wrong with it


def _choose_pooling(model: SentenceModel, pooling: str | None) -> None:
    """Take another pooling than the model was saved with, where that makes sense."""
    if pooling in (None, model.config.pooling):
        return
    if model.projection is not None or "P2" in (pooling, model.config.pooling):
        fix = "Leave it out, or begin with the encoder that the folder was made from."
        raise invalid("pooling", pooling, f"{model.config.pooling!r} for this model", fix)
    model.config.pooling = SentenceConfig(pooling=pooling).pooling
