"""What a person sees: coloured entities and score tables on a terminal, plain lines in a pipe."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def console() -> Console:
    """Give a console for standard output.

    Returns:
        Coloured on a terminal, plain in a pipe.
    """
    return Console(soft_wrap=True, highlight=False)


def coloured(text: str, entities: Sequence[Any], labels: Sequence[str]) -> Text:
    """Colour a text's entities; inner ones are underlined in the colour of their own label.

    Args:
        text: the text.
        entities: with start, end and label.
        labels: all labels, which decide the colours.

    Returns:
        The text.
    """
    shown = Text(text)
    for entity in sorted(entities, key=lambda e: (e.start - e.end, e.start)):
        colour = _COLOURS[labels.index(entity.label) % len(_COLOURS)]
        inner = any(
            o is not entity and o.start <= entity.start and entity.end <= o.end for o in entities
        )
        shown.stylize(f"bold {colour}{' underline' if inner else ''}", entity.start, entity.end)
    return shown


def show_entities(text: str, entities: Sequence[Any], labels: Sequence[str]) -> None:
    """Print a text with its entities below it.

    Args:
        text: the text.
        entities: what was found in it.
        labels: all labels, which decide the colours.
    """
    out = console()
    out.print(coloured(text, entities, labels))
    for entity in entities:
        colour = _COLOURS[labels.index(entity.label) % len(_COLOURS)]
        line = Text(f"  {entity.label:14}", style=colour)
        line.append(f" {entity.start:5}-{entity.end:<5} {entity.score:.2f}  ", style="dim")
        line.append(entity.text.replace("\n", " "))
        out.print(line)


def show_scores(scores: Any, *, title: str) -> None:
    """Print scores: the totals, then a row a label.

    Args:
        scores: `SpanScores`.
        title: what they are of.
    """
    table = Table(title=title, title_justify="left")
    for name in ("label", "precision", "recall", "F1", "gold", "predicted"):
        table.add_column(name, justify="left" if name == "label" else "right")
    rows = [
        ("all (micro)", scores.micro),
        *((r["label"], scores.labels[r["label"]]) for r in scores.table()),
    ]
    for name, part in rows:
        figures = [f"{value:.4f}" for value in (part.precision, part.recall, part.f1)]
        table.add_row(name, *figures, str(part.gold), str(part.predicted))
    out = console()
    out.print(table)
    extra = f"macro F1 {scores.macro_f1:.4f}, partial F1 {scores.partial.f1:.4f}"
    for name, part in (("nested", scores.nested), ("long", scores.long)):
        if part.gold:
            extra += f", recall of {part.gold} {name} {part.recall:.4f}"
    out.print(extra)


def show_run(run: Any, folder: Path, *, as_json: bool) -> None:
    """Print what came out of a training run.

    Args:
        run: `EntityRun`.
        folder: its folder.
        as_json: print one JSON object in place of tables.
    """
    if as_json:
        result = {
            "model": str(folder / "model"),
            "report": str(folder / "report.html"),
            "scores": run.scores.to_dict(),
            "calibrated": None if run.calibrated is None else run.calibrated.to_dict(),
            "thresholds": run.recognizer.model.config.thresholds,
            "unlearnable": {name: len(missed) for name, missed in run.unlearnable.items()},
            "seconds": run.seconds,
        }
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    show_scores(run.scores, title="Development set, threshold 0.5")
    if run.calibrated is not None:
        typer.echo(
            f"With a threshold for each label, chosen on one half of the set and measured on the "
            f"other: F1 {run.calibrated.f1:.4f} (precision {run.calibrated.precision:.4f}, "
            f"recall {run.calibrated.recall:.4f})"
        )
        saved = run.recognizer.model.config.thresholds is not None
        typer.echo(
            "These thresholds are saved with the model."
            if saved
            else "That is no better than 0.5 for all, which the model keeps."
        )
    for name, missed in run.unlearnable.items():
        if missed:
            first = missed[0]
            typer.echo(
                f"{len(missed)} entities of {name} cannot be represented and count as missed; the "
                f"first: text {first.text + 1}, {first.start}-{first.end} {first.label}, "
                f"{first.reason}. `kexue data check --tokenizer {folder / 'model'}` lists them."
            )
    typer.echo(f"Model:  {folder / 'model'}\nReport: {folder / 'report.html'}")
