"""Write docs/benchmarks.md from the figures in benchmarks/results, so that no number is typed.

python benchmarks/tables.py [--check]
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
PEERS = {
    "efficient": ("efficient, bert4torch", "efficient, all scores", "pytorch-crf"),
    "standard": ("standard, bert4torch", "standard, all scores", "pytorch-crf"),
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
        names = ("dense", "index", "bert4torch index")
        rows.append([size, *(f"{part[name]['cpu'] / peer:.2f}" for name in names)])
    return table(("scores", "dense", "index", "index, bert4torch"), rows)


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


def against(part, name, peer):
    """Say how many times as long as its peer a method takes."""
    return f"{part[name]['cpu'] / part[peer]['cpu']:.2f}" if peer in part else "-"


def prompts(figures):
    rows = []
    for length, part in figures["warm"]["prompt"].items():
        peaks = part["peak_bytes"]
        rows.append(
            [
                length,
                against(figures["default"]["prompt"][length]["time"], "turned", "plain"),
                against(part["time"], "turned", "plain"),
                against(part["time"], "turned", "two matrices"),
                *(
                    f"{peaks[k] / 1e6:.0f}" if k in peaks else "-"
                    for k in ("turned", "two matrices")
                ),
            ]
        )
    columns = ("n", "against plain", "warm", "against two matrices, warm", "MB", "two matrices, MB")
    return table(columns, rows)


def caches(figures):
    rows = []
    for length in figures["warm"]["decoding"]:
        both = [figures[kind]["decoding"][length]["time"] for kind in ("default", "warm")]
        ours = "turned, in a cache"
        rows.append(
            [
                length,
                *(against(part, ours, "plain, in a cache") for part in both),
                *(times(part["re-rotated"]["cpu"] / part[ours]["cpu"]) for part in both),
            ]
        )
    columns = ("cache", "against plain", "warm", "against re-rotating", "warm")
    return table(columns, rows)


def linear(figures):
    rows = []
    for kind in figures["warm"]["lengths"]["256"]["ratios, forward"]:
        cells = []
        for part in figures["warm"]["lengths"].values():
            ratio = part["ratios, forward and backward"].get(kind)
            cells.append("-" if ratio is None else f"{ratio:.1f}")
        rows.append([kind, *cells])
    return table(("times as fast", *figures["warm"]["lengths"]), rows)


def realformer(figures):
    rows = []
    for kind in ("residual, overwriting", "residual", "usual form"):
        cells = [kind]
        for step in ("inference", "training"):
            part = figures["warm"][step]
            cells.append(against(part, kind, "plain SDPA") if kind in part else "-")
        peak = (
            figures["warm"]["inference, peak bytes"][kind]
            - figures["warm"]["inference, peak bytes"]["plain SDPA"]
        )
        rows.append([*cells, f"{peak / figures['warm']['bytes of scores']:.1f}"])
    return table(("12 layers", "forward", "training", "copies of the scores"), rows)


def extrapolation(figures):
    losses = figures["default"]["loss"]
    stretches = list(next(iter(losses.values())))
    rows = [[name, *(f"{part[s]:.2f}" for s in stretches)] for name, part in losses.items()]
    return table(("loss at positions", *stretches), rows)


def hierarchical(figures):
    runs = figures["default"]["runs"].values()
    names = list(next(iter(runs))["after training"])
    rows = []
    for name in names:
        cells = [
            100 * sum(run[when][name] for run in runs) / len(runs)
            for when in ("at once", "after training")
        ]
        rows.append([name, *(f"{cell:.1f}" for cell in cells)])
    return table(("reads by", "at once", "after a little training"), rows)


def pretraining(figures, lengths):
    rows = []
    for name, run in figures.items():
        scores = [run["held-out"][length] for length in lengths]
        rows.append([name, *(f"{100 * s['accuracy']:.1f} ({s['loss']:.2f})" for s in scores)])
    return table(("encoder", *(f"rows of {length}" for length in lengths)), rows)


def contrastive(figures):
    rows = []
    for lengths, part in figures["default"]["step"].items():
        for size in ("16", "32", "64"):
            ours, peer = f"cached {size}", f"sentence-transformers {size}"
            both = [figures[kind]["step"][lengths]["time"] for kind in ("default", "warm")]
            speed = [times(part[peer]["cpu"] / part[ours]["cpu"]) for part in both]
            memory = part["peak_bytes"]
            rows.append([lengths, size, *speed, f"{memory[ours] / memory[peer]:.2f}"])
    columns = (
        "lengths",
        "mini-batch",
        "default allocator",
        "warm allocator",
        "memory, ours / theirs",
    )
    return table(columns, rows)


def cosent(figures):
    rows = []
    for count, part in figures["default"]["cosent"].items():
        mine = part["time"]["cosent"]["cpu"]
        peers = ("all pairs", "sentence-transformers")
        rows.append([count, *(times(part["time"][peer]["cpu"] / mine) for peer in peers)])
    return table(("pairs", "against the sum over all pairs", "against sentence-transformers"), rows)


def transport(figures):
    rows = []
    for name, part in figures["default"]["settings"].items():
        cells = [f"{ratio:.0f}" for ratio in part["times_faster"].values()]
        equal = f"{part['queries_equal_to_brute_force']} of {figures['default']['queries']}"
        rows.append([name, *cells, *(["-"] * (2 - len(cells))), equal])
    return table(
        ("distance", "times faster than POT", "than gensim", "queries as brute force"), rows
    )


def whitening(figures):
    rows = []
    places = (
        ("map", "all", "1,000,000 vectors in a file"),
        ("map", "few", "100,000 of them"),
        ("memory", None, "100,000 vectors in memory"),
    )
    for place, which, title in places:
        both = [figures[kind][place] for kind in ("default", "warm")]
        both = [part if which is None else part[which] for part in both]
        for peer in both[0]["time"]:
            if peer.startswith("kexue"):
                continue
            speed = [
                times(part["time"][peer]["cpu"] / part["time"]["kexue"]["cpu"]) for part in both
            ]
            peaks = both[0].get("peak_bytes", {})
            rows.append([title, peer, *speed, *(_megabytes(peaks.get(n)) for n in ("kexue", peer))])
    columns = ("fit on", "against", "default", "warm", "MB, ours", "MB, theirs")
    return table(columns, rows)


def _megabytes(count):
    return "-" if count is None else f"{count / 1e6:.0f}"


def search(figures):
    rows = []
    for name, part in figures["default"]["search"].items():
        if isinstance(part, dict):
            recall = part.get("recall_at_10", 1.0)
            rows.append([name, f"{1e3 * part['wall']:.1f}", f"{recall:.3f}"])
    return table(("cells looked into", "ms of a query, median", "recall@10"), rows)


def entities(figures):
    rows = []
    for name, runs in figures.items():
        for key in sorted({(run["encoder"], run["epochs"], run["head"]) for run in runs}):
            mine = [run for run in runs if (run["encoder"], run["epochs"], run["head"]) == key]

            def mean(pick, mine=mine):
                return sum(map(pick, mine)) / len(mine)

            scores = [
                f"{100 * mean(lambda run, figure=figure: run['scores'][figure]):.1f}"
                for figure in ("f1", "precision", "recall", "nested_recall")
            ]
            encoder, epochs, head = key
            nested = scores if mine[0]["scores"]["nested_gold"] else [*scores[:3], "-"]
            rows.append([name, encoder, f"{epochs:g}", head, str(len(mine)), *nested])
    columns = ("data", "encoder", "epochs", "head", "seeds", "F1", "P", "R", "R of nested")
    return table(columns, rows)


def trained_sentences(figures):
    rows = []
    for part in ("simcse", "cosent"):
        run = figures[part]
        before, after = (f"{100 * run[when]['spearman']:.1f}" for when in ("before", "after"))
        rows.append([part, f"{run['texts']:,}", before, after])
    return table(("trained by", "texts or pairs", "before", "after"), rows)


# Title, what to know before reading, the result it needs, and the table made of it.
SECTIONS = [
    (
        "The loss of a span head, forward and backward",
        """16 texts of n/2 to n tokens, 10 types, width 768. "All scores" is the same head with its
