"""Texts and pairs of texts as sentence vectors are trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.data.records import Record


@dataclass(frozen=True)
class TextGroup:
    """Texts that training looks at together.

    Attributes:
        texts: one text; or a pair; or a text, one that means the same and one that does not.
        label: how similar a pair is, where that is known.

    Example:
        >>> TextGroup(("花开了", "花儿开了"), 4.0).texts[1]
        '花儿开了'
    """

    texts: tuple[str, ...]
    label: float | None = None


def text_groups(records: Sequence[Record]) -> list[TextGroup]:
    """Take pairs out of records.

    Args:
        records: with `text` and `pair`, `label` where known, and "negative" where there is a third
            text.

    Returns:
        For each its texts and label.

    Raises:
        ValueError: if a record has no pair, or a label is no number.

    Example:
        >>> text_groups([Record.model_validate({"text": "a", "pair": "b", "label": 3})])
        [TextGroup(texts=('a', 'b'), label=3.0)]
    """
    groups = []
    for record in records:
        negative = (record.model_extra or {}).get("negative")
        texts = (record.text, record.pair, *([negative] if isinstance(negative, str) else []))
        if record.pair is None:
            fix = 'Write {"text": ..., "pair": ...} a line, or two columns with a tab between them.'
            raise invalid("a record", f"{record.text[:20]!r} alone", "two texts", fix)
        label = record.label
        if label is not None:
            try:
                label = float(label)
            except (TypeError, ValueError):
                fix = "Give each pair a number, such as 0 to 5."
                raise invalid("label", label, "a number", fix) from None
        groups.append(TextGroup(texts, label))
    return groups


def split_groups(
    groups: Sequence[TextGroup], fraction: float
) -> tuple[list[TextGroup], list[TextGroup]]:
    """Split off a development set that shares no text with the rest.

    Args:
        groups: the pairs.
        fraction: about the share to hold out, strictly between 0 and 1.

    Returns:
        Training and development set, each in the order given.

    Raises:
        ValueError: if a side would be empty.

    Example:
        >>> groups = [TextGroup((str(i), str(i + 1000))) for i in range(200)]
        >>> train, dev = split_groups(groups, 0.1)
        >>> len(train) + len(dev)
        200
    """
    if not 0 < fraction < 1:
        raise invalid("dev_fraction", fraction, "a share between 0 and 1, such as 0.1")
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        while parent.setdefault(text, text) != text:
            parent[text] = text = parent[parent[text]]
        return text

    for group in groups:
        for text in group.texts[1:]:
            parent[root(text)] = root(group.texts[0])
    # Named by their least text, so that the order of the file does not matter.
    least: dict[str, str] = {}
    for text in parent:
        least[root(text)] = min(text, least.get(root(text), text))
    limit = round(fraction * 2**64)
    held = [_number(least[root(group.texts[0])], bits=64) < limit for group in groups]
    train = [group for group, out in zip(groups, held, strict=True) if not out]
    dev = [group for group, out in zip(groups, held, strict=True) if out]
    if not train or not dev:
        fix = "Give a development file, or more pairs: pairs that share texts stay together."
        raise invalid("dev_fraction", fraction, f"one that parts {len(groups)} pairs in two", fix)
    return train, dev


def _number(text: str, *, bits: int) -> int:
    return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[: bits // 8], "big")


@dataclass(frozen=True)
class Example:
    """A text group as token ids, with a number for each text that equal texts share."""

    columns: tuple[list[int], ...]
    ids: tuple[int, ...]
    label: float | None


def make_examples(
    groups: Sequence[TextGroup], tokenizer: PreTrainedTokenizerBase, *, window: int, columns: int
) -> tuple[list[Example], int]:
    """Tokenise groups.

    Args:
        groups: the groups.
        tokenizer: a fast tokenizer.
        window: most tokens of a text, special tokens included.
        columns: how many texts of a group are used; a group of one text is used as its own pair.

    Returns:
        The examples, and the number of texts that are longer than the window: of these, training
        sees the beginning alone.
    """
    texts = [text for group in groups for text in _filled(group.texts, columns)]
    coded = tokenizer(texts, truncation=True, max_length=window, return_overflowing_tokens=True)
    whole: list[list[int]] = [[]] * len(texts)
    longer = set()
    for row, text in enumerate(coded["overflow_to_sample_mapping"]):
        if whole[text]:
            longer.add(text)
        else:
            whole[text] = coded["input_ids"][row]
    examples = []
    for number, group in enumerate(groups):
        part = slice(number * columns, (number + 1) * columns)
        # 63 bits, as a signed integer holds them
        ids = tuple(_number(text, bits=64) >> 1 for text in texts[part])
        examples.append(Example(tuple(whole[part]), ids, group.label))
    return examples, len(longer)


def _filled(texts: tuple[str, ...], columns: int) -> tuple[str, ...]:
    return (texts * columns)[:columns] if len(texts) == 1 else texts[:columns]


class GroupCollator:
    """Pad the texts of groups, column by column.

    Args:
        tokenizer: says what padding is, and on which side.

    Example:
        >>> from kexue.models import scratch_tokenizer
        >>> collate = GroupCollator(scratch_tokenizer(["ab"] * 2))
        >>> batch = collate([Example(([2, 5, 3], [2, 3]), (7, 8), 1.0)])
        >>> batch["columns"][1]["input_ids"].tolist(), batch["labels"].tolist()
        ([[2, 3]], [1.0])
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Make the tensors of a batch; "labels" only where all examples have one."""
        columns = [
            dict(
                self.tokenizer.pad(
                    {
                        "input_ids": list(column),
                        "attention_mask": [[1] * len(row) for row in column],
                    },
                    return_tensors="pt",
                )
            )
            for column in zip(*(example.columns for example in examples), strict=True)
        ]
        batch: dict[str, Any] = {
            "columns": columns,
            "ids": torch.tensor([example.ids for example in examples]),
        }
        labels = [example.label for example in examples]
        if None not in labels:
            batch["labels"] = self._labels(labels)
        return batch

    @staticmethod
    def _labels(labels: Sequence[float]) -> Tensor:
        return torch.tensor(labels, dtype=torch.float32)
