"""An epoch over texts of mixed lengths: length buckets inside the Trainer.

Claim: where an epoch has 16 steps of 16 texts, `LengthBucketSampler` takes at most half the CPU
time of dynamic padding and at most 1 / 1.3 of that of group-by-length, in the same number of
optimiser steps and with the same loss on unseen texts within the spread over seeds; so it does for
16 steps of 64 texts. Where an epoch has 64 steps, group-by-length itself pads little, and what is
left to gain is less than 1.3.

The texts are synthetic: 2 to 168 tokens, 39 on average, skewed like sentences. A tag is to be
found for each token; it follows from the token and from the first one of the text, so that the
loss shows what was learnt. The model is a BERT of 3 layers and 128 dimensions. "token budget"
is the same sampler with as many padded tokens a batch as give the same number of steps; its losses
are shown, and nothing is claimed of them. A control has texts of one length, where nothing can be
gained.

The time of an epoch is taken between its first and its last callback; the run has the Trainer's
set-up and its garbage collection besides.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from timing import interleaved, one_thread, write_json
from transformers import BertConfig, BertForTokenClassification, PrinterCallback, TrainerCallback

from kexue.training.arguments import TaskTrainingArguments
from kexue.training.sampler import padding_ratio, plan_batches
from kexue.training.trainer import TaskTrainer

TESTS = [
    "tests/training/test_sampler.py",
    "tests/training/test_trainer.py",
    "tests/training/test_processes.py",
]

WORDS, TOPICS, TAGS = 100, 2, 8
METHODS = {
    "dynamic padding": {"length_buckets": False},
    "group by length": {"length_buckets": False, "train_sampling_strategy": "group_by_length"},
    "length buckets": {},
    "token budget": {"tokens_per_batch": "as many steps"},
}


def make_texts(count: int, *, seed: int, uniform: bool = False) -> list[dict[str, list[int]]]:
    """Draw texts; the first token turns the tags of all tokens by the text's topic."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(3.5, 0.75, count), 2, 168).astype(int)
    if uniform:
        lengths[:] = 39
    # The function is the same for all seeds: what is learnt on one set holds on another.
    table = np.random.default_rng(0).integers(0, TAGS, WORDS)
    texts = []
    for length in lengths:
        ids = rng.integers(1, WORDS, length)
        tags = (table[ids] + ids[0] % TOPICS) % TAGS
        texts.append({"input_ids": ids.tolist(), "labels": tags.tolist()})
    return texts


def collate(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad a batch to its longest text."""
    width = max(len(text["input_ids"]) for text in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), -100)
    for row, tags, text in zip(ids, labels, batch, strict=True):
        row[: len(text["input_ids"])] = torch.tensor(text["input_ids"])
        tags[: len(text["labels"])] = torch.tensor(text["labels"])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}


def make_model(seed: int) -> BertForTokenClassification:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=168,
        num_labels=TAGS,
    )
    return BertForTokenClassification(config)


class EpochClock(TrainerCallback):
    """Add up the CPU time between the beginning and the end of the epochs."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = seconds

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        """Start the clock."""
        self.start = time.process_time()

    def on_epoch_end(self, *_: object, **__: object) -> None:
        """Stop the clock."""
        self.seconds.append(time.process_time() - self.start)


@dataclass(frozen=True)
class Work:
    """What every method is given alike."""

    texts: list
    batch: int
    folder: str
    epochs: int = 1
    seed: int = 0

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(text["input_ids"]) for text in self.texts]


