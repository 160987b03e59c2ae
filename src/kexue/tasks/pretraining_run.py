"""A pre-training as a folder: what was asked for, what happened, the encoder, its figures.

run.json        settings, training arguments, texts, versions: everything resolved
tokenizer/      what the texts are cut with
corpus/         the texts as tokens
metrics.jsonl   a line for each log and evaluation
checkpoints/    what an interrupted run goes on from
model/          encoder, head for hidden tokens, tokenizer and card: the folder to send on
scores.json     figures on held-out texts
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainerCallback

from kexue._check import invalid
from kexue.models import load_tokenizer
from kexue.tasks.pretraining import (
    PretrainingSettings,
    default_learning_rate,
    masked_scores,
    pretrain,
)
from kexue.tasks.pretraining_corpus import TokenStream, encode_corpus, file_facts, tokenizer_hash
from kexue.tasks.pretraining_model import check_fit, load_masked_lm, new_masked_lm
from kexue.tasks.pretraining_saving import PretrainingRun, round_weights, save_run
from kexue.tasks.pretraining_texts import PretrainingTexts
from kexue.tasks.run_folder import (
    point_to_resume,
    run_arguments,
    versions,
    whole_folder,
    write_plan,
)
from kexue.training.log import MetricsLog
from kexue.training.standing import short_count

# Where a user does not choose otherwise. Shares of all steps: two hundred points of the loss curve,
# a hundred checkpoints, twenty-five evaluations.
USUAL = {
    "logging_steps": 0.005,
    "save_strategy": "steps",
    "save_steps": 0.01,
    "eval_strategy": "steps",
    "eval_steps": 0.04,
    "metric_for_best_model": "accuracy",
    "greater_is_better": True,
    "weight_decay": 0.1,
    "warmup_steps": 0.03,
    "adam_beta2": 0.98,
}
# What the settings decide, and the setting.
_DECIDED = {
    "max_steps": "tokens",
    "num_train_epochs": "tokens",
    "per_device_train_batch_size": "tokens_per_step",
    "auto_find_batch_size": "tokens_per_step",
    "tokens_per_batch": "tokens_per_step",
    "lr_scheduler_type": "decay",
    "lr_scheduler_kwargs": "decay",
    "train_sampling_strategy": "seed",
    "optim": "optimizer",
    "output_dir": "out",
}


def run_pretraining(
    texts: PretrainingTexts,
    folder: str | Path,
    *,
    settings: PretrainingSettings,
    options: Mapping[str, Any],
    resume: bool = False,
    float16: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> PretrainingRun:
    """Pre-train an encoder into a run folder.

    Args:
        texts: what it learns from.
        folder: where the run goes.
        settings: what is trained.
        options: fields of `TaskTrainingArguments` other than those that the settings decide.
        resume: go on from the last whole checkpoint in the folder.
        float16: save the model in half precision, in half the space.
        callbacks: for progress.
        tell: told what is done before training begins.

    Returns:
        The finished run.

    Raises:
        ValueError: if the folder holds a run and `resume` is False, it holds another run, or an
            option is decided by the settings.
        DataError: a file cannot be read, or a line is broken.
    """
    out = Path(folder)
    check_options(options)
    usual = {**USUAL, "learning_rate": default_learning_rate(settings)}
    args = run_arguments(out, options, usual=usual)
    given = fitting_tokenizer(texts, settings)
    plan = _plan(texts, given, settings, {**usual, **options})
    further = f"To train its model further, begin a run with --encoder {out / 'model'}."
    checkpoint = point_to_resume(out, plan, resume=resume, instead=further)
    with args.main_process_first(desc="the texts"):
        kept = (out / "run.json").is_file() or not args.should_save
        tokenizer = _tokenizer(texts, given, out / "tokenizer", kept=kept, tell=tell)
        train, dev, skipped = encode(
            texts, tokenizer, out / "corpus", length=settings.length, tell=tell
        )
    write_plan(out, plan, args)
    started = time.perf_counter()
    model = pretrain(
        train,
        dev,
        tokenizer,
        settings=settings,
        args=args,
        callbacks=[*callbacks, MetricsLog(path=out / "metrics.jsonl")],
        checkpoint=checkpoint,
    )
    seconds = time.perf_counter() - started
    if float16:
        round_weights(model)
    run = PretrainingRun(
        model,
        tokenizer,
        **masked_scores(model, dev, tokenizer, settings=settings),
        rounds=settings.steps * settings.tokens_per_step / len(train),
        seconds=seconds,
        skipped=tuple(skipped),
    )
    if args.should_save:
        sizes = {"tokens of the texts": len(train), "tokens of held-out texts": len(dev)}
        save_run(out, run, plan=plan, sizes=sizes, float16=float16)
    return run


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse training arguments that the settings decide.

    Args:
        options: fields of `TaskTrainingArguments`.

    Raises:
        ValueError: if one of them would be overwritten.

    Example:
        >>> check_options({"max_steps": 5})
        Traceback (most recent call last):
        ValueError: option is 'max_steps'; allowed: what no setting decides. Use tokens.
    """
    for name in options:
        if name in _DECIDED:
            raise invalid("option", name, "what no setting decides", f"Use {_DECIDED[name]}.")


