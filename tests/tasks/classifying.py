"""Texts that a small classifier learns at once, and the encoder for them."""

import random

import torch

from kexue.models import scratch_encoder, scratch_tokenizer
from kexue.tasks.classification_data import LabelledText

LETTERS = {"low": "abcdefg", "high": "tuvwxyz", "middle": "klmnop"}


def make_texts(count, seed, *, pairs=False, length=(4, 9)):
    """Texts whose label says which letters they are mostly made of."""
    draw = random.Random(seed)
    labels = ("different", "same") if pairs else ("high", "low", "middle")

    def text(kind):
        size = draw.randint(*length)
        letters = draw.choices(LETTERS[kind], k=size) + draw.choices("abmnyz", k=size // 3)
        return " ".join(letters)

    found = []
    for k in range(count):
        label = labels[k % len(labels)]
        if pairs:
            kinds = ("low", "low") if label == "same" else ("low", "high")
            found.append(LabelledText(tuple(map(text, kinds)), label))
        else:
            found.append(LabelledText(text(label), label))
    return found


def write_encoder(folder):
    """Write a small encoder with random weights and its tokenizer of single letters."""
    torch.manual_seed(0)
    letters = " ".join("abcdefghijklmnopqrstuvwxyz")
    tokenizer = scratch_tokenizer([letters] * 2, unit="character")
    scratch_encoder(len(tokenizer), layers=1, width=64).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
