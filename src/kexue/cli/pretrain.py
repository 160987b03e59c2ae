"""`kexue pretrain`: from plain texts to an encoder that knows their language."""

import json
import re
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import typer

from kexue._check import invalid
from kexue.cli.errors import readable
from kexue.cli.options import chosen_sizes, named_value

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


@readable
def pretrain(
    texts: list[Path] = typer.Option(
        ...,
        help="Plain text (a blank line ends a text), .tsv or .jsonl, also as .gz or .xz; "
        "may be repeated.",
    ),
    out: Path = typer.Option(..., help="Folder of the run; the encoder will be in OUT/model."),
    encoder: str = typer.Option(
        "new",
        help="new; or, to go on with, mini, a folder or Hub name that AutoModelForMaskedLM loads.",
    ),
    tokenizer: str | None = typer.Option(
        None, help="Folder or Hub name; by default that of the encoder, or a new one."
    ),
    vocab_size: int = typer.Option(8000, help="Entries of a new tokenizer."),
    characters: int = typer.Option(5500, help="How many of its entries are characters."),
    layers: int | None = typer.Option(None, help="Layers of a new encoder; 6."),
    width: int | None = typer.Option(None, help="Width of a new encoder, a multiple of 64; 256."),
    length: int = typer.Option(256, help="Tokens of the longest rows: 32, 64, 128, ..."),
    share: float = typer.Option(0.3, help="Share of the words that are hidden."),
    run: float = typer.Option(2.5, help="Words of a hidden run on average."),
    tokens: str = typer.Option("60M", help="Tokens seen in all, such as 60M or 1.5B."),
    tokens_per_step: str = typer.Option("8192", help="Tokens of a step."),
    decay: float = typer.Option(0.3, help="Share of the steps with a falling learning rate."),
    optimizer: str = typer.Option("muon", help="muon or adamw."),
    learning_rate: float | None = typer.Option(
        None, help="3e-3 with muon, 1e-3 with adamw; a tenth for a trained encoder."
    ),
    held_out: int = typer.Option(200, help="One text in so many is kept apart for measuring."),
    seed: int = typer.Option(42, help="Same seed, same texts, same options: same encoder."),
    bf16: bool = typer.Option(False, "--bf16", help="Mixed precision with bfloat16."),
    float16: bool = typer.Option(False, "--float16", help="Save the encoder in half the space."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    skip_bad: bool = typer.Option(False, "--skip-bad", help="Leave broken lines out."),
    option: list[str] = typer.Option(
        [], help="Any field of transformers.TrainingArguments, as NAME=VALUE; may be repeated."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read, check and build, then stop."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Pre-train an encoder on plain texts."""
    from kexue.models.messages import quiet
    from kexue.tasks.pretraining import PretrainingSettings
    from kexue.tasks.pretraining_texts import PretrainingTexts

    quiet()
    settings = PretrainingSettings(
        encoder=encoder,
        **chosen_sizes({"layers": layers, "width": width}, new=encoder == "new", kind="new"),
        length=length,
        share=share,
        run=run,
        tokens=count("tokens", tokens),
        tokens_per_step=count("tokens_per_step", tokens_per_step),
        decay=decay,
        optimizer=optimizer,
    )
    options: dict[str, Any] = {
        "seed": seed,
        "bf16": bf16,
        **({} if learning_rate is None else {"learning_rate": learning_rate}),
        **dict(map(named_value, option)),
    }
    source = PretrainingTexts(texts, tokenizer, vocab_size, characters, held_out, skip_bad)
    if dry_run:
        _dry_run(source, settings, options, as_json)
        return
    from accelerate import PartialState

    from kexue.tasks.pretraining_run import run_pretraining
    from kexue.training.progress import progress_callback

    result = run_pretraining(
        source,
        out,
        settings=settings,
        options=options,
        resume=resume,
        float16=float16,
        callbacks=[progress_callback(json=as_json, tokens_per_step=settings.tokens_per_step)],
        tell=_teller(as_json),
    )
    if PartialState().is_main_process:
        _show(result, out, as_json)


def count(name: str, text: str) -> int:
    """Read a large number as people write it.

    Args:
        name: of the option, for the error.
        text: such as 60M, 1.5B, 500k or 60_000_000.

    Returns:
        The number.

    Raises:
        ValueError: if it is none.

    Example:
        >>> count("tokens", "1.5B")
        1500000000
    """
    found = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)\s*([kmb]?)", text.strip(), flags=re.IGNORECASE)
    if not found:
        raise invalid(name, text, "a number such as 60M, 1.5B or 60_000_000")
    number = Fraction(found[1].replace("_", "")) * _UNITS[found[2].lower()]
    return int(number)


def _teller(as_json: bool) -> Callable[[str], None]:
    """Give a function that says what is done before training has a display of its own."""
    kind, said = "", 0.0

    def tell(message: str) -> None:
        nonlocal kind, said
        now = time.monotonic()
        # Encoding tells of every batch of texts.
        if message.partition(":")[0] != kind or now - said >= 10:
            typer.echo(message, err=as_json)
            kind, said = message.partition(":")[0], now

    return tell


def _dry_run(source: Any, settings: Any, options: dict[str, Any], as_json: bool) -> None:
    """Do everything that can go wrong before training, without training."""
    from tempfile import TemporaryDirectory

    from kexue.tasks.pretraining import default_learning_rate, make_model
    from kexue.tasks.pretraining_run import check_options, encode, fitting_tokenizer

    check_options(options)
    given = fitting_tokenizer(source, settings)
    tokenizer = source.learnt_tokenizer() if given is None else given
    model = make_model(settings, tokenizer)
    with TemporaryDirectory() as folder:
        train, dev, skipped = encode(source, tokenizer, folder, length=settings.length)
        facts = {
            "tokens": len(train),
            "held out": len(dev),
            "left out": len(skipped),
            "rounds": round(settings.tokens / len(train), 2),
            "entries": len(tokenizer),
            "parameters": model.num_parameters(),
            "steps": settings.steps,
            "learning rate": options.get("learning_rate", default_learning_rate(settings)),
        }
        # Open files cannot be deleted everywhere.
        del train, dev
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    typer.echo("Nothing was trained: this was a dry run.")


def _show(run: Any, out: Path, as_json: bool) -> None:
    """Print what came out."""
    if as_json:
        typer.echo(json.dumps({"model": str(out / "model"), **run.to_dict()}))
        return
    typer.echo(
        f"Held-out texts: {100 * run.accuracy:.2f} % of the hidden tokens named right, "
        f"cross-entropy {run.loss:.4f}"
    )
    typer.echo(f"Model: {out / 'model'}")