scores in memory and the index form of the loss as it was published. The standard head
loses to a CRF on a CPU: its projection alone costs more. Our own CRF is faster than
either pointer head; what it cannot do is nested entities.""",
        "span_head",
        span_head,
    ),
    ("Decoding, time relative to pytorch-crf", "", "span_head", decoding),
    (
        "The multi-label loss, time relative to F.cross_entropy on the same scores",
        "",
        "span_head",
        multilabel,
    ),
    (
        "Training: batches of nearly equal length",
        "CPU time of an epoch relative to ours; the last row is a control: nothing to be gained.",
        "training",
        training,
    ),
    (
        "ReRoPE: a prompt",
        """1 text, 8 heads of width 64, window 512; time relative to others. "Plain" is the fused
kernel of PyTorch on keys turned by RoPE; "two matrices" is the method as it was
published.""",
        "rerope",
        prompts,
    ),
    (
        "ReRoPE: a step of decoding",
        """Both with a cache of transformers or ours, the new row included; "re-rotating" turns all
keys of the cache anew at each step, as published.""",
        "rerope",
        caches,
    ),
    (
        "Linear attention and Performer, forward and backward",
        "Times as fast as what stands beside it, at n tokens, with a warm allocator.",
        "linear_attention",
        linear,
    ),
    (
        "RealFormer, time relative to attention without residual scores",
        """1 text of 1024 tokens, 8 heads of width 64. The fused kernel never writes its scores
