"""GlobalPointer: one matrix finds nested entities, and positions keep its spans together.

https://kexue.fm/archives/8373 claims that (1) scoring every span as a cell of a matrix treats
nested and flat entities alike, where one tag for each token cannot, and (2) scores need relative
positions: without them the start of one entity is joined to the end of another. Both are seen on
sentences with a known answer, with one small convolutional encoder under three heads.
"""

# %% Sentences: Chinese, one token a character, entities inside entities
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from kexue.data.synthetic import LABELS, sample_records
from kexue.heads import GlobalPointer, LinearChainCRF

train = sample_records(600, language="zh", seed=0, sentences=1)
dev = sample_records(200, language="zh", seed=1, sentences=1)
letters = {char: i + 2 for i, char in enumerate(sorted({c for r in train for c in r["text"]}))}


def spans_of(record):
    return [(LABELS.index(e["label"]), e["start"], e["end"] - 1) for e in record["entities"]]


def inner(spans):
    """Those that lie inside another one."""
    return {s for s in spans if any(s != o and o[1] <= s[1] and s[2] <= o[2] for o in spans)}


def batch(records):
    rows = [torch.tensor([letters.get(c, 1) for c in r["text"]]) for r in records]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return ids, ids != 0


# %% One encoder under three heads; of nested entities a chain of tags learns the longest
class Encoder(nn.Module):
    """Two convolutions: each character sees four on either side."""

    def __init__(self, width=64):
        super().__init__()
        self.embed = nn.Embedding(len(letters) + 2, width, padding_idx=0)
        self.first = nn.Conv1d(width, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)

    def forward(self, ids):  # noqa: D102
        x = self.embed(ids).mT
        return (x + self.second(self.first(x).relu()).relu()).mT


def fit(head, *, epochs=8):
    encoder = Encoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(epochs):
        for at in torch.randperm(len(train)).split(32):
            records = [train[i] for i in at]
            ids, mask = batch(records)
            optimizer.zero_grad()
            head.loss(encoder(ids), mask, [spans_of(r) for r in records]).backward()
            optimizer.step()
    return encoder


torch.manual_seed(0)
heads = {
    "GlobalPointer": GlobalPointer(64, len(LABELS), head_size=32),
    "without positions": GlobalPointer(64, len(LABELS), head_size=32, rope=False),
    "CRF, a tag a token": LinearChainCRF(64, len(LABELS)),
}
encoders = {name: fit(head) for name, head in heads.items()}

# %% What each finds on sentences whose names it has never seen
ids, mask = batch(dev)
gold = [set(spans_of(record)) for record in dev]
for name, head in heads.items():
    found = [{s[:3] for s in spans} for spans in head.decode(encoders[name](ids), mask)]
    pairs = list(zip(found, gold, strict=True))
    f1 = 2 * sum(len(f & g) for f, g in pairs) / sum(len(f) + len(g) for f, g in pairs)
    recall = sum(len(f & inner(g)) for f, g in pairs) / sum(len(inner(g)) for g in gold)
    print(f"{name:20} F1 {f1:6.1%}   of entities inside another one it finds {recall:6.1%}")

# %% The matrices of one sentence: the cells above 0 are its entities
at = max(range(len(dev)), key=lambda i: len(inner(gold[i])) / len(dev[i]["text"]))
print(dev[at]["text"], [(LABELS[t], dev[at]["text"][i : j + 1]) for t, i, j in sorted(gold[at])])
ids, mask = batch([dev[at]])
scores = heads["GlobalPointer"](encoders["GlobalPointer"](ids), mask)[0].detach()
figure, axes = plt.subplots(1, len(LABELS), figsize=(15, 3), constrained_layout=True)
for axis, label, matrix in zip(axes, LABELS, scores, strict=True):
    axis.imshow(matrix, cmap="RdBu_r", vmin=-20, vmax=20)  # start > end does not exist: blank
    axis.set(title=label, xlabel="last character")
axes[0].set(ylabel="first character")
folder = Path(os.environ.get("KEXUE_FIGURES") or tempfile.mkdtemp())
figure.savefig(folder / "01_global_pointer.png", dpi=80)
print("figure:", folder / "01_global_pointer.png")
