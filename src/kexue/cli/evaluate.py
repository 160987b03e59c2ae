"""`kexue evaluate`: how good a trained model is on a labelled file."""

import json
from pathlib import Path

import typer

from kexue.cli.errors import readable


@readable
def evaluate(
    model: Path = typer.Argument(..., help="Run folder or model folder."),
    data: Path = typer.Argument(..., help="Labelled file."),
    threshold: float | None = typer.Option(
        None, help="Least probability; by default the calibrated thresholds, or 0.5."
    ),
    flat: bool | None = typer.Option(
        None, "--flat/--nested", help="Whether entities may overlap; as trained by default."
    ),
    batch_size: int = typer.Option(32, help="Windows at a time."),
    skip_bad: bool = typer.Option(False, "--skip-bad", help="Leave broken records out."),
    format: str | None = typer.Option(None, help="Format of the file; guessed by default."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Measure a trained model on a labelled file."""
    from kexue.cli.reading import read_records
    from kexue.cli.show import show_scores

    corpus = read_records(data, format=format, skip_bad=skip_bad)
    from kexue.metrics import span_scores
    from kexue.models.messages import quiet
    from kexue.tasks.ner import EntityRecognizer
    from kexue.tasks.ner_data import labelled

    quiet()
    recognizer = EntityRecognizer.from_pretrained(model)
    pairs = labelled(corpus.records)
    found = recognizer(
        [text for text, _ in pairs], threshold=threshold, flat=flat, batch_size=batch_size
    )
    predicted = [[(e.start, e.end, e.label) for e in entities] for entities in found]
    scores = span_scores([spans for _, spans in pairs], predicted)
    unknown = sorted({s[2] for _, spans in pairs for s in spans} - set(recognizer.labels))
    if unknown:
        typer.echo(
            f"The model does not know {', '.join(unknown)}; these entities count as missed.",
            err=True,
        )
    if as_json:
        typer.echo(json.dumps(scores.to_dict(), ensure_ascii=False))
        return
    show_scores(scores, title=f"{data}: {len(pairs)} texts")
