"""Labelled texts as a classifier is trained on them: pieces of tokens, padded into batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from kexue.data.windows import Window
from kexue.tasks.classification_data import LabelledText
from kexue.tasks.classification_vectors import cut_texts, weight_of


@dataclass(frozen=True)
class Example:
    """A text as the model is trained on it: its pieces, and the number of its label."""

    pieces: tuple[Window, ...]
    label: int

    @property
    def tokens(self) -> int:
        """Tokens of all pieces as they are padded to the longest."""
        return len(self.pieces) * max(len(piece.input_ids) for piece in self.pieces)


def make_examples(
    texts: Sequence[LabelledText],
    tokenizer: PreTrainedTokenizerBase,
    *,
    labels: Sequence[str],
    window: int,
    most: int,
) -> tuple[list[Example], int]:
    """Cut labelled texts into pieces.

    Args:
        texts: the texts.
        tokenizer: a fast tokenizer.
        labels: in the order of the model.
        window: most tokens of a piece.
        most: pieces of a text that training sees; of a longer one so many, evenly spread from its
            beginning to its end.

    Returns:
        The examples, and the number of texts of which training does not see all.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    given = [text for text, _ in texts]
    pairs = bool(given) and not isinstance(given[0], str)
    windows = cut_texts(given, tokenizer, window=window, pairs=pairs)
    examples, shortened = [], 0
    for text, group in groupby(windows, key=lambda piece: piece.text):
        pieces = tuple(group)
        shortened += len(pieces) > most
        places = spread(len(pieces), most)
        chosen = tuple(pieces[place] for place in places)
        examples.append(Example(chosen, numbers[texts[text].label]))
    return examples, shortened


def spread(count: int, most: int) -> list[int]:
    """Choose places that are evenly spread, the first and the last among them.

    Args:
        count: places there are.
        most: places to choose, 1 or more.

    Returns:
        All of them, or `most`.

    Example:
        >>> spread(3, 4), spread(11, 3), spread(5, 1)
        ([0, 1, 2], [0, 5, 10], [0])
    """
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / max(1, most - 1)) for k in range(most)]


class ExampleCollator:
    """Pad pieces to the longest of a batch, and texts to the most pieces.

    Args:
        tokenizer: says what padding is.

    Example:
        >>> from kexue.models import scratch_tokenizer
        >>> collate = ExampleCollator(scratch_tokenizer(["ab"] * 2))
        >>> piece = Window(0, [2, 5, 3], [False, True, False], [0, 0, 0], [0, 1, 0])
        >>> batch = collate([Example((piece,), 1), Example((piece, piece), 0)])
        >>> batch["input_ids"].shape, batch["piece_weights"].tolist(), batch["labels"].tolist()
        (torch.Size([2, 2, 3]), [[1, 0], [1, 1]], [1, 0])
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.pad = tokenizer.pad_token_id or 0
        self.kind_pad = tokenizer.pad_token_type_id

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Make the tensors of a batch, [texts, pieces, tokens]."""
        pieces = [example.pieces for example in examples]
        most = max(map(len, pieces))
        longest = max(len(piece.input_ids) for own in pieces for piece in own)
        shape = (len(pieces), most, longest)
        batch = {
            "input_ids": torch.full(shape, self.pad),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "piece_weights": torch.zeros(shape[:2], dtype=torch.long),
            "labels": torch.tensor([example.label for example in examples]),
        }
        if pieces[0][0].token_type_ids is not None:
            batch["token_type_ids"] = torch.full(shape, self.kind_pad)
        for row, own in enumerate(pieces):
            for column, piece in enumerate(own):
                length = len(piece.input_ids)
                place = (row, column, slice(length))
                batch["input_ids"][place] = torch.tensor(piece.input_ids)
                batch["attention_mask"][place] = 1
                batch["piece_weights"][row, column] = weight_of(piece)
                if piece.token_type_ids is not None:
                    batch["token_type_ids"][place] = torch.tensor(piece.token_type_ids)
        return batch
