"""Hierarchical positions: a BERT trained on 128 tokens reads 1024, against other ways to do so.

Claims, for a BERT classifier of 2 layers and 128 dimensions over characters, trained from scratch
on the first 128 tokens of long documents:

1. The first 128 rows of the longer table are the trained ones, bit for bit.
2. Lengthened and trained a little at 1024 tokens, it finds at least 5 points more of the labels of
   unseen documents than the classifier without a longer table that is trained as long on the first
   128 tokens, which is all that it can read.

What is found at once, without training at 1024, is measured beside, for several alpha, and so are
other rows for the same table: drawn afresh, as transformers would, and the trained ones repeated.
Of these nothing is claimed: the label does not depend on the order of the titles, and a table
trained for minutes from scratch is not like that of a BERT.

"windows" averages the logits of eight pieces of 128, which needs no longer table.

A long document is made of real titles of scientific papers (`csl/cls_ctg`; those of dev make the
unseen documents). Its label is one of 13 fields, from which each title comes with the probability
`--share`, and else from any field; so the beginning tells the label less surely than the whole.
The data lie in ../shared/data and are not part of the project.
"""

import argparse
import copy
import random
import time
from collections import Counter
from pathlib import Path

import torch
from timing import write_json
from transformers import BertConfig, BertForSequenceClassification

from kexue.models.lengthen import lengthen_positions

TESTS = ["tests/positions/test_hierarchical.py", "tests/models/test_lengthen.py"]
TIMED = False

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "csl" / "cls_ctg"
UNKNOWN, CLS, FIRST_CHARACTER = 1, 2, 3
SHORT, LONG = 128, 1024
WAYS = ("hierarchical", "rows drawn afresh", "rows repeated")


def read_titles(part):
    """Read titles by field of science."""
    titles = {}
    for line in (DATA / f"{part}.tsv").read_text("utf-8").splitlines():
        _, title, field = line.split("\t")
        titles.setdefault(field, []).append(title)
    return titles


def make_vocabulary(titles, size):
    counts = Counter(c for field in titles.values() for title in field for c in title)
    kept = [character for character, _ in counts.most_common(size)]
    return {character: number for number, character in enumerate(kept, start=FIRST_CHARACTER)}


def make_documents(titles, vocabulary, *, count, share, seed):
    """Make documents of 1024 tokens, with their labels."""
    rng = random.Random(seed)
    fields = sorted(titles)
    ids, labels = [], []
    for _ in range(count):
        label = rng.randrange(len(fields))
        text = ""
        while len(text) < LONG:
            field = fields[label] if rng.random() < share else rng.choice(fields)
            text += rng.choice(titles[field]) + "。"
        ids.append([CLS, *(vocabulary.get(c, UNKNOWN) for c in text[: LONG - 1])])
        labels.append(label)
    return torch.tensor(ids), torch.tensor(labels)


def new_classifier(vocabulary, labels):
    config = BertConfig(
        vocab_size=FIRST_CHARACTER + len(vocabulary),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=SHORT,
        attention_probs_dropout_prob=0.0,
        num_labels=labels,
    )
    model = BertForSequenceClassification(config)
    # In BERTs that were trained for long, rows of words are two to three times as long as those of
    # positions. This training is too short to come there from rows of the same length.
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.mul_(3)
    return model


