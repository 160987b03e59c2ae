"""`kexue train`: from a labelled file to a trained, measured model."""

import json
from pathlib import Path
from typing import Any

import typer

from kexue.cli.errors import readable
from kexue.cli.options import chosen_sizes, named_value
from kexue.cli.train_classification import classification
from kexue.cli.train_embedding import embedding

app = typer.Typer(help="Train a model for a task.", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Train a model for a task."""


app.command("classification")(classification)
app.command("embedding")(embedding)


@app.command("ner")
@readable
def ner(
    train: Path = typer.Option(..., help="Labelled file; `kexue data` lists the formats."),
    out: Path = typer.Option(..., help="Folder of the run; the model will be in OUT/model."),
    dev: Path | None = typer.Option(None, help="Development file; else a part of --train."),
    dev_fraction: float = typer.Option(0.1, help="Share to hold out where --dev is not given."),
    encoder: str = typer.Option(
        "mini",
        help="mini, which comes with kexue; a folder or Hub name that AutoModel loads; or scratch, "
        "scratch-characters.",
    ),
    head: str = typer.Option("efficient", help="efficient, standard or crf."),
    head_size: int = typer.Option(64, help="Width of query and key."),
    window: int = typer.Option(512, help="Most tokens of a window; longer texts are windowed."),
    overlap: int | None = typer.Option(None, help="Shared tokens; a quarter of the window."),
    layers: int | None = typer.Option(None, help="Layers of an encoder from scratch; 4."),
    width: int | None = typer.Option(None, help="Width of an encoder from scratch; 256."),
    dropout: float | None = typer.Option(
        None, help="Of an encoder from scratch (0.1) or one that kexue pre-trained (none)."
    ),
    token_dropout: float | None = typer.Option(
        None, help="Share of tokens hidden in training; 0.1 for an encoder from scratch, else 0."
    ),
    epochs: float = typer.Option(10.0, help="Times through the training texts."),
    batch_size: int = typer.Option(16, help="Windows of a step."),
    learning_rate: float | None = typer.Option(
        None, help="By default 3e-5 for a trained encoder as wide as BERT, more for less."
    ),
    flat: bool | None = typer.Option(
        None, "--flat/--nested", help="Whether entities may overlap; as in --train by default."
    ),
    patience: int = typer.Option(0, help="Stop after so many epochs without a better F1."),
    average: float | None = typer.Option(
        None, help="Decay of a running average of the weights, such as 0.999, to score and keep."
    ),
    seed: int = typer.Option(42, help="Same seed, same data, same options: same model."),
    bf16: bool = typer.Option(False, "--bf16", help="Mixed precision with bfloat16."),
    gradient_checkpointing: bool = typer.Option(
        False, "--gradient-checkpointing", help="Less memory, a third more time."
    ),
    calibrate: bool = typer.Option(True, help="Choose a threshold for each label on --dev."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    skip_bad: bool = typer.Option(False, "--skip-bad", help="Leave broken records out."),
    format: str | None = typer.Option(None, help="Format of the files; guessed by default."),
    option: list[str] = typer.Option(
        [], help="Any field of transformers.TrainingArguments, as NAME=VALUE; may be repeated."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read, check and build, then stop."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Train an entity recogniser, flat or nested."""
    from kexue.cli.reading import read_records
    from kexue.models.messages import quiet
    from kexue.tasks.learning_rate import default_learning_rate
    from kexue.tasks.ner_model import SCRATCH, SCRATCH_RATE, EntitySettings

    quiet()
    sizes = {"layers": layers, "width": width}
    settings = EntitySettings(
        encoder=encoder,
        head=head,
        head_size=head_size,
        window=window,
        overlap=overlap,
        **chosen_sizes(sizes, new=encoder in SCRATCH, kind="scratch"),
        dropout=dropout,
        token_dropout=token_dropout,
        flat=flat,
        patience=patience,
        calibrate=calibrate,
    )
    options: dict[str, Any] = {
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate
        or (SCRATCH_RATE if encoder in SCRATCH else default_learning_rate(encoder, of_kexue=1e-3)),
        "seed": seed,
        "bf16": bf16,
        "average_decay": average,
        **({"activation_checkpointing": True} if gradient_checkpointing else {}),
        **dict(map(named_value, option)),
    }
    corpus = read_records(train, format=format, skip_bad=skip_bad)
    held = None if dev is None else read_records(dev, format=format, skip_bad=skip_bad)
    if dry_run:
        _dry_run(corpus, held, settings, dev_fraction, as_json)
        return
    from accelerate import PartialState

    from kexue.cli.show import show_run
    from kexue.tasks.ner_run import run_entities
    from kexue.training.progress import progress_callback

    run = run_entities(
        corpus,
        held,
        out,
        settings=settings,
        options=options,
        dev_fraction=dev_fraction,
        resume=resume,
        callbacks=[progress_callback(json=as_json)],
    )
    if PartialState().is_main_process:
        show_run(run, out, as_json=as_json)


def _dry_run(corpus: Any, held: Any, settings: Any, dev_fraction: float, as_json: bool) -> None:
    """Do everything that can go wrong before training, without training."""
    from kexue.tasks.ner_data import hold_out, labelled
    from kexue.tasks.ner_examples import make_examples
    from kexue.tasks.ner_model import build, label_set

    texts = labelled(corpus.records)
    if held is None:
        texts, dev = hold_out(texts, dev_fraction)
    else:
        dev = labelled(held.records)
    labels = label_set(texts, dev)
    model, tokenizer = build(settings, [text for text, _ in texts], labels)
    facts: dict[str, Any] = {"labels": labels, "parameters": model.num_parameters()}
    for name, part in (("train", texts), ("dev", dev)):
        examples, missed = make_examples(
            [text for text, _ in part],
            [spans for _, spans in part],
            tokenizer,
            labels=labels,
            window=model.config.window,
            overlap=model.config.overlap,
        )
        facts[name] = {
            "texts": len(part),
            "windows": len(examples),
            "entities": sum(len(set(spans)) for _, spans in part),
            "unlearnable": len(missed),
        }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        typer.echo(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    typer.echo("Nothing was trained: this was a dry run.")
