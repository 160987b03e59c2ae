"""The model card of a pre-trained encoder: what it learnt from, for how long, how well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from kexue.training.atomic import write_atomically
from kexue.training.card import card_template

_ROWS = 25  # of the curve


@dataclass(frozen=True)
class PretrainingCard:
    """What a card tells about a pre-trained encoder.

    Args:
        title: the name of the model.
        files: "name", "bytes" and "sha256" of each file of texts.
        metrics: the lines of `metrics.jsonl`.
        tokens_per_step: tokens of a step.
        accuracy: share of the hidden tokens of held-out texts that are named right.
        loss: their mean cross-entropy, natural logarithm.
        facts: sizes, steps and the like, by name.
        base_model: the encoder that training began with, as a Hub name.

    Example:
        >>> PretrainingCard("mini", [], [], 8192, accuracy=0.5, loss=2.5).facts
        {}
    """

    title: str
    files: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    tokens_per_step: int
    accuracy: float
    loss: float
    facts: Mapping[str, str] = field(default_factory=dict)
    base_model: str | None = None


def write_pretraining_card(folder: str | Path, card: PretrainingCard) -> Path:
    """Write `README.md` into the folder of a pre-trained encoder.

    Args:
        folder: the folder.
        card: what to tell.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> card = PretrainingCard("mini", [], [], 8192, accuracy=0.5, loss=2.5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "# mini" in write_pretraining_card(folder, card).read_text("utf-8")
        True
    """
    path = Path(folder, "README.md")
    text = card_template("pretraining_card.md.j2").render(
        card=card,
        metadata=_metadata(card).to_yaml().strip(),
        curve=curve(card.metrics, tokens_per_step=card.tokens_per_step),
    )
    write_atomically(path, text)
    return path


def curve(
    metrics: Sequence[Mapping[str, Any]], *, tokens_per_step: int
) -> list[tuple[int, float | None, float, float]]:
    """Collect how a pre-training went, in 25 rows at most.

    Args:
        metrics: the lines of `metrics.jsonl`.
        tokens_per_step: tokens of a step.

    Returns:
        Tokens seen, last loss of training, accuracy and loss on held-out texts.

    Example:
        >>> lines = [{"step": 2, "loss": 3.0}, {"step": 2, "eval_accuracy": 0.5, "eval_loss": 2.0}]
        >>> curve(lines, tokens_per_step=100)
        [(200, 3.0, 0.5, 2.0)]
    """
    rows: dict[int, tuple[int, float | None, float, float]] = {}
    loss = None
    for line in metrics:
        loss = line.get("loss", loss)
        if "eval_accuracy" in line:
            step = line["step"]
            figures = (line["eval_accuracy"], line["eval_loss"])
            rows[step] = (step * tokens_per_step, loss, *figures)
    found = list(rows.values())
    most = min(len(found), _ROWS)
    # The last one is always among them.
    return [found[len(found) * (place + 1) // most - 1] for place in range(most)]


def _metadata(card: PretrainingCard) -> ModelCardData:
    """Collect what the Hub reads."""
    result = EvalResult(
        task_type="fill-mask",
        task_name="Naming hidden tokens",
        dataset_type="held-out-texts",
        dataset_name="held-out part of the texts",
        metric_type="accuracy",
        metric_value=round(card.accuracy, 4),
        metric_name="accuracy of hidden tokens",
    )
    return ModelCardData(
        library_name="kexue",
        pipeline_tag="fill-mask",
        tags=["masked-language-model", "pre-training"],
        base_model=card.base_model,
        model_name=card.title,
        eval_results=[result],
    )
