"""Span heads: time and memory of loss and decoding, against the same heads with all scores.

Claims, at 16 texts of ragged length n/2 to n, 10 types, width 768, one thread, CPU time:

1. The efficient head's loss, forward and backward, at n = 512, against bert4torch's head and loss,
   which hold all scores: at least 20 times faster as a user runs it, at least 8 times with a warm
   allocator, in at least 10 times less memory. "All scores" is the same loss on scores that our own
   head masks in one pass, where bert4torch takes three.
2. At least 1.1 times faster than pytorch-crf at every n.
3. The standard head, whose projection is the floor: at least 2 times faster than bert4torch's, in a
   quarter of the memory. Against a CRF it loses on a CPU, and the figures say so.
4. Decoding with a trained efficient head at n = 512: at most 1.25 times pytorch-crf's Viterbi.
5. The multi-label loss, dense and by index, is not slower than F.cross_entropy on the same scores.
"""

import argparse

import torch
import torch.nn.functional as F
from peers import bert4torch
from timing import interleaved, peak_memory, write_json
from torch import nn
from torchcrf import CRF

from kexue.heads import EfficientGlobalPointer, GlobalPointer, LinearChainCRF
from kexue.losses import multilabel_loss, sparse_multilabel_loss

TESTS = ["tests/heads", "tests/losses/test_multilabel.py"]

TEXTS, TYPES, WIDTH = 16, 10, 768
# Index 0 stands for "no class" there; no span of ours lies at (0, 0).
PUBLISHED_LOSS = bert4torch("losses").SparseMultilabelCategoricalCrossentropy(mask_zero=True)


def materialised(head, hidden, mask, spans):
    """The loss with all scores [B, T, L, L] in memory and autograd through them.

    The loss is the published one for labels given by index, which takes positives off the sum over
    all scores and clamps what is left.
    """
    length = hidden.shape[1]
    most = max(len([s for s in text if s[0] == a]) for text in spans for a in range(TYPES))
    positives = torch.zeros(TEXTS, TYPES, max(1, most), dtype=torch.long)
    for text, found in enumerate(spans):
        for kind in range(TYPES):
            flat = [i * length + j for a, i, j in found if a == kind]
            positives[text, kind, : len(flat)] = torch.tensor(flat, dtype=torch.long)
    return PUBLISHED_LOSS(head(hidden, mask).flatten(2), positives).mean()


class PublicCRF(nn.Module):
    """pytorch-crf over a projection to BIO tags."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(WIDTH, 2 * TYPES + 1)
        self.crf = CRF(2 * TYPES + 1, batch_first=True)

    def loss(self, hidden, mask, tags):
        return -self.crf(self.project(hidden), tags, mask=mask, reduction="mean")

    def decode(self, hidden, mask):
        with torch.no_grad():
            return self.crf.decode(self.project(hidden), mask)


def planted(length, signature, generator):
    """Texts whose spans can be learnt: the first and last token of a type carry its signature."""
    lengths = torch.randint(length // 2, length + 1, (TEXTS,), generator=generator)
    lengths[0] = length
    mask = torch.arange(length) < lengths[:, None]
    hidden = torch.randn(TEXTS, length, WIDTH, generator=generator)
    spans, tags = [], torch.zeros(TEXTS, length, dtype=torch.long)
    for text, n in enumerate(lengths.tolist()):
        found = []
        for number, start in enumerate(range(2, n - 6, 24)):
            kind, end = (text + number) % TYPES, start + 1 + number % 4
            found.append((kind, start, end))
            hidden[text, start] += signature[0, kind]
            hidden[text, end] += signature[1, kind]
            tags[text, start : end + 1] = 2 * kind + 2
            tags[text, start] = 2 * kind + 1
        spans.append(found)
    return hidden, mask, spans, tags


def train(head, signature, generator, *, steps=150):
    """Train a head until it finds about what is there, so that decoding sees a usual load."""
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(steps):
        hidden, mask, spans, _ = planted(96, signature, generator)
        optimizer.zero_grad()
        head.loss(hidden, mask, spans).backward()
        optimizer.step()
    return head


def backward(loss, hidden):
    """A training step's work: value and gradients of the head and of the hidden states."""
    leaf = hidden.detach().requires_grad_()
    loss(leaf).backward()
    return leaf.grad


def at_length(length, heads, signature, generator, rounds):
    efficient, standard, ours, public, *peers = heads
    hidden, mask, spans, tags = planted(length, signature, generator)
    integers = mask.long()  # what bert4torch subtracts from 1
    steps = {
        "efficient": lambda h: efficient.loss(h, mask, spans),
        "efficient, bert4torch": lambda h: materialised(peers[0], h, integers, spans),
        "efficient, all scores": lambda h: materialised(efficient, h, mask, spans),
        "standard": lambda h: standard.loss(h, mask, spans),
        "standard, bert4torch": lambda h: materialised(peers[1], h, integers, spans),
        "standard, all scores": lambda h: materialised(standard, h, mask, spans),
        "standard, projection only": lambda h: standard.project(h).sum(),
        "crf": lambda h: ours.loss(h, mask, spans),
        "pytorch-crf": lambda h: public.loss(h, mask, tags),
    }
    calls = {name: (lambda step=step: backward(step, hidden)) for name, step in steps.items()}
    decoders = {
        "efficient": lambda: efficient.decode(hidden, mask),
        "standard": lambda: standard.decode(hidden, mask),
        "crf": lambda: ours.decode(hidden, mask),
        "pytorch-crf": lambda: public.decode(hidden, mask),
    }
    found = sum(map(len, efficient.decode(hidden, mask)))
    return {
        "loss": {k: t.to_dict() for k, t in interleaved(calls, rounds=rounds).items()},
        "loss_peak_bytes": {name: peak_memory(call) for name, call in calls.items()},
        "decode": {k: t.to_dict() for k, t in interleaved(decoders, rounds=rounds).items()},
        "spans": {"gold": sum(map(len, spans)), "found": found},
    }


