"""Contrastive training with cached gradients, and CoSENT, against sentence-transformers.

Aims, one thread, CPU time, a BERT of random weights, dropout on, 512 pairs of sentences and
translations (Tatoeba), the same batch for all:

1. On sentences of real lengths: at least 1.8 times faster than sentence-transformers' cached loss
   with mini-batches of 16, in at most 1.2 times its memory. On the control, as many tokens in
   texts of one length, where no padding can be saved: not slower.
2. CoSENT, forward and backward: at least 100 times faster than the sum over all pairs at 4096, and
   not slower at 64.

The peer is timed with mini-batches of 16, 32 (its default) and 64, and beside each of them ours
with a budget of 1.25 times the mini-batch times the longest text, which takes about as much memory.
What is gained is padding: a mini-batch of the peer is padded to its own longest text too, so that
on these sentences no more than 1.64, 1.78 and 2.0 times as many tokens are computed by it as there
are, and what is above that in time is saved by fewer chunks and by the graph that is kept. In
texts that differ less in length there is less to gain.

"plain" is one graph for the whole batch, the only one whose memory grows with the batch. "rows" is
ours in the order of the batch, with all its padding. "tokens" is the peer's own token budget, which
is meant for kernels without padding, and "sorted" the peer on a batch that was sorted by length
beforehand. Before anything is timed, the gradients of all are compared without dropout.

"sentence-transformers" in the second part is the loss of its present version, which sorts too; the
sum over all pairs is the formula of the article.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import interleaved, peak_memory, write_json
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel

import kexue
from kexue.losses.contrastive import info_nce
from kexue.losses.cosent import cosent_loss
from kexue.training.cached_gradients import cached_backward

TESTS = [
    "tests/losses/test_contrastive.py",
    "tests/losses/test_cosent.py",
    "tests/training/test_cached_gradients.py",
    "tests/training/test_token_chunks.py",
    "tests/training/test_random_state.py",
]

PAIRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "tatoeba" / "cmn.txt"
TEMPERATURE = 0.05
# Texts in a mini-batch of the peer; our tokens in a chunk, relative to that times the longest text
ROWS, SHARE = (16, 32, 64), 1.25
Column = dict[str, torch.Tensor]


def read_pairs(count: int, seed: int) -> list[list[str]]:
    """Draw pairs of sentences; give the column of each language."""
    if not PAIRS.is_file():
        raise SystemExit("../shared/data/tatoeba/cmn.txt is absent")
    lines = PAIRS.read_text("utf-8").splitlines()
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(seed))
    chosen = [lines[i].split("\t")[:2] for i in order[:count].tolist()]
    return [list(column) for column in zip(*chosen, strict=True)]


def pad(texts: list[list[int]]) -> Column:
    """Pad the ids of a column to its longest text, as a collator does."""
    width = max(map(len, texts))
    ids = torch.zeros(len(texts), width, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def columns_of(count: int, seed: int, *, uniform: bool) -> list[Column]:
    """Tokenize the pairs; `uniform` cuts their tokens into as many texts of one length."""
    tokenizer = AutoTokenizer.from_pretrained(Path(kexue.__path__[0]) / "assets" / "mini")
    columns = []
    for texts in read_pairs(count, seed):
        ids = tokenizer(texts, add_special_tokens=True)["input_ids"]
        if uniform:
            flat = [token for text in ids for token in text]
            width = len(flat) // count
            ids = [flat[i * width : (i + 1) * width] for i in range(count)]
        columns.append(pad(ids))
    return columns


def by_length(columns: list[Column]) -> list[Column]:
    """Sort pairs by their length in both languages."""
    lengths = sum(column["attention_mask"].sum(1) for column in columns)
    order = lengths.sort(descending=True).indices
    return [{name: x[order] for name, x in column.items()} for column in columns]


class Encoder(nn.Module):
    """The mean of BERT's last layer, for them and for us."""

    def __init__(self, layers: int, width: int, words: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            intermediate_size=4 * width,
        )
        self.bert = BertModel(config, add_pooling_layer=False)

    def vectors(self, chunk: Column) -> torch.Tensor:
        hidden = self.bert(**chunk).last_hidden_state
        mask = chunk["attention_mask"].unsqueeze(-1)
        return (hidden * mask).sum(1) / mask.sum(1)

    def forward(self, features: Column) -> Column:
        """The interface of a module of sentence-transformers."""
        chunk = {name: features[name] for name in ("input_ids", "attention_mask")}
        return {**features, "sentence_embedding": self.vectors(chunk)}


def peer_loss(model: Encoder, rows: int, tokens: int | None = None) -> nn.Module:
    """The cached loss of sentence-transformers, by rows or with its own token budget."""
    try:
        from sentence_transformers.sentence_transformer.losses import (
            CachedMultipleNegativesRankingLoss,
        )
    except ImportError:
        raise SystemExit("The peer is missing: pip install sentence-transformers") from None
    # It looks at the first module of a SentenceTransformer, which is a Sequential.
    return CachedMultipleNegativesRankingLoss(
        nn.Sequential(model),
        scale=1 / TEMPERATURE,
        mini_batch_size=rows,
        mini_batch_num_tokens=tokens,
    )


