"""Named entities on real data: three heads on the same encoder, from scratch or pre-trained.

Aims: on CLUENER the efficient head at least 2 points of F1 above the CRF, the standard head not
below it; on nested data, nested entities that a CRF cannot find; from `--encoder mini` at least 76
on CLUENER, and 5 points above the same encoder with random weights (`--encoder untrained`) trained
as long. It prints what was reached.

The data lie in ../shared/data (see DATASETS.md there) and are not part of the project. Of CLUENER,
whose test labels are not public, every tenth training record is held out. Thresholds for each
label are chosen on one half of the held-out records and measured on the other. Each run trains in
one thread; where two run side by side they take the two cores of a small machine.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

import torch

from kexue.data import read
from kexue.models import KexueModel, mini
from kexue.tasks.ner_data import labelled
from kexue.tasks.ner_model import EntitySettings
from kexue.tasks.ner_training import train_entities
from kexue.training.arguments import TaskTrainingArguments

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HEADS = ("efficient", "standard", "crf")


def cluener():
    records = labelled(read(DATA / "cluener" / "train.json").records)
    dev = records[::10]
    return [r for i, r in enumerate(records) if i % 10], dev


def gum():
    return tuple(labelled(read(DATA / "gum" / f"{p}.jsonl").records) for p in ("train", "dev"))


def chinese_literature():
    folder = DATA / "chinese_literature"
    return tuple(labelled(read(folder / f"{p}.jsonl").records) for p in ("training", "validation"))


SETS = {
    "cluener": (
        cluener,
        {"encoder": "scratch-characters", "window": 128, "dropout": 0.2, "head_dropout": 0.0},
        14,
    ),
    "gum": (gum, {"encoder": "scratch", "window": 256}, 8),
    "chinese_literature": (
        chinese_literature,
        {"encoder": "scratch-characters", "window": 256, "overlap": 64},
        10,
    ),
}


def save_untrained(folder):
    """Save an encoder like `mini`, with its tokenizer and random weights."""
    model, tokenizer = mini()
    KexueModel(model.config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def one_run(name, head, seed, *, encoder, epochs, rate, batch, bf16):
    load, options, usual = SETS[name]
    train, dev = load()
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        if encoder == "untrained":
            save_untrained(Path(folder, "untrained"))
            options = {**options, "encoder": str(Path(folder, "untrained"))}
        elif encoder is not None:
            # Dropout is for weights that are drawn; trained ones take their own default.
            options = {**options, "encoder": encoder, "dropout": None}
        settings = EntitySettings(head=head, **options)
        args = TaskTrainingArguments(
            folder,
            num_train_epochs=epochs or usual,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            adam_beta2=0.98,
            lr_scheduler_type="cosine",
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            seed=seed,
            learning_rate_multipliers={"head.transitions": 10.0} if head == "crf" else None,
            average_decay=0.999,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="f1",
            report_to="none",
            disable_tqdm=True,
            logging_steps=100,
        )
        run = train_entities(train, dev, settings=settings, args=args)
    texts = [text for text, _ in dev]
    start, start_cpu = time.perf_counter(), time.process_time()
    run.recognizer(texts, batch_size=64)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return {
        "head": head,
        "seed": seed,
        "encoder": encoder or options["encoder"],
        "scores": run.scores.to_dict(),
        "calibrated": None if run.calibrated is None else run.calibrated.to_dict(),
        "train_seconds": run.seconds,
        "decode_texts_per_second": len(texts) / seconds,
        "decode_texts_per_cpu_second": len(texts) / cpu,
        "parameters": run.recognizer.model.num_parameters(),
        "texts": {"train": len(train), "dev": len(dev)},
        "windows": run.windows,
        "unlearnable": {part: len(missed) for part, missed in run.unlearnable.items()},
        "epochs": epochs or usual,
        "learning_rate": rate,
        "batch_size": batch,
        "bf16": bf16,
        "threads": torch.get_num_threads(),
    }


def summary(runs):
    lines = [
        "| head | F1 | precision | recall | nested recall | F1, thresholds | train s | texts/s |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for head in HEADS:
        mine = [run for run in runs if run["head"] == head]
        if not mine:
            continue

        def mean(pick, mine=mine):
            return statistics.mean(pick(run) for run in mine)

        cells = [
            f"{100 * mean(lambda r, key=key: r['scores'][key]):.2f}"
            for key in ("f1", "precision", "recall", "nested_recall")
        ]
        calibrated = [run["calibrated"]["f1"] for run in mine if run["calibrated"]]
        cells.append(f"{100 * statistics.mean(calibrated):.2f}" if calibrated else "-")
        cells.append(f"{mean(lambda r: r['train_seconds']):.0f}")
        cells.append(f"{mean(lambda r: r['decode_texts_per_second']):.0f}")
        lines.append(f"| {head} ({len(mine)}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=SETS, default="cluener")
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--encoder", help="mini, untrained, or what `kexue train ner` takes")
    parser.add_argument("--epochs", type=float, help="other than the usual number")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--float32", action="store_true", help="bfloat16 by default")
    parser.add_argument("--json", help="where the figures go; runs found there are not repeated")
    options = parser.parse_args(argv)
    if not DATA.is_dir():
        raise SystemExit("../shared/data is absent: there is nothing to run on")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    path = Path(options.json) if options.json else None
    runs = json.loads(path.read_text("utf-8"))["runs"] if path and path.is_file() else []
    for seed in options.seeds:
        for head in options.heads:
            if any((run["head"], run["seed"]) == (head, seed) for run in runs):
                continue
            run = one_run(
                options.data,
                head,
                seed,
                encoder=options.encoder,
                epochs=options.epochs,
                rate=options.rate,
                batch=options.batch,
                bf16=not options.float32,
            )
            runs.append(run)
            print(json.dumps(run, ensure_ascii=False), flush=True)
            if path:
                text = json.dumps({"data": options.data, "runs": runs}, indent=1)
                path.write_text(text + "\n", "utf-8")
    print(summary(runs))


if __name__ == "__main__":
    main()