def fitting_tokenizer(
    texts: PretrainingTexts, settings: PretrainingSettings
) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer that need not be learnt, and see whether it goes with the encoder.

    Args:
        texts: which tokenizer.
        settings: which encoder.

    Returns:
        The tokenizer, or None where it has to be learnt.

    Raises:
        ValueError: if one of them cannot be loaded, or they do not go together.

    Example:
        >>> fitting_tokenizer(PretrainingTexts(["a.txt"]), PretrainingSettings()) is None
        True
    """
    # In this order: a name that is wrong is that of the encoder.
    model = None if settings.encoder == "new" else load_masked_lm(settings.encoder)
    given = texts.given_tokenizer(settings.encoder)
    if given is not None:
        if model is None:
            model = new_masked_lm(given, layers=settings.layers, width=settings.width)
        check_fit(model, given, length=settings.length)
    return given


def _plan(
    texts: PretrainingTexts,
    given: PreTrainedTokenizerBase | None,
    settings: PretrainingSettings,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that decides the outcome, as JSON."""
    if given is None:
        source: Any = {"vocab_size": texts.vocab_size, "characters": texts.characters}
    else:
        source = {"sha256": tokenizer_hash(given)}
    return {
        "task": "pretrain",
        "settings": asdict(settings),
        "options": dict(options),
        "data": {
            "files": [file_facts(path) for path in texts.files],
            "tokenizer": source,
            "held_out": texts.held_out,
        },
        "versions": versions(),
    }


def _tokenizer(
    texts: PretrainingTexts,
    given: PreTrainedTokenizerBase | None,
    folder: Path,
    *,
    kept: bool,
    tell: Callable[[str], None],
) -> PreTrainedTokenizerBase:
    """Put the tokenizer of the run into its folder, or find it there."""
    if not (kept and folder.is_dir()):
        if given is None:
            tell("learning the tokenizer")
        tokenizer = texts.learnt_tokenizer() if given is None else given
        with whole_folder(folder) as fresh:
            tokenizer.save_pretrained(fresh)
    return load_tokenizer(folder, local=True)


def encode(
    texts: PretrainingTexts,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    *,
    length: int,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[TokenStream, TokenStream, list[str]]:
    """Encode the texts of a run, or find them encoded.

    Args:
        texts: the files.
        tokenizer: what cuts them.
        folder: where the tokens go.
        length: tokens of a row.
        tell: told how far it is.

    Returns:
        What is trained on, what is measured on, and the broken lines that were left out.

    Raises:
        DataError: a file cannot be read, or a line is broken.
        ValueError: if the texts are too few, or shorter than a row.
    """
    skipped: list[str] = []
    train, dev = encode_corpus(
        texts.files,
        tokenizer,
        folder,
        held_out=texts.held_out,
        skipped=skipped if texts.skip_bad else None,
        progress=lambda count: tell(f"encoding: {short_count(count)} tokens"),
    )
    if len(train) < length:
        raise invalid("texts", f"{len(train)} tokens", f"at least a row of {length}")
    tell(f"texts: {short_count(len(train))} tokens, and {short_count(len(dev))} held out")
    if skipped:
        tell(f"left out: {len(skipped)} broken lines, the first: {skipped[0]}")
    return train, dev, skipped