def with_rows(model, way, *, alpha=0.4):
    """Make a copy of a model that reads 1024 tokens by the rows of one method."""
    model = copy.deepcopy(model)
    trained = model.bert.embeddings.position_embeddings.weight.detach().clone()
    lengthen_positions(model, LONG, alpha=alpha)
    table = model.bert.embeddings.position_embeddings.weight
    if not torch.equal(table[:SHORT], trained):
        raise SystemExit("the first rows of the longer table are not the trained ones")
    with torch.no_grad():
        if way == "rows drawn afresh":
            table[SHORT:].normal_(std=model.config.initializer_range)
        elif way == "rows repeated":
            table.copy_(trained.repeat(LONG // SHORT, 1))
    return model


def train(model, documents, *, length, batch, steps, rate, seed):
    """Train on the first tokens of documents; the rate rises, then falls; give CPU seconds."""
    start = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    ids, labels = documents
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm = max(1, steps // 10)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min((step + 1) / warm, 1 - step / (steps + 1))
        optimizer.zero_grad()
        chosen = torch.randint(len(ids), (batch,), generator=generator)
        model(input_ids=ids[chosen, :length], labels=labels[chosen]).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    return time.process_time() - start


def read_in_windows(model, ids):
    windows = ids.reshape(-1, SHORT).clone()
    windows[:, 0] = CLS
    return model(windows).logits.unflatten(0, (len(ids), -1)).mean(1)


def accuracy(documents, read):
    with torch.no_grad():
        parts = zip(*(part.split(8) for part in documents), strict=True)
        right = sum((read(ids).argmax(-1) == labels).sum().item() for ids, labels in parts)
    return right / len(documents[0])


def at_short(model, documents):
    """Accuracy without a longer table: of the beginning, and of all in pieces."""
    return {
        "first 128": accuracy(documents, lambda ids: model(ids[:, :SHORT]).logits),
        "windows": accuracy(documents, lambda ids: read_in_windows(model, ids)),
    }


def at_long(model, documents):
    return accuracy(documents, lambda ids: model(ids).logits)


def experiment(options, seed):
    torch.manual_seed(seed)
    titles = read_titles("train")
    vocabulary = make_vocabulary(titles, 3000)
    make = {"vocabulary": vocabulary, "share": options.share}
    documents = make_documents(titles, count=options.documents, seed=seed, **make)
    unseen = make_documents(read_titles("dev"), count=options.unseen, seed=seed + 1000, **make)
    model = new_classifier(vocabulary, len(titles))
    plan = {"length": SHORT, "batch": 32, "rate": options.rate, "seed": seed}
    seconds = train(model, documents, steps=options.steps, **plan)

    at_once = at_short(model, unseen)
    at_once |= {way: at_long(with_rows(model, way), unseen) for way in WAYS}
    for alpha in options.alphas:
        longer = with_rows(model, "hierarchical", alpha=alpha)
        at_once[f"hierarchical, alpha {alpha}"] = at_long(longer, unseen)

    further = {"steps": options.longer_steps, "rate": options.rate / 2, "seed": seed + 1}
    same = copy.deepcopy(model)
    train(same, documents, length=SHORT, batch=32, **further)
    after = at_short(same, unseen)
    for way in WAYS:
        longer = with_rows(model, way)
        train(longer, documents, length=LONG, batch=4, **further)
        after[way] = at_long(longer, unseen)
    return {"training_cpu_seconds": seconds, "at once": at_once, "after training": after}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=600, help="of 32 documents at 128 tokens")
    parser.add_argument("--longer-steps", type=int, default=120, help="of 4 documents at 1024")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--alphas", type=float, nargs="*", default=[0.1, 0.25, 0.6])
    parser.add_argument("--share", type=float, default=0.5, help="of titles of the label's field")
    parser.add_argument("--documents", type=int, default=6000)
    parser.add_argument("--unseen", type=int, default=400)
    options = parser.parse_args(argv)
    if not DATA.is_dir():
        raise SystemExit("../shared/data/csl/cls_ctg is absent: there is nothing to run on")
    torch.set_num_threads(1)
    runs = {}
    for seed in options.seeds:
        runs[str(seed)] = run = experiment(options, seed)
        print(f"seed {seed}: {options.steps} steps took {run['training_cpu_seconds']:.0f} s")
        for when in ("at once", "after training"):
            for way, value in run[when].items():
                print(f"  {when:15} {way:26} {100 * value:6.2f} %", flush=True)
    result = {
        "seed": options.seeds[0],
        "options": {name: value for name, value in vars(options).items() if name != "json"},
        "first_rows_are_the_trained_ones": True,  # `with_rows` has stopped otherwise
        "runs": runs,
    }
    write_json(options.json, result)


if __name__ == "__main__":
    main()
