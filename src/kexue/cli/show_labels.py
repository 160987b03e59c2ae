"""What a person sees of labels: each text's on a terminal, and tables of scores."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from kexue.cli.show import console

_MOST = 5  # labels that are shown beside a text
_WIDTH = 20  # characters of a bar
_MATRIX = 12  # labels up to which the confusion is printed


def show_label(texts: Sequence[str], found: Any) -> None:
    """Print a text, or a pair of texts, with its likeliest labels below it.

    Args:
        texts: the text, or both.
        found: a `PredictedLabel`.
    """
    out = console()
    for text in texts:
        out.print(Text(text.replace("\n", " ")))
    ranked = sorted(found.probabilities.items(), key=lambda item: -item[1])
    for label, probability in ranked[:_MOST]:
        style = "bold green" if label == found.label else "dim"
        bar = "█" * round(_WIDTH * probability)
        out.print(Text(f"  {probability:.3f} {bar:{_WIDTH}} {label}", style=style))
    if len(ranked) > _MOST:
        out.print(Text(f"  and {len(ranked) - _MOST} labels less likely", style="dim"))


def show_label_scores(scores: Any, *, title: str) -> None:
    """Print scores: a row a label, and what was taken for what where there is room for it.

    Args:
        scores: `ClassificationScores`.
        title: what they are of.
    """
    out = console()
    table = Table(title=title, title_justify="left")
    for name in ("label", "precision", "recall", "F1", "gold", "predicted"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for row in scores.table():
        figures = [f"{row[name]:.4f}" for name in ("precision", "recall", "f1")]
        table.add_row(Text(row["label"]), *figures, str(row["gold"]), str(row["predicted"]))
    out.print(table)
    labels = list(scores.labels)
    if len(labels) <= _MATRIX:
        matrix = Table(title="Rows are gold, columns predicted", title_justify="left")
        matrix.add_column("")
        for label in labels:
            matrix.add_column(Text(label), justify="right")
        for gold in labels:
            counts = [str(scores.confusion.get((gold, said), 0)) for said in labels]
            matrix.add_row(Text(gold), *counts)
        out.print(matrix)
    out.print(f"accuracy {scores.accuracy:.4f}, macro F1 {scores.macro_f1:.4f}")
