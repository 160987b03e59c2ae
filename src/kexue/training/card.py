"""The model card: the README.md of a saved model folder, for people and for the Hub."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from kexue.metrics import SpanScores
from kexue.training.atomic import write_atomically


@dataclass(frozen=True)
class EntityCard:
    """What a card tells about an entity recogniser.

    Args:
        title: the name of the model.
        labels: the entity types in the order of the head.
        head: "efficient", "standard" or "crf".
        window: most tokens of a window.
        overlap: tokens that neighbouring windows share.
        scores: on a development or test set.
        thresholds: the logit above which spans of a label count, where that is not 0.
        facts: encoder, number of records, seconds and the like, by name.
        example: a text for the usage snippet.
        language: one or several codes such as "zh".
        base_model: the pretrained encoder, as a Hub name.
        license: its short name, such as "apache-2.0".
        dataset: the name of the data that `scores` are from.

    Example:
        >>> EntityCard("my-model", ["place"], "efficient", 512, 128).thresholds
        {}
    """

    title: str
    labels: Sequence[str]
    head: str
    window: int
    overlap: int
    scores: SpanScores | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    example: str = "Anna moved from Paris to Geneva."
    language: str | list[str] | None = None
    base_model: str | None = None
    license: str | None = None
    dataset: str | None = None


def write_card(folder: str | Path, card: EntityCard) -> Path:
    """Write `README.md` into a saved model folder.

    Args:
        folder: the folder.
        card: what to tell.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> card = EntityCard("my-model", ["place"], "efficient", 512, 128, language="en")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_card(folder, card).read_text("utf-8").splitlines()[:2]
        ['---', 'language: en']
    """
    path = Path(folder, "README.md")
    text = card_template("card.md.j2").render(
        card=card,
        metadata=_metadata(card).to_yaml().strip(),
        rows=_rows(card),
        example=repr(card.example),
    )
    write_atomically(path, text)
    return path


def card_template(name: str) -> Template:
    """Load the template of a card; its filter `markdown` shows a value as it is.

    Args:
        name: a file of the package's assets.

    Returns:
        The template.

    Example:
        >>> card_template("card.md.j2").name
        'card.md.j2'
    """
    page = Environment(
        loader=PackageLoader("kexue", "assets"),
        # The card is Markdown; every value from outside goes through the filter `markdown`.
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page.filters["markdown"] = _markdown
    return page.get_template(name)


def _metadata(card: EntityCard) -> ModelCardData:
    """Collect what the Hub reads."""
    results = None
    if card.scores is not None:
        results = [
            EvalResult(
                task_type="token-classification",
                task_name="Named entity recognition",
                dataset_type=card.dataset or "development-set",
                dataset_name=card.dataset or "development set",
                metric_type=name,
                metric_value=round(getattr(card.scores, name), 4),
                metric_name=f"{name} (micro, strict spans)",
            )
            for name in ("f1", "precision", "recall")
        ]
    return ModelCardData(
        language=card.language,
        license=card.license,
        library_name="kexue",
        pipeline_tag="token-classification",
        tags=["named-entity-recognition", "global-pointer" if card.head != "crf" else "crf"],
        base_model=card.base_model,
        # The Hub wants a name for results and has no place for it without them.
        model_name=None if results is None else card.title,
        eval_results=results,
    )


def _rows(card: EntityCard) -> list[dict[str, Any]]:
    """Give the table of labels in the order of the head."""
    scored = {} if card.scores is None else card.scores.labels
    rows = []
    for label in card.labels:
        row: dict[str, Any] = {"label": label, "threshold": card.thresholds.get(label, 0.0)}
        if label in scored:
            score = scored[label]
            row |= {"gold": score.gold, "predicted": score.predicted}
            row |= {n: f"{100 * getattr(score, n):.2f}" for n in ("precision", "recall", "f1")}
        rows.append(row)
    return rows


def _markdown(value: object) -> str:
    """Show a value as it is: no markup, no HTML, no end of a table cell."""
    text = html.escape(re.sub(r"\s+", " ", str(value)), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", text)