def multilabel(rounds):
    """The loss by itself, against cross-entropy with one label on the same scores."""
    results = {}
    for rows, classes in ((160, 65536), (1024, 10000), (32, 500000)):
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(rows, classes, generator=generator) * 3
        positives = torch.randint(0, classes, (rows, 3), generator=generator)
        targets = torch.zeros(rows, classes, dtype=torch.bool).scatter_(1, positives, True)
        label = positives[:, 0].contiguous()
        steps = {
            "dense": lambda s, targets=targets: multilabel_loss(s, targets).mean(),
            "index": lambda s, positives=positives: sparse_multilabel_loss(s, positives).mean(),
            "bert4torch index": lambda s, positives=positives: PUBLISHED_LOSS(s, positives).mean(),
            "cross-entropy": lambda s, label=label: F.cross_entropy(s, label),
        }
        calls = {
            name: (lambda step=step, scores=scores: backward(step, scores))
            for name, step in steps.items()
        }
        timings = interleaved(calls, rounds=rounds)
        results[f"{rows} x {classes}"] = {k: t.to_dict() for k, t in timings.items()}
    return results


def extreme():
    """Loss and largest gradient error at scores of plus and minus 100, float32 against float64."""
    generator = torch.Generator().manual_seed(0)
    head = EfficientGlobalPointer(8, 4, head_size=4)
    hidden = torch.randn(2, 40, 8, generator=generator)
    mask = torch.ones(2, 40, dtype=torch.bool)
    with torch.no_grad():
        scores = head(hidden, mask)
        largest = scores[scores.isfinite()].abs().max()
        for layer in (head.project, head.bias):
            layer.weight.mul_((100 / largest) ** 0.5)
            layer.bias.mul_((100 / largest) ** 0.5)
    spans = [[(0, 3, 8), (1, 0, 39)], [(3, 24, 24)]]
    exact = EfficientGlobalPointer(8, 4, head_size=4).double()
    exact.load_state_dict({k: v.double() for k, v in head.state_dict().items()})
    targets = torch.zeros(2, 4, 40, 40, dtype=torch.bool)
    for text, found in enumerate(spans):
        for span in found:
            targets[(text, *span)] = True
    leaf, wide = hidden.clone().requires_grad_(), hidden.double().requires_grad_()
    loss = head.loss(leaf, mask, spans)
    truth = multilabel_loss(exact(wide, mask).flatten(2), targets.flatten(2)).mean()
    loss.backward()
    truth.backward()
    scores = exact(hidden.double(), mask)
    return {
        "largest score": scores[scores.isfinite()].abs().max().item(),
        "loss": loss.item(),
        "exact loss": truth.item(),
        "largest gradient": wide.grad.abs().max().item(),
        "largest gradient error": (leaf.grad - wide.grad).abs().max().item(),
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512])
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    signature = torch.randn(2, TYPES, WIDTH, generator=generator)
    pointers = bert4torch("layers.global_point")
    heads = (
        train(EfficientGlobalPointer(WIDTH, TYPES), signature, generator),
        train(GlobalPointer(WIDTH, TYPES), signature, generator),
        LinearChainCRF(WIDTH, TYPES),
        PublicCRF(),
        pointers.EfficientGlobalPointer(WIDTH, TYPES, 64),
        pointers.GlobalPointer(WIDTH, TYPES, 64),
    )
    result = {"extreme scores": extreme(), "lengths": {}}
    for length in options.lengths:
        figures = at_length(length, heads, signature, generator, options.rounds)
        result["lengths"][str(length)] = figures
        loss, decode = figures["loss"], figures["decode"]
        peak = figures["loss_peak_bytes"]
        print(f"n = {length}")
        for name in loss:
            print(
                f"  loss   {name:28} {loss[name]['cpu'] * 1e3:9.1f} ms {peak[name] / 1e6:9.1f} MB"
            )
        for name in decode:
            print(f"  decode {name:28} {decode[name]['cpu'] * 1e3:9.1f} ms")
        print(f"  found {figures['spans']['found']} spans, gold {figures['spans']['gold']}")
    result["multilabel"] = multilabel(options.rounds)
    for size, figures in result["multilabel"].items():
        shown = ", ".join(f"{name} {t['cpu'] * 1e3:.1f} ms" for name, t in figures.items())
        print(f"{size}: {shown}")
    print(result["extreme scores"])
    write_json(options.json, result)


if __name__ == "__main__":
    main()