down; residual scores have to be read and written in each layer; 1.25 was the aim.""",
        "realformer",
        realformer,
    ),
    (
        "Texts longer than those of training: decoders",
        """Loss of the next byte in nats, by position; lower is better. Two are trained: with RoPE,
and with Inverse Leaky ReRoPE. The others read with the weights of the first.""",
        "length_extrapolation",
        extrapolation,
    ),
    (
        "Texts longer than those of training: hierarchical positions",
        "Labels found, in %, by a classifier that was trained on 128 tokens and has 1024 to read.",
        "hierarchical",
        hierarchical,
    ),
    (
        "Norms and residual scores",
        """Hidden tokens of held-out texts named right in %, and their loss, after 2 million tokens
(4 layers, AdamW, learning rate 1e-3). RealFormer is not better than norms after the
blocks here, contrary to its paper.""",
        "pretraining",
        lambda figures: pretraining(figures["default"]["norms"], ["128"]),
    ),
    (
        "log n",
        "The same figures, pre-trained on rows of 64 tokens and read in rows of up to 1024.",
        "pretraining",
        lambda figures: pretraining(
            figures["default"]["log-n"], ["64", "128", "256", "512", "1024"]
        ),
    ),
    (
        "Whitening: one fit",
        """768 features, a mean of three times their spread, 256 directions kept. What is gained
on a file against PCA is a copy that it makes of a map that is open for reading.""",
        "whitening",
        whitening,
    ),
    (
        "A step of contrastive training at a batch of 512 pairs",
        """Against the cached loss of sentence-transformers with the same mini-batch, dropout on.
What is gained is padding; on texts of one length there is none to gain.""",
        "contrastive",
        contrastive,
    ),
    ("CoSENT, forward and backward", "", "contrastive", cosent),
    (
        "The ten nearest of 3,000 documents, exactly",
        "Documents of 52 distinct words; all queries in one call, its preparation included.",
        "transport",
        transport,
    ),
    (
        "Sentence vectors of mini",
        """Spearman's correlation x 100 on the validation part of the Chinese STS-B, mean over
tokens. SimCSE: one epoch over sentences of Tatoeba. CoSENT: four over the training part.""",
        "sentences",
        trained_sentences,
    ),
    (
        "Sentence vectors: encoders, poolings, whitenings",
        """Spearman's correlation x 100; whitenings are fitted on the texts of each set. STS12 is a
machine translation into Portuguese, which neither encoder was made for.""",
        "sentences",
        lambda figures: figures["table"]["markdown"].strip(),
    ),
    (
        "Search in 1,000,000 texts on disk",
        """256 features, one core. Killed in the middle of the adding and once more before the
building, and started again with the same call: no text lost, none doubled. "scan" compares the
query with all vectors.""",
        "search",
        search,
    ),
    (
        "Named entities",
        """CLUENER: every tenth training record held out. "scratch-characters" has 4 layers, a
width of 256 and random weights; "untrained" is mini with random weights. One thread, bfloat16, a
running average of the weights, the best epoch by F1. What runs were made is what is listed.""",
        "entities",
        entities,
    ),
]


def page():
    heads = load("span_head")
    machine = f"{heads['machine']['cpu']}, {heads['machine']['cores']} cores, one thread"
    text = f"""# Benchmarks

Made by `python benchmarks/tables.py` from `benchmarks/results/*.json`, which `make bench` writes:
process CPU time, methods in turns in one process, tests first. Machine: {machine}. Only ratios hold
elsewhere. "Warm" is an allocator that keeps its memory, as a GPU's does; the other column is what a
user sees.
"""
    for title, before, name, make in SECTIONS:
        if (HERE / "results" / f"{name}.json").is_file():
            parts = (f"## {title}", before, make(load(name)))
            text += "\n" + "\n\n".join(part for part in parts if part) + "\n"
    return text


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
