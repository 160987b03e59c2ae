"""The impact matrix of a text: half the pairs and shared ends, against the batches of others.

Aims, for a BERT of 4 layers x 256 with random weights and a text of 24 tokens, one thread:

1. The matrix of every method is the same, to 1e-4 of its largest value.
2. At least 2.4 times faster than the paper's authors, who run a batch of N masked copies for each
   of the N tokens, and at least 1.3 times faster than half of the pairs in one batch, as the
   article does it. "half, in batches" is the same in batches of our size: what the order of the
   work alone gains.
3. bfloat16, where somebody asks for it, with its correlation with the exact matrix.

Shared ends save a part of the first and the last layer, so the gain over half of the pairs shrinks
with depth: `--layers 12` shows it. The encoder that comes with the library is measured too.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from timing import interleaved, peak_memory, write_json
from torch import Tensor
from transformers import BertConfig, BertModel, PreTrainedModel
from transformers.utils import logging

from kexue.analysis.perturbed_masking import impact_matrix
from kexue.models import mini
from kexue.models.staging import stage_encoder

TESTS = [
    "tests/analysis/test_masked_copies.py",
    "tests/analysis/test_perturbed_masking.py",
    "tests/analysis/test_staged_encoder.py",
    "tests/models/test_staging.py",
    "tests/models/test_kexue_stages.py",
]
MASK = 4


@torch.no_grad()
def one_by_one(encode: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    """Compute the definition: two passes for each entry, of which one is kept for a row."""
    count = len(ids)
    matrix = torch.zeros(count, count)
    for i in range(count):
        first = ids.clone()
        first[i] = MASK
        alone = encode(first[None])[0, i]
        for j in range(count):
            second = first.clone()
            second[j] = MASK
            matrix[i, j] = (alone - encode(second[None])[0, i]).norm()
    return matrix


@torch.no_grad()
def per_token(encode: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    """Run a batch of N copies for each token, in which the others are masked one after another."""
    count = len(ids)
    matrix = torch.zeros(count, count)
    every = torch.arange(count)
    for i in range(count):
        rows = ids.repeat(count, 1)
        rows[:, i] = MASK
        rows[every, every] = MASK
        states = encode(rows)[:, i]
        matrix[i] = (states - states[i]).norm(dim=-1)
    return matrix


@torch.no_grad()
def half(encode: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    """Run each set of one or two masks once, all in one batch."""
    count = len(ids)
    one, other = torch.triu_indices(count, count)
    rows = ids.repeat(len(one), 1)
    index = torch.arange(len(one))
    rows[index, one] = MASK
    rows[index, other] = MASK
    states = encode(rows)
    alone = states[index[one == other], one[one == other]]
    matrix = torch.zeros(count, count)
    matrix[one, other] = (states[index, one] - alone[one]).norm(dim=-1)
    matrix[other, one] = (states[index, other] - alone[other]).norm(dim=-1)
    return matrix


def setting(model: PreTrainedModel, length: int, rounds: int, slow: bool) -> dict:
    """Compare all methods on one encoder and one text."""
    ids = torch.randint(5, model.config.vocab_size, (length,))
    staged = stage_encoder(model)

    def plain(rows: Tensor) -> Tensor:
        return model(input_ids=rows).last_hidden_state

    methods = {
        "a batch a token": lambda: per_token(plain, ids),
        "half, one batch": lambda: half(plain, ids),
        "half, in batches": lambda: impact_matrix(plain, ids, mask_id=MASK),
        "kexue": lambda: impact_matrix(staged, ids, mask_id=MASK),
        "kexue, bfloat16": lambda: impact_matrix(
            staged, ids, mask_id=MASK, autocast=torch.bfloat16
        ),
    }
    if slow:
        methods["one by one"] = lambda: one_by_one(plain, ids)
    exact = half(plain, ids)
    error, apart = {}, ~torch.eye(length, dtype=torch.bool)
    for name, method in methods.items():
        error[name] = float((method() - exact).abs().max() / exact.max())
        assert "bfloat16" in name or error[name] < 1e-4, f"{name} differs by {error[name]}"
    low = methods["kexue, bfloat16"]()
    timings = interleaved(methods, rounds=rounds)
    return {
        "tokens": length,
        "layers": model.config.num_hidden_layers,
        "width": model.config.hidden_size,
        "error": error,
        "correlation_bfloat16": float(np.corrcoef(low[apart], exact[apart])[0, 1]),
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
        "times_faster": {name: t.cpu / timings["kexue"].cpu for name, t in timings.items()},
        "peak_bytes": {name: peak_memory(method) for name, method in methods.items()},
    }


def show(title: str, figures: dict) -> None:
    print(f"{title}, {figures['layers']} layers x {figures['width']}, {figures['tokens']} tokens")
    for name, timing in figures["timings"].items():
        print(
            f"  {name:18} {timing['cpu'] * 1e3:9.1f} ms {figures['times_faster'][name]:6.2f} x "
            f"{figures['peak_bytes'][name] / 2**20:7.1f} MB  error {figures['error'][name]:.1e}"
        )
    print(f"  correlation of bfloat16 with the exact matrix: {figures['correlation_bfloat16']:.4f}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slow", action="store_true", help="also one copy at a time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    logging.disable_progress_bar()
    torch.manual_seed(options.seed)
    config = BertConfig(
        vocab_size=1000,
        hidden_size=options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.width // 64),
        intermediate_size=4 * options.width,
    )
    result = {"seed": options.seed, "settings": {}}
    for title, model in (
        ("BERT, random weights", BertModel(config, add_pooling_layer=False).eval()),
        ("kexue-mini", mini()[0].model),
    ):
        figures = setting(model, options.tokens, options.rounds, options.slow)
        result["settings"][title] = figures
        show(title, figures)
    write_json(options.json, result)


if __name__ == "__main__":
    main()
