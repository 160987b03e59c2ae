"""Pre-training by hidden tokens: norms, residual scores and log n at the same budget.

Claims: `norms`: at the same tokens and learning rate, norms after the blocks reach a far lower loss
on held-out text than norms before them. That RealFormer reaches a lower one still, as in its paper,
is what is asked; at 2 million tokens it does not.
`log-n`: trained on rows of 64 tokens and read in rows of 1024, the encoder whose scores grow with
log n has a lower loss than the plain one, whether they grew in training or only after it.

The texts lie in ../shared/data (see DATASETS.md there) and are not part of the project.
"""

import argparse
import json
import tempfile
from itertools import islice
from pathlib import Path

import torch

from kexue.data.corpora import read_texts
from kexue.models import KexueConfig, KexueForMaskedLM, train_tokenizer
from kexue.models.messages import quiet
from kexue.tasks.pretraining import PretrainingSettings, masked_scores, pretrain
from kexue.tasks.pretraining_corpus import encode_corpus
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.log import MetricsLog, read_metrics

TESTS = ["tests/tasks/test_pretraining.py", "tests/models/test_encoder.py"]
TIMED = False

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora"
FILES = ("lctt_zh.txt.xz", "dotnet_docs_zh.txt.xz")
LENGTHS = (64, 128, 256, 512, 1024)
# What differs, and the longest row of training.
EXPERIMENTS = {
    "norms": {
        "norms before": ({"norm": "pre"}, 128),
        "norms after": ({"norm": "post"}, 128),
        "RealFormer (norms after)": ({"norm": "post", "residual_attention": True}, 128),
        "RealFormer (norms before)": ({"norm": "pre", "residual_attention": True}, 128),
    },
    "log-n": {
        "plain": ({"norm": "post", "log_n": "none"}, 64),
        # The weights of the one before, read in another way.
        "log n after training": (None, 64),
        "log n": ({"norm": "post", "log_n": "trained"}, 64),
    },
}


def train(options, length, corpus, tokenizer, *, tokens, rate, optimizer, seed):
    """Pre-train one variant; give the model, its loss curve and its settings."""
    torch.manual_seed(seed)
    config = KexueConfig(
        vocab_size=len(tokenizer),
        hidden_dropout=0.0,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )
    with tempfile.TemporaryDirectory() as folder:
        KexueForMaskedLM(config).save_pretrained(Path(folder, "start"))
        settings = PretrainingSettings(
            encoder=str(Path(folder, "start")),
            length=length,
            tokens=tokens,
            tokens_per_step=4096,
            optimizer=optimizer,
        )
        args = TaskTrainingArguments(
            folder,
            learning_rate=rate,
            weight_decay=0.1,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            seed=seed,
            save_strategy="no",
            logging_steps=0.05,
            report_to="none",
            disable_tqdm=True,
        )
        log = MetricsLog(path=Path(folder, "metrics.jsonl"))
        model = pretrain(*corpus, tokenizer, settings=settings, args=args, callbacks=[log])
        curve = [
            (line["step"], line["loss"])
            for line in read_metrics(Path(folder, "metrics.jsonl"))
            if "loss" in line
        ]
    return model, curve, settings


def measure(model, corpus, tokenizer, settings, lengths):
    """Score held-out text in rows of each length."""
    scores = {}
    for length in lengths:
        wide = PretrainingSettings(length=max(length, 32), tokens=settings.tokens)
        scores[str(length)] = masked_scores(
            model, corpus[1], tokenizer, settings=wide, length=length
        )
    return scores


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", choices=EXPERIMENTS, nargs="+", default=list(EXPERIMENTS))
    parser.add_argument("--variants", nargs="+", help="some of them, by name")
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", default="pretraining-cache", help="folder of encoded texts")
    parser.add_argument(
        "--json", help="where the figures go; variants found there are not repeated"
    )
    options = parser.parse_args(argv)
    if not CORPORA.is_dir():
        raise SystemExit("../shared/data is absent: there is nothing to run on")
    quiet()
    torch.set_num_threads(options.threads)
    files = [CORPORA / name for name in FILES]
    sample = (text for file in files for text in islice(read_texts(file, skipped=[]), 2000))
    tokenizer = train_tokenizer(sample, vocab_size=6000, characters=4000)
    corpus = encode_corpus(files, tokenizer, options.cache, skipped=[])
    path = Path(options.json) if options.json else None
    runs = json.loads(path.read_text("utf-8")) if path and path.is_file() else {}
    trained = None
    variants = [
        (experiment, name, *variant)
        for experiment in options.experiments
        for name, variant in EXPERIMENTS[experiment].items()
        if not options.variants or name in options.variants
    ]
    for experiment, name, config, length in variants:
        if name in runs.setdefault(experiment, {}):
            continue
        if config is not None:
            trained, curve, settings = train(
                config,
                length,
                corpus,
                tokenizer,
                tokens=options.tokens,
                rate=options.rate,
                optimizer=options.optimizer,
                seed=options.seed,
            )
        elif trained is None:
            raise SystemExit(f"{name} reads with the weights of the variant before it: train both")
        else:
            trained.config.log_n, trained.config.log_n_length = "post-hoc", length
        lengths = LENGTHS if experiment == "log-n" else (128,)
        runs[experiment][name] = {
            "held-out": measure(trained, corpus, tokenizer, settings, lengths),
            "training loss": curve,
            "tokens": options.tokens,
            "learning rate": options.rate,
            "optimizer": options.optimizer,
            "seed": options.seed,
        }
        print(name, runs[experiment][name]["held-out"], flush=True)
        if path:
            path.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
