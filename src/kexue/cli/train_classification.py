"""`kexue train classification`: from labelled texts to a trained, measured classifier."""

import json
from pathlib import Path
from typing import Any

import typer

from kexue._check import invalid
from kexue.cli.errors import readable
from kexue.cli.options import chosen_sizes, named_value


@readable
def classification(
    train: Path = typer.Option(
        ..., help='text TAB label, CSV, or JSONL with "text", "label" and maybe "pair".'
    ),
    out: Path = typer.Option(..., help="Folder of the run; the model will be in OUT/model."),
    dev: Path | None = typer.Option(None, help="Development file; else a part of --train."),
    dev_fraction: float = typer.Option(0.1, help="Share to hold out where --dev is not given."),
    encoder: str = typer.Option(
        "mini",
        help="mini, which comes with kexue; a folder or Hub name that AutoModel loads; or scratch, "
        "scratch-characters.",
    ),
    head: str = typer.Option(
        "softmax",
        help="softmax: train everything. analytic: leave the encoder as it is, and compute the "
        "last layer in closed form, in seconds.",
    ),
    initial_head: str = typer.Option(
        "random", help="What softmax begins with: random, or analytic for the closed form."
    ),
    ridge: float = typer.Option(
        0.01, help="Of the closed form: added to each variance, as a part of it; 0 adds nothing."
    ),
    pooling: str = typer.Option("P3", help="P1 (first token), P2, P3 (mean), P4 (two means)."),
    window: int = typer.Option(512, help="Most tokens of a piece; longer texts are cut in pieces."),
    training_pieces: int = typer.Option(
        8, help="Pieces of one text that training by gradient sees, evenly spread."
    ),
    layers: int | None = typer.Option(None, help="Layers of an encoder from scratch; 4."),
    width: int | None = typer.Option(None, help="Width of an encoder from scratch; 256."),
    dropout: float | None = typer.Option(
        None, help="Of an encoder from scratch (0.1) or one that kexue pre-trained (none)."
    ),
    epochs: float = typer.Option(3.0, help="Times through the training texts."),
    batch_size: int = typer.Option(32, help="Texts of a step."),
    learning_rate: float | None = typer.Option(
        None, help="By default 2e-4 for mini, 3e-5 for an encoder as wide as BERT."
    ),
    patience: int = typer.Option(0, help="Stop after so many epochs that are no better."),
    average: float | None = typer.Option(
        None, help="Decay of a running average of the weights, such as 0.999, to score and keep."
    ),
    seed: int = typer.Option(42, help="Same seed, same data, same options: same model."),
    bf16: bool = typer.Option(False, "--bf16", help="Mixed precision with bfloat16."),
    gradient_checkpointing: bool = typer.Option(
        False, "--gradient-checkpointing", help="Less memory, a third more time."
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    skip_bad: bool = typer.Option(False, "--skip-bad", help="Leave broken lines out."),
    format: str | None = typer.Option(None, help="jsonl, tsv or csv; guessed by default."),
    column: list[str] = typer.Option(
        [], help="Which column is what, as in label=cat; text, pair or label; may be repeated."
    ),
    option: list[str] = typer.Option(
        [], help="Any field of transformers.TrainingArguments, as NAME=VALUE; may be repeated."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read, check and build, then stop."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Train a classifier of texts or of pairs of texts, by gradient or in closed form."""
    from kexue.models.messages import quiet
    from kexue.tasks.classification_model import ClassifierSettings
    from kexue.tasks.learning_rate import default_learning_rate
    from kexue.tasks.ner_model import SCRATCH, SCRATCH_RATE

    quiet()
    sizes = {"layers": layers, "width": width}
    settings = ClassifierSettings(
        encoder=encoder,
        head=head,
        initial_head=initial_head,
        ridge=ridge,
        pooling=pooling,
        window=window,
        training_pieces=training_pieces,
        **chosen_sizes(sizes, new=encoder in SCRATCH, kind="scratch"),
        dropout=dropout,
        patience=patience,
    )
    options: dict[str, Any] = {
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate
        or (SCRATCH_RATE if encoder in SCRATCH else default_learning_rate(encoder, of_kexue=2e-4)),
        "seed": seed,
        "bf16": bf16,
        "average_decay": average,
        **({"activation_checkpointing": True} if gradient_checkpointing else {}),
        **dict(map(named_value, option)),
    }
    columns = named_columns(column)
    corpus = read_labelled(train, format=format, columns=columns, skip_bad=skip_bad)
    held = None
    if dev is not None:
        held = read_labelled(dev, format=format, columns=columns, skip_bad=skip_bad)
    if dry_run:
        _dry_run(corpus, held, settings, dev_fraction, as_json)
        return
    from accelerate import PartialState

    from kexue.tasks.classification_run import run_classification
    from kexue.training.progress import progress_callback

    run = run_classification(
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
        _show(run, out, as_json)


def read_labelled(
    path: Path, *, format: str | None, columns: dict[str, str], skip_bad: bool
) -> Any:
    """Read labelled texts; say on standard error what was left out.

    Args:
        path: the file.
        format: its format; guessed by default.
        columns: which column is what, where their names do not tell.
        skip_bad: leave broken lines out instead of stopping at the first.

    Returns:
        The corpus.

    Raises:
        ValueError: if there is nothing in the file, or a line is broken.
    """
    from kexue.data.labelled_texts import read_labelled_texts

    corpus = read_labelled_texts(path, format=format, columns=columns, skip_bad=skip_bad)
    if corpus.skipped:
        typer.echo(f"{path}: {len(corpus.skipped)} broken lines left out, the first:", err=True)
        typer.echo(f"  {corpus.skipped[0]}", err=True)
    if not corpus.records:
        raise ValueError(f"{path}: there are no labelled texts in it.")
    return corpus


def named_columns(given: list[str]) -> dict[str, str]:
    """Read what `--column` was given.

    Args:
        given: WHAT=NAME each.

    Returns:
        Names of columns by what they hold.

    Raises:
        ValueError: if there is no equals sign.
    """
    for text in given:
        if "=" not in text:
            raise invalid("column", text, "WHAT=NAME", "Write label=cat, for example.")
    return dict(text.split("=", 1) for text in given)


def _dry_run(corpus: Any, held: Any, settings: Any, dev_fraction: float, as_json: bool) -> None:
    """Do everything that can go wrong before training, without training."""
    from collections import Counter

    from kexue.tasks.classification_data import check_labels
    from kexue.tasks.classification_examples import make_examples
    from kexue.tasks.classification_model import build
    from kexue.tasks.classification_run import labelled_split

    texts, dev = labelled_split(corpus, held, dev_fraction)
    labels = check_labels(texts, dev)
    model, tokenizer = build(settings, [text for text, _ in texts], labels)
    facts: dict[str, Any] = {"parameters": model.num_parameters(), "pairs": model.config.pairs}
    for name, part in (("train", texts), ("dev", dev)):
        examples, shortened = make_examples(
            part,
            tokenizer,
            labels=labels,
            window=model.config.window,
            most=settings.training_pieces,
        )
        counts = Counter(label for _, label in part)
        facts[name] = {
            "texts": len(part),
            "longer than a window": sum(len(example.pieces) > 1 for example in examples),
            f"longer than {settings.training_pieces} windows": shortened,
            "labels": dict(sorted(counts.items())),
        }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        typer.echo(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    typer.echo("Nothing was trained: this was a dry run.")


def _show(run: Any, out: Path, as_json: bool) -> None:
    """Print what came out."""
    if as_json:
        result = {
            "model": str(out / "model"),
            "report": str(out / "report.html"),
            "scores": run.scores.to_dict(),
            "shortened": run.shortened,
            "seconds": run.seconds,
        }
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    from kexue.cli.show_labels import show_label_scores

    show_label_scores(run.scores, title="Development set")
    if run.shortened:
        typer.echo(
            f"{run.shortened} training texts are longer than --training-pieces windows; training "
            "saw so many of each, evenly spread."
        )
    typer.echo(f"Trained in {run.seconds:.1f} s.")
    typer.echo(f"Model:  {out / 'model'}\nReport: {out / 'report.html'}")
