"""Rows of a token stream with runs of whole words hidden, the same ones for the same step.

Every draw is a function of seed and place in training, so a run that goes on from a checkpoint sees
what an unbroken one would have seen. Rows are cut anew in each batch, to lengths from 32 tokens to
the longest, without a single token of padding.

Paper: https://arxiv.org/abs/1907.10529 (spans), https://arxiv.org/abs/2202.08005 (how many)
Axes: B rows, L tokens of a row, N tokens of the stream
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.tasks.pretraining_corpus import TokenStream

SHORTEST = 32
_KEPT, _REPLACED = 0.1, 0.1  # of the hidden runs: left as they are; another token in their place


def check_runs(share: float, run: float) -> None:
    """Refuse a share or a length of hidden runs that cannot be.

    Args:
        share: share of the words to hide.
        run: mean words of a hidden run.

    Raises:
        ValueError: if one of them is out of its range.

    Example:
        >>> check_runs(0.8, 2.5)
        Traceback (most recent call last):
        ValueError: share is 0.8; allowed: above 0 and at most 0.714 with runs of 2.5 words.
    """
    if not run > 1:
        raise invalid("run", run, "above 1, such as 2.5")
    if not 0 < share <= run / (run + 1):
        most = int(1000 * run / (run + 1)) / 1000
        raise invalid("share", share, f"above 0 and at most {most} with runs of {run} words")


def hidden_runs(
    starts: np.ndarray, generator: np.random.Generator, *, share: float = 0.3, run: float = 2.5
) -> np.ndarray:
    """Choose runs of whole words to hide.

    Open and hidden runs take turns, both of geometric length in words, so that the share is exact
    on average and a run of any length can begin anywhere.

    Args:
        starts: [N] bool, True where a word begins; the first must be.
        generator: source of chance.
        share: share of the words to hide, above 0 and at most run / (run + 1), because at least one
            word stands open between two runs.
        run: mean words of a hidden run, above 1.

    Returns:
        [N] number of the run that each token belongs to; odd runs are hidden.

    Raises:
        ValueError: if share or run are out of their range.

    Example:
        >>> runs = hidden_runs(np.ones(10_000, bool), np.random.default_rng(0))
        >>> round(float((runs % 2).mean()), 1)
        0.3
    """
    check_runs(share, run)
    words = np.cumsum(starts) - 1
    count = int(words[-1]) + 1
    open_run = run * (1 - share) / share
    # Enough runs for twice the words; what is short of that is astronomically rare and drawn again.
    lengths = np.empty(0, np.int64)
    while lengths.sum() < count:
        pairs = int(2 * count / (run + open_run)) + 8
        fresh = (generator.geometric(1 / open_run, pairs), generator.geometric(1 / run, pairs))
        lengths = np.concatenate((lengths, np.stack(fresh, 1).reshape(-1)))
    number = np.repeat(np.arange(len(lengths)), lengths)[:count]
    return number[words]


class Chunks(Dataset):
    """The pieces of a stream in the order of training: a new order in each round of the corpus.

    Args:
        stream: the tokens.
        length: tokens of a piece.
        pieces: how many pieces training takes.
        seed: of the orders.

    Example:
        >>> stream = TokenStream(np.arange(64), np.ones(64, bool))
        >>> chunks = Chunks(stream, length=32, pieces=3, seed=0)
        >>> len(chunks), chunks[2][0]
        (3, 2)
    """

    def __init__(self, stream: TokenStream, *, length: int, pieces: int, seed: int) -> None:
        self.stream, self.length, self.pieces, self.seed = stream, length, pieces, seed
        self._round, self._order, self._shift = -1, np.empty(0, np.int64), 0

    def __len__(self) -> int:
        return self.pieces

    def __getitem__(self, place: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Give the place itself, the ids and the starts of words of a piece."""
        each = max(1, len(self.stream) // self.length)
        turn, at = divmod(place, each)
        ends = len(self.stream) - self.length + 1
        if turn != self._round:
            generator = np.random.default_rng((self.seed, turn))
            self._round, self._order = turn, generator.permutation(each)
            # Each round cuts the stream elsewhere.
            self._shift = int(generator.integers(ends)) if turn else 0
        # What runs over the end begins again at the start.
        begin = (int(self._order[at]) * self.length + self._shift) % ends
        piece = slice(begin, begin + self.length)
        return place, self.stream.ids[piece], self.stream.starts[piece]


@dataclass(frozen=True)
class HidingCollator:
    """Make a batch of rows with hidden words.

    Args:
        tokenizer: for its special tokens.
        seed: of all draws.
        share: share of the words to hide.
        run: mean words of a hidden run.
        shortest: tokens of the shortest rows; each batch is cut to one length, the shortest times
            a power of two.
        step: pieces of a step, where several batches make one; they are cut to the same length, so
            that all of them weigh the same.

    Example:
        >>> from kexue.models import train_tokenizer
        >>> collator = HidingCollator(train_tokenizer(["a"] * 2, vocab_size=270), seed=0)
        >>> batch = collator([(0, np.full(64, 262), np.ones(64, bool))])
        >>> int(batch["input_ids"].numel()), int((batch["labels"] >= 0).sum())
        (64, 32)
    """

    tokenizer: PreTrainedTokenizerBase
    seed: int
    share: float = 0.3
    run: float = 2.5
    shortest: int = SHORTEST
    step: int = 1

    def __call__(self, pieces: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> dict[str, Tensor]:
        """Cut, hide and label; the first token of each row gives way to [CLS]."""
        place = pieces[0][0]
        first = place - place % self.step
        generator = np.random.default_rng((self.seed, first))
        whole = len(pieces[0][1])
        lengths = [n for n in (self.shortest << i for i in range(20)) if n < whole] + [whole]
        length = int(generator.choice([n for n in lengths if whole % n == 0]))
        if place != first:
            generator = np.random.default_rng((self.seed, place))
        ids = np.stack([ids for _, ids, _ in pieces]).astype(np.int64).reshape(-1, length)
        starts = np.stack([starts for _, _, starts in pieces]).reshape(-1, length)
        ids[:, 0] = self.tokenizer.cls_token_id
        starts[:, :2] = True
        runs = hidden_runs(starts.reshape(-1), generator, share=self.share, run=self.run)
        chance = generator.random(runs[-1] + 1)[runs].reshape(ids.shape)
        special = np.isin(ids, self.tokenizer.all_special_ids)
        hidden = (runs % 2 == 1).reshape(ids.shape) & ~special
        labels = np.where(hidden, ids, -100)
        other = hidden & (chance < _REPLACED)
        shown = np.where(hidden & (chance < 1 - _KEPT), self.tokenizer.mask_token_id, ids)
        if other.any():
            shown[other] = generator.choice(ids[~special], int(other.sum()))
        return {"input_ids": torch.from_numpy(shown), "labels": torch.from_numpy(labels)}
