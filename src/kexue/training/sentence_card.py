"""The model card of a sentence encoder: what it was trained towards, and what that changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from kexue.training.atomic import write_atomically
from kexue.training.card import card_template


@dataclass(frozen=True)
class SentenceCard:
    """What a card tells about a sentence encoder.

    Args:
        title: the name of the model.
        dimension: features of a vector.
        pooling: "P1" to "P4".
        window: most tokens of a piece of a text.
        before: figures before training: "std", "effective_rank", "mean_cosine", and "spearman"
            where there were labels to measure by.
        after: the same after training; empty where nothing was trained.
        facts: encoder, objective, number of texts and the like, by name.
        base_model: the encoder that training began with, as a Hub name.
        dataset: what was measured on.

    Example:
        >>> SentenceCard("mine", 256, "P3", 512, {"std": 0.4}).after
        {}
    """

    title: str
    dimension: int
    pooling: str
    window: int
    before: Mapping[str, float]
    after: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    base_model: str | None = None
    dataset: str | None = None


def write_sentence_card(folder: str | Path, card: SentenceCard) -> Path:
    """Write `README.md` into the folder of a sentence encoder.

    Args:
        folder: the folder.
        card: what to tell.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> card = SentenceCard("mine", 256, "P3", 512, {"std": 0.4})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "# mine" in write_sentence_card(folder, card).read_text("utf-8")
        True
    """
    path = Path(folder, "README.md")
    text = card_template("sentence_card.md.j2").render(
        card=card, metadata=_metadata(card).to_yaml().strip()
    )
    write_atomically(path, text)
    return path


def _metadata(card: SentenceCard) -> ModelCardData:
    """Collect what the Hub reads."""
    results = None
    if "spearman" in card.after:
        results = [
            EvalResult(
                task_type="sentence-similarity",
                task_name="Sentence similarity",
                dataset_type=card.dataset or "development-set",
                dataset_name=card.dataset or "development set",
                metric_type="spearman",
                metric_value=round(card.after["spearman"], 4),
                metric_name="Spearman correlation of the cosine",
            )
        ]
    return ModelCardData(
        library_name="kexue",
        pipeline_tag="sentence-similarity",
        tags=["sentence-similarity", "feature-extraction"],
        base_model=card.base_model,
        model_name=None if results is None else card.title,
        eval_results=results,
    )
