"""The model card of a text classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from kexue.metrics.classification import ClassificationScores
from kexue.training.atomic import write_atomically
from kexue.training.card import card_template


@dataclass(frozen=True)
class ClassifierCard:
    """What a card tells about a classifier.

    Args:
        title: the name of the model.
        labels: in the order of the model.
        pooling: "P1" to "P4".
        window: most tokens of a piece of a text.
        pairs: whether it labels pairs of texts.
        scores: on a development or test set.
        facts: encoder, head, number of texts and the like, by name.
        example: a text, or a pair, for the usage snippet.
        base_model: the encoder that training began with, as a Hub name.
        dataset: the name of the data that `scores` are from.

    Example:
        >>> ClassifierCard("mine", ["bad", "good"], "P3", 512).pairs
        False
    """

    title: str
    labels: Sequence[str]
    pooling: str
    window: int
    pairs: bool = False
    scores: ClassificationScores | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    example: str | tuple[str, str] = "What a day!"
    base_model: str | None = None
    dataset: str | None = None


def write_classifier_card(folder: str | Path, card: ClassifierCard) -> Path:
    """Write `README.md` into the folder of a classifier.

    Args:
        folder: the folder.
        card: what to tell.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> card = ClassifierCard("mine", ["bad", "good"], "P3", 512)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "# mine" in write_classifier_card(folder, card).read_text("utf-8")
        True
    """
    path = Path(folder, "README.md")
    text = card_template("classifier_card.md.j2").render(
        card=card, metadata=_metadata(card).to_yaml().strip(), example=repr(card.example)
    )
    write_atomically(path, text)
    return path


def _metadata(card: ClassifierCard) -> ModelCardData:
    """Collect what the Hub reads."""
    results = None
    if card.scores is not None:
        results = [
            EvalResult(
                task_type="text-classification",
                task_name="Text classification",
                dataset_type=card.dataset or "development-set",
                dataset_name=card.dataset or "development set",
                metric_type=kind,
                metric_value=round(value, 4),
                metric_name=name,
            )
            for kind, name, value in (
                ("accuracy", "accuracy", card.scores.accuracy),
                ("f1", "F1 (macro)", card.scores.macro_f1),
            )
        ]
    return ModelCardData(
        library_name="kexue",
        pipeline_tag="text-classification",
        tags=["text-classification"],
        base_model=card.base_model,
        model_name=None if results is None else card.title,
        eval_results=results,
    )
