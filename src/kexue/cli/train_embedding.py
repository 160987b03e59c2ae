"""`kexue train embedding`: from texts or pairs of texts to a sentence encoder."""

import json
from pathlib import Path
from typing import Any

import typer

from kexue._check import invalid
from kexue.cli.errors import readable
from kexue.cli.options import named_value


@readable
def embedding(
    train: Path = typer.Option(
        ..., help="Pairs with labels, pairs that mean the same, or texts, as --objective wants."
    ),
    out: Path = typer.Option(..., help="Folder of the run; the model will be in OUT/model."),
    dev: Path | None = typer.Option(None, help="Pairs with labels; else a part of --train."),
    dev_fraction: float = typer.Option(0.1, help="Share to hold out where --dev is not given."),
    objective: str = typer.Option(
        "cosent",
        help="cosent, sentence-bert: pairs with labels. infonce: pairs that mean the same. "
        "simcse, simsiam, byol: texts.",
    ),
    encoder: str = typer.Option(
        "mini", help="mini, or a folder or Hub name that AutoModel loads, or a sentence encoder."
    ),
    pooling: str | None = typer.Option(
        None,
        help="P1 (first token), P2, P3 (mean), P4 (two means); by default that of a sentence "
        "encoder, else P3.",
    ),
    window: int | None = typer.Option(
        None,
        help="Most tokens of a piece of a text; by default that of a sentence encoder, or 512.",
    ),
    dropout: float = typer.Option(0.1, help="Dropout of an encoder that kexue pre-trained."),
    temperature: float = typer.Option(0.05, help="Of simcse and infonce."),
    learn_temperature: bool = typer.Option(False, "--learn-temperature", help="Begin with it."),
    scale: float = typer.Option(20.0, help="Of cosent."),
    positive_from: float | None = typer.Option(
        None, help="For infonce on pairs with labels: take those with this label or a higher one."
    ),
    epochs: float = typer.Option(5.0, help="Times through the training texts."),
    effective_batch_size: int = typer.Option(
        64, help="Texts or pairs of a step; costs time alone, not memory."
    ),
    tokens_per_chunk: int = typer.Option(
        4096, help="Tokens that go through the encoder at once; decides the memory."
    ),
    learning_rate: float | None = typer.Option(
        None, help="By default 2e-4 for mini, 3e-5 for an encoder as wide as BERT."
    ),
    patience: int = typer.Option(0, help="Stop after so many epochs that are no better."),
    seed: int = typer.Option(42, help="Same seed, same data, same options: same model."),
    bf16: bool = typer.Option(False, "--bf16", help="Mixed precision with bfloat16."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    skip_bad: bool = typer.Option(False, "--skip-bad", help="Leave broken lines out."),
    format: str | None = typer.Option(None, help="Format of the files; guessed by default."),
    option: list[str] = typer.Option(
        [], help="Any field of transformers.TrainingArguments, as NAME=VALUE; may be repeated."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Train a sentence encoder, by labels or without."""
    from accelerate import PartialState

    from kexue.models.messages import quiet
    from kexue.tasks.embedding_data import split_groups
    from kexue.tasks.embedding_objectives import FROM_LABELS, FROM_TEXTS, OBJECTIVES
    from kexue.tasks.embedding_run import run_embeddings
    from kexue.tasks.embedding_training import EmbeddingSettings
    from kexue.tasks.learning_rate import default_learning_rate
    from kexue.training.progress import progress_callback

    quiet()
    if objective not in OBJECTIVES:
        raise invalid("objective", objective, ", ".join(map(repr, OBJECTIVES)))
    groups = read_groups(train, format, skip_bad, texts=objective in FROM_TEXTS)
    if objective == "infonce":
        groups = positive_pairs(groups, positive_from)
    held: list[Any] = []
    if dev is not None:
        held = read_groups(dev, format, skip_bad, texts=False)
    elif objective in FROM_LABELS:
        groups, held = split_groups(groups, dev_fraction)
    run = run_embeddings(
        groups,
        held,
        out,
        settings=EmbeddingSettings(
            encoder=encoder,
            objective=objective,
            pooling=pooling,
            window=window,
            dropout=dropout,
            temperature=temperature,
            learn_temperature=learn_temperature,
            scale=scale,
            tokens_per_chunk=tokens_per_chunk,
            patience=patience,
        ),
        options={
            "num_train_epochs": epochs,
            "per_device_train_batch_size": effective_batch_size,
            "learning_rate": learning_rate or default_learning_rate(encoder, of_kexue=2e-4),
            "seed": seed,
            "bf16": bf16,
            **dict(map(named_value, option)),
        },
        sources={"train": str(train), **({} if dev is None else {"dev": str(dev)})},
        resume=resume,
        callbacks=[progress_callback(json=as_json)],
    )
    if PartialState().is_main_process:
        _show(run, out, as_json)


def read_groups(path: Path, format: str | None, skip_bad: bool, *, texts: bool) -> list[Any]:
    """Read what sentence encoders learn from; say on standard error what was left out.

    Args:
        path: the file.
        format: of pairs, see `kexue.data.pairs`; guessed by default.
        skip_bad: leave broken lines out instead of stopping at the first.
        texts: take each text by itself.

    Returns:
        Text groups.

    Raises:
        ValueError: if there is nothing in the file.
    """
    from kexue.data.corpora import read_texts
    from kexue.data.pairs import read_pairs
    from kexue.tasks.embedding_data import TextGroup, text_groups

    if texts:
        skipped: list[str] | None = [] if skip_bad else None
        # A text a line: a sentence encoder learns from sentences.
        found = {
            line.strip(): None
            for text in read_texts(path, skipped=skipped)
            for line in text.splitlines()
            if line.strip()
        }
        groups, left_out = [TextGroup((text,)) for text in found], skipped or []
    else:
        corpus = read_pairs(path, format=format, skip_bad=skip_bad)
        groups, left_out = text_groups(corpus.records), corpus.skipped
    if left_out:
        typer.echo(f"{path}: {len(left_out)} broken lines left out, the first:", err=True)
        typer.echo(f"  {left_out[0]}", err=True)
    if not groups:
        raise ValueError(f"{path}: there are no texts in it.")
    return groups


def positive_pairs(groups: list[Any], least: float | None) -> list[Any]:
    """Keep the pairs that mean the same.

    Args:
        groups: pairs.
        least: the label from which on they do; None where all do.

    Returns:
        Those pairs.

    Raises:
        ValueError: if pairs have different labels and nothing says which mean the same.
    """
    labels = {group.label for group in groups}
    if least is None:
        if len(labels) > 1:
            fix = "Say from which label on pairs mean the same, as in --positive-from 4."
            raise invalid("positive_from", None, "a label, where pairs have different ones", fix)
        return groups
    kept = [group for group in groups if group.label is not None and group.label >= least]
    if not kept:
        highest = max((label for label in labels if label is not None), default=None)
        raise invalid("positive_from", least, f"at most the highest label, {highest}")
    return kept


def _show(run: Any, out: Path, as_json: bool) -> None:
    """Print what came out."""
    if as_json:
        result = {
            "model": str(out / "model"),
            "report": str(out / "report.html"),
            "before": run.before,
            "after": run.after,
            "longer": run.longer,
            "seconds": run.seconds,
        }
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    from rich.table import Table

    from kexue.cli.show import console

    table = Table(title="Sentence vectors", title_justify="left")
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    names = {
        "spearman": "Spearman correlation of the cosine, x 100",
        "std": "standard deviation, 0 to 1",
        "effective_rank": f"effective rank, of {run.encoder.dimension}",
        "mean_cosine": "mean cosine of two texts",
    }
    for name, title in names.items():
        if name in run.after:
            times = 100 if name == "spearman" else 1
            figures = [f"{times * part[name]:.3f}" for part in (run.before, run.after)]
            table.add_row(title, *figures)
    console().print(table)
    if run.longer:
        typer.echo(
            f"{run.longer} training texts are longer than the window; training saw their beginning."
        )
    typer.echo(f"Model:  {out / 'model'}\nReport: {out / 'report.html'}")