def budget_for(work: Work) -> int:
    """Find the least token budget that needs no more steps than a fixed number of texts does."""
    steps = len(plan_batches(work.lengths, batch_size=work.batch))
    budget = max(*work.lengths, sum(work.lengths) // steps)
    while len(plan_batches(work.lengths, tokens_per_batch=budget, jitter=0.05)) > steps:
        budget += 8
    return budget


def make_trainer(method: str, work: Work, *, seconds: list[float] | None = None) -> TaskTrainer:
    """Build the Trainer of one method; all else is the same."""
    options = dict(METHODS[method])
    if "tokens_per_batch" in options:
        options["tokens_per_batch"] = budget_for(work)
    args = TaskTrainingArguments(
        work.folder,
        seed=work.seed,
        num_train_epochs=work.epochs,
        per_device_train_batch_size=work.batch,
        learning_rate=1e-3,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **options,
    )
    trainer = TaskTrainer(
        make_model(work.seed),
        args,
        train_dataset=work.texts,
        data_collator=collate,
        lengths=work.lengths,
        callbacks=[EpochClock([] if seconds is None else seconds)],
    )
    # It would print a dictionary at the end of every run.
    trainer.remove_callback(PrinterCallback)
    return trainer


def batches_of(method: str, work: Work) -> dict[str, float]:
    """Count steps and padding of an epoch."""
    batches = list(make_trainer(method, work).get_train_dataloader().batch_sampler)
    padding = padding_ratio(work.lengths, batches)
    return {"steps": len(batches), "padded_to_real_tokens": round(padding, 3)}


@torch.no_grad()
def held_out_loss(model: BertForTokenClassification, texts: list) -> float:
    """Mean loss per token over texts the model has not seen."""
    model.eval()
    total = count = 0
    for start in range(0, len(texts), 64):
        batch = collate(texts[start : start + 64])
        tokens = int((batch["labels"] >= 0).sum())
        total += float(model(**batch).loss) * tokens
        count += tokens
    return total / count


def measure_speed(work: Work, *, rounds: int) -> dict:
    """Time one epoch of each method in turns."""
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    runs = {
        method: lambda method=method: make_trainer(method, work, seconds=seconds[method]).train()
        for method in METHODS
    }
    timings = interleaved(runs, rounds=rounds)
    epochs = {method: statistics.median(seconds[method][-rounds:]) for method in METHODS}
    rows = {}
    for method, timing in timings.items():
        rows[method] = row = {
            "epoch_cpu": epochs[method],
            "epoch_times_length_buckets": round(epochs[method] / epochs["length buckets"], 3),
            "run_times_length_buckets": round(timing.cpu / timings["length buckets"].cpu, 3),
            "run": timing.to_dict(),
            **batches_of(method, work),
        }
        print(
            f"  {method:16s} epoch {row['epoch_cpu'] * 1e3:8.1f} ms cpu "
            f"= {row['epoch_times_length_buckets']:5.2f} x length buckets; "
            f"run {timing.cpu * 1e3:8.1f} ms = {row['run_times_length_buckets']:5.2f} x; "
            f"{row['steps']} steps, {row['padded_to_real_tokens']} padded to real tokens",
            flush=True,
        )
    return rows


def measure_loss(work: Work, *, seeds: int) -> dict:
    """Train each method with several seeds and compare the loss on unseen texts."""
    unseen = make_texts(512, seed=2)
    rows = {}
    for method in METHODS:
        losses = []
        for seed in range(seeds):
            trainer = make_trainer(method, replace(work, seed=seed))
            trainer.train()
            losses.append(held_out_loss(trainer.model, unseen))
        rows[method] = {
            "mean": statistics.mean(losses),
            "stdev": statistics.stdev(losses) if seeds > 1 else None,
            "losses": losses,
        }
        shown = " ".join(f"{loss:.4f}" for loss in losses)
        print(f"  {method:16s} mean {rows[method]['mean']:.4f}: {shown}", flush=True)
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="0 leaves the losses out")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(argv)
    # The stock class warns that the folder is not empty, once a run.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    # What is learnt does not depend on the allocator.
    seeds = 0 if "MALLOC_TOP_PAD_" in os.environ else options.seeds
    result: dict = {"seed": 0, "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as folder:
        for name, texts, batch in [
            ("256 texts, 16 a batch", make_texts(256, seed=1), 16),
            ("1024 texts, 64 a batch", make_texts(1024, seed=1), 64),
            ("1024 texts, 16 a batch", make_texts(1024, seed=1), 16),
            ("control: 256 texts of 39 tokens", make_texts(256, seed=1, uniform=True), 16),
        ]:
            print(f"one epoch, {name}", flush=True)
            result[name] = measure_speed(Work(texts, batch, folder), rounds=options.rounds)
        if seeds:
            work = Work(make_texts(512, seed=1), 16, folder, epochs=12)
            print(f"loss on unseen texts, 512 texts, {work.epochs} epochs, {seeds} seeds")
            with one_thread():
                result["loss"] = measure_loss(work, seeds=seeds)
    write_json(options.json, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
