"""Pre-train an encoder on plain texts by hiding runs of words and naming them again.

Post: https://kexue.fm/archives/8265 (the encoder)
Paper: https://arxiv.org/abs/1810.04805
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from kexue._check import invalid
from kexue.tasks.pretraining_corpus import TokenStream
from kexue.tasks.pretraining_model import check_fit, load_masked_lm, new_masked_lm
from kexue.tasks.pretraining_rows import Chunks, HidingCollator, check_runs
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.muon import MuonAdamW
from kexue.training.trainer import TaskTrainer

_MEASURED = 512  # pieces of the held-out stream at most


@dataclass(frozen=True)
class PretrainingSettings:
    """What is pre-trained and on what task.

    Args:
        encoder: "new" for a `KexueForMaskedLM` with random weights; or, to go on with other texts,
            "mini", or a folder or Hub name that AutoModelForMaskedLM loads.
        layers: layers of a new encoder.
        width: hidden size of a new encoder, a multiple of 64, the width of a head.
        length: longest row in tokens, 32 times a power of two.
        share: share of the words that are hidden.
        run: mean words of a hidden run.
        tokens: how many tokens training sees in all.
        tokens_per_step: how many of them in a step, a multiple of the length; accumulated batches
            and processes share them.
        decay: share of the steps in which the learning rate falls from its full height.
        optimizer: "muon" (with AdamW for what is no matrix) or "adamw".

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> PretrainingSettings(tokens=81_920).steps
        10
    """

    encoder: str = "new"
    layers: int = 6
    width: int = 256
    length: int = 256
    share: float = 0.3
    run: float = 2.5
    tokens: int = 60_000_000
    tokens_per_step: int = 8192
    decay: float = 0.3
    optimizer: str = "muon"

    def __post_init__(self) -> None:
        if self.length < 32 or self.length & (self.length - 1):
            raise invalid("length", self.length, "32, 64, 128, 256, 512, ...")
        check_runs(self.share, self.run)
        if not 0 <= self.decay <= 1:
            raise invalid("decay", self.decay, "from 0 to 1, such as 0.3")
        if self.optimizer not in ("muon", "adamw"):
            raise invalid("optimizer", self.optimizer, "'muon' or 'adamw'")
        if self.tokens_per_step <= 0 or self.tokens_per_step % self.length:
            allowed = f"rows of {self.length} tokens, such as {32 * self.length}"
            raise invalid("tokens_per_step", self.tokens_per_step, allowed)
        if self.tokens < self.tokens_per_step:
            raise invalid("tokens", self.tokens, f"a step of {self.tokens_per_step} or more")
        if self.layers < 1:
            raise invalid("layers", self.layers, "1 or more")
        if self.width < 64 or self.width % 64:
            raise invalid("width", self.width, "a multiple of 64, the width of an attention head")

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.tokens // self.tokens_per_step


def default_learning_rate(settings: PretrainingSettings) -> float:
    """Give a learning rate that suits the encoder and the optimiser.

    Args:
        settings: what is trained.

    Returns:
        3e-3 with Muon and 1e-3 with AdamW for a new encoder, a tenth of that for a trained one.

    Example:
        >>> default_learning_rate(PretrainingSettings())
        0.003
    """
    new = {"muon": 3e-3, "adamw": 1e-3}[settings.optimizer]
    return new if settings.encoder == "new" else new / 10


def make_model(
    settings: PretrainingSettings, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """Make or load the model that pre-training begins with.

    Args:
        settings: which one.
        tokenizer: what its texts are encoded with.

    Returns:
        The model.

    Raises:
        ValueError: if it cannot be made or loaded, or does not go with tokenizer and length.

    Example:
        >>> from kexue.models import train_tokenizer
        >>> tokenizer = train_tokenizer(["a"] * 2, vocab_size=270)
        >>> make_model(PretrainingSettings(layers=1, width=64), tokenizer).config.vocab_size
        262
    """
    if settings.encoder == "new":
        model = new_masked_lm(tokenizer, layers=settings.layers, width=settings.width)
    else:
        model = load_masked_lm(settings.encoder)
    check_fit(model, tokenizer, length=settings.length)
    return model


@torch.no_grad()
def masked_scores(
    model: PreTrainedModel,
    stream: TokenStream,
    tokenizer: PreTrainedTokenizerBase,
    *,
    settings: PretrainingSettings,
    length: int = 128,
) -> dict[str, float]:
    """Measure how well a model names hidden tokens, always the same ones.

    Args:
        model: in evaluation mode.
        stream: held-out tokens.
        tokenizer: for its special tokens.
        settings: what is hidden.
        length: tokens of a row, at most those of the rows of training.

    Returns:
        "accuracy" and mean cross-entropy "loss" (natural logarithm) of the hidden tokens.
    """
    length = min(length, settings.length, len(stream))
    pieces = min(_MEASURED, len(stream) // length)
    chunks = Chunks(stream, length=length, pieces=pieces, seed=0)
    right = total = 0
    loss = 0.0
    for begin in range(0, pieces, 32):
        collator = HidingCollator(
            tokenizer, 0, share=settings.share, run=settings.run, shortest=length
        )
        batch = collator([chunks[i] for i in range(begin, min(pieces, begin + 32))])
        batch = {name: part.to(model.device) for name, part in batch.items()}
        places = batch["labels"] >= 0
        labels = batch["labels"][places]
        logits = model(**batch).logits
        # Our own model scores the hidden places alone; others score all.
        logits = (logits[places] if logits.ndim == 3 else logits).float()
        right += int((logits.argmax(-1) == labels).sum())
        total += len(labels)
        loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
    return {"accuracy": right / max(1, total), "loss": loss / max(1, total)}


def pretrain(
    train: TokenStream,
    dev: TokenStream,
    tokenizer: PreTrainedTokenizerBase,
    *,
    settings: PretrainingSettings,
    args: TaskTrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
    checkpoint: str | Path | None = None,
) -> PreTrainedModel:
    """Train until `settings.tokens` tokens have been seen.

    Args:
        train: what is trained on.
        dev: what is measured on.
        tokenizer: a fast tokenizer with the tokens [CLS], [SEP] and [MASK].
        settings: what is trained.
        args: how it is trained; steps, schedule and batches follow from the settings.
        callbacks: for progress and logs.
        checkpoint: a checkpoint folder of the same run to go on from.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ValueError: if an option does not fit, or the corpus is shorter than a row.
    """
    if len(train) < settings.length:
        raise invalid("texts", f"{len(train)} tokens", f"at least a row of {settings.length}")
    set_seed(args.seed)
    model = make_model(settings, tokenizer)
    step = _plan_steps(settings, args)
    trainer = TaskTrainer(
        model,
        args,
        train_dataset=Chunks(
            train, length=settings.length, pieces=settings.steps * step, seed=args.seed
        ),
        data_collator=HidingCollator(
            tokenizer, args.seed, share=settings.share, run=settings.run, step=step
        ),
        score=lambda model: masked_scores(model, dev, tokenizer, settings=settings),
        processing_class=tokenizer,
        optimizer_cls_and_kwargs=_optimizer(settings, args, model),
        callbacks=list(callbacks),
    )
    for stock in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(stock)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return trainer.model.eval()


def _plan_steps(settings: PretrainingSettings, args: TaskTrainingArguments) -> int:
    """Let batches and schedule follow from the settings; give the rows of a step."""
    step = settings.tokens_per_step // settings.length
    batches = args.gradient_accumulation_steps * args.world_size * max(1, args.n_gpu)
    if step % batches:
        raise invalid(
            "tokens_per_step",
            settings.tokens_per_step,
            f"a multiple of {batches * settings.length}, a row for each of the {batches} batches "
            "of a step",
        )
    args.max_steps = settings.steps
    args.per_device_train_batch_size = step // batches
    args.train_sampling_strategy = "sequential"
    args.lr_scheduler_type = "warmup_stable_decay"
    args.lr_scheduler_kwargs = {"num_decay_steps": int(settings.decay * settings.steps)}
    return step


def _optimizer(
    settings: PretrainingSettings, args: TaskTrainingArguments, model: PreTrainedModel
) -> tuple[type[MuonAdamW], dict[str, Any]] | None:
    """Say what the Trainer shall make; None leaves AdamW to it."""
    if settings.optimizer == "adamw":
        return None
    if args.learning_rate_multipliers:
        fix = "Use the optimizer 'adamw'."
        raise invalid("learning_rate_multipliers", args.learning_rate_multipliers, "none", fix)
    betas = (args.adam_beta1, args.adam_beta2)
    rate, decay = args.learning_rate, args.weight_decay
    return MuonAdamW, {"model": model, "lr": rate, "weight_decay": decay, "betas": betas}
