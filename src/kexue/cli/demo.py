"""`kexue demo`: a method at work on sample data, from nothing, in a minute or two."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import typer

from kexue.cli.errors import readable

app = typer.Typer(help="See a task at work on sample data, offline.", no_args_is_help=True)


@app.callback()
def _demo() -> None:
    """See a task at work on sample data, offline."""


@app.command("ner")
@readable
def ner(
    out: Path = typer.Option(Path("runs/demo-ner"), help="Folder of the demo."),
    texts: int = typer.Option(2000, help="Training texts to make up."),
    epochs: float = typer.Option(8.0, help="Times through them."),
    seed: int = typer.Option(0, help="Another seed, other texts."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Train on made-up Chinese and English texts with nested entities, and show what it finds."""
    from kexue.cli.show import show_entities, show_run
    from kexue.data import read
    from kexue.data.synthetic import sample_records
    from kexue.models.messages import quiet
    from kexue.tasks.ner_model import EntitySettings
    from kexue.tasks.ner_run import run_entities
    from kexue.training.progress import progress_callback

    quiet()
    out.mkdir(parents=True, exist_ok=True)
    held = max(50, texts // 10)
    for name, count, drawn in (("train", texts, seed), ("dev", held, seed + 1)):
        lines = [json.dumps(r, ensure_ascii=False) for r in sample_records(count, seed=drawn)]
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not as_json:
        typer.echo(f"Made up {texts} texts in {out / 'train.jsonl'} and {held} to measure on.")
    # A demo begins anew each time; it removes nothing but its own run.
    shutil.rmtree(out / "run", ignore_errors=True)
    dev = read(out / "dev.jsonl")
    run = run_entities(
        read(out / "train.jsonl"),
        dev,
        out / "run",
        settings=EntitySettings(encoder="scratch", layers=2, width=128, window=256),
        options={
            "num_train_epochs": epochs,
            "per_device_train_batch_size": 32,
            "learning_rate": 2e-3,
            "seed": seed,
        },
        callbacks=[progress_callback(json=as_json)],
    )
    show_run(run, out / "run", as_json=as_json)
    if as_json:
        return
    typer.echo("\nTexts it was not trained on:")
    nested = [record for record in dev.records if _nested(record)][:4]
    found = run.recognizer([record.text for record in nested])
    for record, entities in zip(nested, found, strict=True):
        show_entities(record.text, entities, run.recognizer.labels)
    typer.echo(f'\nNow with a text of your own:  kexue predict {out / "run"} "..."')


def _nested(record: object) -> bool:
    spans = sorted((e.start, -e.end) for e in record.entities)
    return any(-inner[1] <= -outer[1] for outer, inner in pairwise(spans))