def contrast(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return info_nce(queries, keys, temperature=TEMPERATURE)


def steps_of(model: Encoder, columns: list[Column]) -> dict[str, Callable[[], float]]:
    """One training step of each method, without the optimizer."""

    def ours(**options: int) -> float:
        model.zero_grad()
        return cached_backward(model.vectors, contrast, columns, **options).item()

    def plain() -> float:
        model.zero_grad()
        loss = contrast(*(model.vectors(column) for column in columns))
        loss.backward()
        return loss.item()

    def peer(loss: nn.Module, given: list[Column] = columns) -> float:
        model.zero_grad()
        value = loss([dict(column) for column in given], None)
        value.backward()
        return value.item()

    longest = max(column["input_ids"].shape[1] for column in columns)
    steps = {"plain": plain}
    for rows in ROWS:
        loss, tokens = peer_loss(model, rows), int(SHARE * rows * longest)
        steps[f"sentence-transformers {rows}"] = lambda loss=loss: peer(loss)
        steps[f"cached {rows}"] = lambda tokens=tokens: ours(tokens_per_chunk=tokens)
    least, sorted_columns = ROWS[0], by_length(columns)
    tokens = int(SHARE * least * longest)
    first, budget = peer_loss(model, least), peer_loss(model, least, least * longest)
    return {
        **steps,
        f"sentence-transformers {least}, tokens": lambda: peer(budget),
        f"sentence-transformers {least}, sorted": lambda: peer(first, sorted_columns),
        f"cached {least}, no graph kept": lambda: ours(tokens_per_chunk=tokens, keep_graphs=0),
        f"cached {least}, 4 graphs kept": lambda: ours(tokens_per_chunk=tokens, keep_graphs=4),
        f"cached {least}, rows": lambda: ours(chunk_size=least),
    }


def compare_gradients(model: Encoder, steps: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Find how far each method's gradients are from those of one graph, without dropout."""
    model.eval()
    found = {}
    for name, step in steps.items():
        step()
        found[name] = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.train()
    size = found["plain"].norm()
    errors = {name: float((g - found["plain"]).norm() / size) for name, g in found.items()}
    assert max(errors.values()) < 1e-4, errors
    return errors


def training_step(options: argparse.Namespace, *, uniform: bool) -> dict:
    """Time a step on a batch of real or of equal lengths."""
    columns = columns_of(options.batch, options.seed, uniform=uniform)
    words = 1 + max(int(column["input_ids"].max()) for column in columns)
    model = Encoder(options.layers, options.width, words)
    steps = steps_of(model, columns)
    errors = compare_gradients(model, steps)
    timings = interleaved(steps, rounds=options.rounds)
    real = sum(int(column["attention_mask"].sum()) for column in columns)
    return {
        "time": {name: timing.to_dict() for name, timing in timings.items()},
        "peak_bytes": {name: peak_memory(step) for name, step in steps.items()},
        "gradient error": errors,
        "tokens": real,
        "padded tokens": sum(column["input_ids"].numel() for column in columns),
    }


def all_pairs(cosines: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """CoSENT by its formula, the sum over all pairs."""
    terms = 20.0 * (cosines[None, :] - cosines[:, None])
    terms = terms.masked_fill(labels[:, None] <= labels[None, :], -torch.inf).flatten()
    return F.pad(terms, (0, 1)).logsumexp(0)


def cosent(count: int, rounds: int) -> dict:
    """Time the loss and its gradient for a batch of so many pairs, six labels."""
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(count, generator=generator) * 2 - 1
    labels = torch.randint(6, (count,), generator=generator).float()
    # Its similarity of two vectors is left out: it gets the cosines themselves.
    present = CoSENTLoss(nn.Identity(), scale=20.0, similarity_fct=lambda x, _: x)
    losses = {
        "all pairs": all_pairs,
        "sentence-transformers": lambda c, y: present.compute_loss_from_embeddings([c, c], y),
        "cosent": cosent_loss,
    }
    repeats = max(1, 4096 // count)

    def step(loss: Callable[..., torch.Tensor]) -> torch.Tensor:
        for _ in range(repeats):
            leaf = cosines.clone().requires_grad_()
            loss(leaf, labels).backward()
        return leaf.grad

    calls = {name: (lambda loss=loss: step(loss)) for name, loss in losses.items()}
    slopes = {name: call() for name, call in calls.items()}
    error = max(float((g - slopes["all pairs"]).abs().max()) for g in slopes.values())
    assert error < 1e-3, error
    timings = interleaved(calls, rounds=rounds)
    return {
        "time": {name: timing.to_dict() for name, timing in timings.items()},
        "peak_bytes": {name: peak_memory(call) for name, call in calls.items()},
        "calls": repeats,
        "largest gradient difference": error,
    }


def show(title: str, figures: dict, first: str) -> None:
    """Print times in milliseconds, as a ratio to one of them, and peaks in megabytes."""
    print(title)
    times, calls = figures["time"], figures.get("calls", 1)
    for name, timing in times.items():
        ratio = times[first]["cpu"] / timing["cpu"]
        peak = figures["peak_bytes"][name] / 1e6
        print(f"  {name:34} {timing['cpu'] / calls * 1e3:10.3f} ms {ratio:8.2f} x {peak:9.2f} MB")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=512, help="pairs of sentences")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, nargs="+", default=[64, 512, 4096])
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    sizes = {name: getattr(options, name) for name in ("batch", "layers", "width")}
    result = {"seed": options.seed, **sizes, "step": {}, "cosent": {}}
    for lengths in ("real", "uniform"):
        figures = training_step(options, uniform=lengths == "uniform")
        result["step"][lengths] = figures
        share = figures["tokens"] / figures["padded tokens"]
        title = f"{options.batch} pairs, {lengths} lengths, {share:.0%} real tokens"
        show(title, figures, f"sentence-transformers {ROWS[0]}")
    for count in options.pairs:
        figures = cosent(count, options.rounds)
        result["cosent"][str(count)] = figures
        show(f"CoSENT, {count} pairs", figures, "all pairs")
    write_json(options.json, result)


if __name__ == "__main__":
    main()
