"""Text classification: texts, or pairs of texts, in; a label with its probability out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.metrics.classification import ClassificationScores, classification_scores
from kexue.models import encoder_place, load_tokenizer
from kexue.models.classifier import ClassifierConfig, ClassifierModel
from kexue.tasks.classification_vectors import Text, text_vectors
from kexue.tasks.model_folder import model_type


@dataclass(frozen=True)
class PredictedLabel:
    """The label of a text.

    Attributes:
        label: the likeliest one, the first of equals.
        score: its probability.
        probabilities: of all labels, in the order of the model; their sum is 1.

    Example:
        >>> print(PredictedLabel("good", 0.75, {"bad": 0.25, "good": 0.75}))
        good (0.75)
    """

    label: str
    score: float
    probabilities: dict[str, float]

    def __str__(self) -> str:
        return f"{self.label} ({self.score:.2f})"

    def to_dict(self) -> dict[str, Any]:
        """Give the label as a JSON object.

        Returns:
            Its fields.
        """
        return asdict(self)


class TextClassifier:
    """A trained classifier of texts or of pairs of texts.

    Args:
        model: the model.
        tokenizer: its tokenizer.

    Example:
        >>> TextClassifier.from_pretrained("runs/none")
        Traceback (most recent call last):
        ValueError: folder is 'runs/none'; allowed: a folder ...
    """

    def __init__(self, model: ClassifierModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str | None = None) -> "TextClassifier":
        """Load a folder written by `kexue train classification` or `save_pretrained`.

        Args:
            folder: the model folder, or the run folder that holds it as `model`.
            device: where to put it; a GPU where there is one, by default.

        Returns:
            The classifier.

        Raises:
            ValueError: if there is no such model in the folder.
        """
        wanted = ClassifierConfig.model_type
        kind = model_type(folder)
        if kind != wanted:
            has = f"It holds {kind!r}." if kind else "It holds no model."
            raise invalid(
                "folder",
                str(folder),
                f"a folder with a config.json of model type {wanted!r}",
                f"{has} Train one with `kexue train classification --train FILE --out FOLDER`.",
            )
        path = Path(encoder_place(str(folder)))
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = ClassifierModel.from_pretrained(path, local_files_only=True).to(device)
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
        """The labels it knows."""
        return self.model.config.labels

    def __call__(self, texts: Sequence[Text], *, batch_size: int = 32) -> list[PredictedLabel]:
        """Give texts of any length their labels.

        Args:
            texts: a list of texts; or of pairs (text, text), for a model that was trained on pairs.
            batch_size: pieces of texts that go through the model at once.

        Returns:
            For each text its label. A text that is longer than the window is cut into pieces,
            whose vectors are averaged by their number of tokens.

        Raises:
            ValueError: if `texts` is one string, or holds texts where the model wants pairs.
        """
        return list(self.stream(texts, batch_size=batch_size))

    def stream(self, texts: Sequence[Text], *, batch_size: int = 32) -> Iterator[PredictedLabel]:
        """Give texts their labels, stretch by stretch as they are ready.

        Args:
            texts: as in a call.
            batch_size: as in a call.

        Yields:
            For each text its label.

        Raises:
            ValueError: if `texts` is one string, or holds texts where the model wants pairs.
        """
        if isinstance(texts, str):
            raise invalid("texts", texts, "a list of texts", "Put the text into brackets: [text].")
        head = self.model.head
        for vectors in text_vectors(self.model, self.tokenizer, texts, batch_size=batch_size):
            with torch.inference_mode():
                logits = head(torch.from_numpy(vectors).to(head.weight.device, head.weight.dtype))
                # In double precision, so that they sum to 1 for everybody
                rows = logits.double().softmax(1).tolist()
            for row in rows:
                best = max(range(len(row)), key=row.__getitem__)
                named = dict(zip(self.labels, row, strict=True))
                yield PredictedLabel(self.labels[best], row[best], named)

    def score(
        self, texts: Sequence[Text], labels: Sequence[str], *, batch_size: int = 32
    ) -> ClassificationScores:
        """Measure accuracy and F1 on labelled texts.

        Args:
            texts: as in a call.
            labels: the right label of each text; one that the model does not know counts as wrong.
            batch_size: as in a call.

        Returns:
            The scores.
        """
        predicted = [found.label for found in self.stream(texts, batch_size=batch_size)]
        return classification_scores(list(labels), predicted)
