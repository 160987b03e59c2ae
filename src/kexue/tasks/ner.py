"""Named entity recognition, flat or nested: text in, labelled spans out.

Everything outside this file speaks characters of the text, end exclusive; token places live only
between tokenizer and model.

Post: https://kexue.fm/archives/8373, https://kexue.fm/archives/8877
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.metrics import SpanScores, span_scores
from kexue.models import EntityModel, encoder_place, load_tokenizer
from kexue.tasks.ner_decoding import find_spans
from kexue.tasks.ner_examples import Span


@dataclass(frozen=True)
class ExtractedEntity:
    """An entity found in a text.

    Attributes:
        text: its surface, `text[start:end]` of the text it was found in.
        label: its type.
        start: first character.
        end: character after the last one.
        score: probability, sigmoid(2 s) of the logit s (for a CRF the least certain tag's).

    Example:
        >>> print(ExtractedEntity("北京", "place", 2, 4, 0.98))
        place 2-4 北京 (0.98)
    """

    text: str
    label: str
    start: int
    end: int
    score: float

    def __str__(self) -> str:
        return f"{self.label} {self.start}-{self.end} {self.text} ({self.score:.2f})"

    def to_dict(self) -> dict[str, Any]:
        """Give the entity as a JSON object.

        Returns:
            Its fields.
        """
        return asdict(self)


class EntityRecognizer:
    """A trained entity recogniser.

    Args:
        model: the model.
        tokenizer: its tokenizer.

    Example:
        >>> EntityRecognizer.from_pretrained("runs/none")
        Traceback (most recent call last):
        ValueError: folder is 'runs/none'; allowed: a folder ...
    """

    def __init__(self, model: EntityModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str | None = None
    ) -> "EntityRecognizer":
        """Load a folder written by `kexue train ner` or `save_pretrained`.

        Args:
            folder: the model folder, or the run folder that holds it as `model`.
            device: where to put it; a GPU where there is one, by default.

        Returns:
            The recogniser.

        Raises:
            ValueError: if there is no such model in the folder.
        """
        path = Path(encoder_place(str(folder)))
        kind = EntityModel.config_class.model_type
        if not (path / "config.json").is_file() or kind not in (path / "config.json").read_text(
            encoding="utf-8"
        ):
            raise invalid(
                "folder",
                str(folder),
                f"a folder with a config.json of model type {kind!r}",
                "Train one with `kexue train ner --train FILE --out FOLDER`.",
            )
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = EntityModel.from_pretrained(path, local_files_only=True).to(device)
        return cls(model, load_tokenizer(path, local=True))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that loads without anything else.

        Args:
            folder: where to.
        """
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def labels(self) -> list[str]:
        """The entity types it knows."""
        return self.model.config.labels

    def __call__(
        self,
        texts: Sequence[str],
        *,
        threshold: float | None = None,
        flat: bool | None = None,
        batch_size: int = 32,
    ) -> list[list[ExtractedEntity]]:
        """Find the entities of texts of any length.

        Args:
            texts: a list of texts.
            threshold: least probability, strictly between 0 and 1; by default what was calibrated
                for each type, or 0.5.
            flat: keep only the best set of entities that do not overlap; by default if those of
                the training texts did not.
            batch_size: windows that go through the model at once.

        Returns:
            For each text its entities by place.

        Raises:
            ValueError: if `texts` is one string, or the threshold cannot be a probability.
        """
        return list(self.stream(texts, threshold=threshold, flat=flat, batch_size=batch_size))

    def stream(
        self,
        texts: Sequence[str],
        *,
        threshold: float | None = None,
        flat: bool | None = None,
        batch_size: int = 32,
    ) -> Iterator[list[ExtractedEntity]]:
        """Find the entities of texts, text by text as they are ready.

        Args:
            texts: a list of texts.
            threshold: as in a call.
            flat: as in a call.
            batch_size: as in a call.

        Yields:
            For each text its entities by place.

        Raises:
            ValueError: if `texts` is one string, or the threshold cannot be a probability.
        """
        if isinstance(texts, str):
            raise invalid("texts", texts, "a list of texts", "Put the text into brackets: [text].")
        options = {"thresholds": self._logits(threshold), "flat": flat, "batch_size": batch_size}
        found = find_spans(self.model, self.tokenizer, texts, **options)
        for text, spans in zip(texts, found, strict=True):
            yield [
                ExtractedEntity(text[start:end], label, start, end, self.probability(score))
                for start, end, label, score in spans
            ]

    def _logits(self, threshold: float | None) -> list[float] | None:
        if threshold is None:
            return None
        if self.model.config.head == "crf":
            raise invalid("threshold", threshold, "None", "A CRF chooses one path, not spans.")
        if not 0 < threshold < 1:
            raise invalid("threshold", threshold, "a probability between 0 and 1, such as 0.5")
        return [math.log(threshold / (1 - threshold)) / 2] * len(self.labels)

    def probability(self, score: float) -> float:
        """Turn the score of a span, as `find_spans` gives it, into a probability.

        Args:
            score: a logit; for a CRF already a probability.

        Returns:
            sigmoid(2 s), what the multi-label loss makes of a logit s.
        """
        if self.model.config.head == "crf":
            return score
        return 1 / (1 + math.exp(-2 * max(score, -300.0)))

    def score(
        self, texts: Sequence[str], gold: Sequence[Iterable[Span]], *, batch_size: int = 32
    ) -> SpanScores:
        """Measure precision, recall and F1 on labelled texts.

        Args:
            texts: the texts.
            gold: for each text its (start, end, label) in characters, end exclusive. Entities that
                the tokenizer cannot represent count as missed.
            batch_size: windows that go through the model at once.

        Returns:
            The scores.
        """
        found = find_spans(self.model, self.tokenizer, texts, batch_size=batch_size)
        predicted = [[span[:3] for span in spans] for spans in found]
        return span_scores([list(spans) for spans in gold], predicted)
