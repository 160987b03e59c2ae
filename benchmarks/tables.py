"""Write docs/benchmarks.md from the figures in benchmarks/results, so that no number is typed.

python benchmarks/tables.py [--check]
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
PEERS = {
    "efficient": ("efficient, all scores", "pytorch-crf"),
    "standard": ("standard, all scores", "pytorch-crf"),
    "crf": ("pytorch-crf",),
}


def load(name):
    return json.loads((HERE / "results" / f"{name}.json").read_text("utf-8"))


def table(columns, rows):
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def times(ratio):
    word = "faster" if ratio >= 1 else "slower"
    return f"{max(ratio, 1 / ratio):.1f} times {word}"


def span_head(figures):
    rows = []
    for length in figures["default"]["lengths"]:
        for head, peers in PEERS.items():
            for peer in peers:
                both = [figures[kind]["lengths"][length]["loss"] for kind in ("default", "warm")]
                memory = figures["default"]["lengths"][length]["loss_peak_bytes"]
                speed = [times(part[peer]["cpu"] / part[head]["cpu"]) for part in both]
                rows.append([length, head, peer, *speed, f"{memory[head] / memory[peer]:.2f}"])
    columns = (
        "n",
        "head",
        "against",
        "default allocator",
        "warm allocator",
        "memory, ours / theirs",
    )
    return table(columns, rows)


def decoding(figures):
    rows = []
    for length, part in figures["warm"]["lengths"].items():
        peer = part["decode"]["pytorch-crf"]["cpu"]
        ratios = [f"{part['decode'][head]['cpu'] / peer:.2f}" for head in ("efficient", "crf")]
        rows.append([length, *ratios])
    return table(("n", "efficient / pytorch-crf", "our CRF / pytorch-crf"), rows)


def multilabel(figures):
    rows = []
    for size, part in figures["warm"]["multilabel"].items():
        peer = part["cross-entropy"]["cpu"]
        names = ("dense", "index", "original index form")
        rows.append([size, *(f"{part[name]['cpu'] / peer:.2f}" for name in names)])
    return table(("scores", "dense", "index", "original index form"), rows)


def training(figures):
    rows = []
    for setting, part in figures["warm"].items():
        if not isinstance(part, dict) or "length buckets" not in part:
            continue
        names = ("dynamic padding", "group by length")
        rows.append(
            [setting, *(f"{part[name]['epoch_times_length_buckets']:.2f}" for name in names)]
        )
    return table(("texts", "dynamic padding / ours", "group by length / ours"), rows)


def page():
    heads = load("span_head")
    machine = f"{heads['machine']['cpu']}, {heads['machine']['cores']} cores, one thread"
    return f"""# Benchmarks

Made by `python benchmarks/tables.py` from `benchmarks/results/*.json`, which `make bench` writes:
process CPU time, methods in turns in one process, tests first. Machine: {machine}. Only ratios hold
elsewhere. "Warm" is an allocator that keeps its memory, as a GPU's does; the other column is what a
user sees.

## The loss of a span head, forward and backward

16 texts of n/2 to n tokens, 10 types, width 768. "All scores" is the same head with its scores in
memory and the index form of the loss as it was published.

{span_head(heads)}

The standard head loses to a CRF on a CPU: its projection alone costs more. Our own CRF is faster
than either pointer head; what it cannot do is nested entities.

## Decoding, time relative to pytorch-crf

{decoding(heads)}

## The multi-label loss, time relative to F.cross_entropy on the same scores

{multilabel(heads)}

## Training: batches of nearly equal length

CPU time of an epoch relative to ours; the last row is a control where nothing can be gained.

{training(load("training"))}
"""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where the page is out of date")
    options = parser.parse_args(argv)
    text = page()
    if options.check:
        raise SystemExit(PAGE.read_text("utf-8") != text)
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
