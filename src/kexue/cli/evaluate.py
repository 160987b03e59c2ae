"""`kexue evaluate`: how good a trained model is on a labelled file."""

import json
from pathlib import Path

import typer

from kexue.cli.errors import readable
from kexue.cli.model_kind import refuse_entity_options, task_of
from kexue.cli.train_classification import named_columns, read_labelled


@readable
def evaluate(
    model: Path = typer.Argument(..., help="Run folder or model folder."),
    data: Path = typer.Argument(..., help="Labelled file."),
    threshold: float | None = typer.Option(
        None, help="Of entities: least probability; by default the calibrated thresholds, or 0.5."
    ),
    flat: bool | None = typer.Option(
        None, "--flat/--nested", help="Whether entities may overlap; as trained by default."
    ),
    batch_size: int = typer.Option(32, help="Windows at a time."),
    skip_bad: bool = typer.Option(False, "--skip-bad", help="Leave broken records out."),
    format: str | None = typer.Option(None, help="Format of the file; guessed by default."),
    column: list[str] = typer.Option(
        [], help="Of a classifier: which column is what, as in label=cat; may be repeated."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Measure a trained model, of entities or of labels, on a labelled file."""
    if task_of(model) == "classification":
        refuse_entity_options(threshold, flat)
        columns = named_columns(column)
        _labels(model, data, columns, format, skip_bad=skip_bad, size=batch_size, as_json=as_json)
        return
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


def _labels(
    model: Path,
    data: Path,
    columns: dict[str, str],
    format: str | None,
    *,
    skip_bad: bool,
    size: int,
    as_json: bool,
) -> None:
    """Measure a classifier."""
    from kexue.cli.show_labels import show_label_scores

    corpus = read_labelled(data, format=format, columns=columns, skip_bad=skip_bad)
    from kexue.models.messages import quiet
    from kexue.tasks.classification import TextClassifier
    from kexue.tasks.classification_data import labelled_texts

    quiet()
    classifier = TextClassifier.from_pretrained(model)
    texts = labelled_texts(corpus)
    gold = [label for _, label in texts]
    scores = classifier.score([text for text, _ in texts], gold, batch_size=size)
    unknown = sorted(set(gold) - set(classifier.labels))
    if unknown:
        typer.echo(
            f"The model does not know {', '.join(unknown)}; these texts count as wrong.", err=True
        )
    if as_json:
        typer.echo(json.dumps(scores.to_dict(), ensure_ascii=False))
        return
    show_label_scores(scores, title=f"{data}: {len(texts)} texts")
