"""Labelled texts out of records, and a development set out of labelled texts."""

from collections.abc import Sequence
from hashlib import sha256

from kexue._check import invalid
from kexue.data.records import Record

LabelledText = tuple[str, list[tuple[int, int, str]]]


def labelled(records: Sequence[Record]) -> list[LabelledText]:
    """Take texts and entities out of records.

    Args:
        records: the records.

    Returns:
        For each its text and (start, end, label).

    Example:
        >>> labelled([Record.model_validate({"text": "北京", "entities": [
        ...     {"start": 0, "end": 2, "label": "place"}]})])
        [('北京', [(0, 2, 'place')])]
    """
    return [(r.text, [(e.start, e.end, e.label) for e in r.entities]) for r in records]


def hold_out(
    texts: Sequence[LabelledText], fraction: float
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Split off a development set; the same text always falls on the same side.

    Args:
        texts: labelled texts.
        fraction: share to hold out, strictly between 0 and 1.

    Returns:
        Training and development set, each in the order given.

    Raises:
        ValueError: if a side would be empty.

    Example:
        >>> train, dev = hold_out([(str(i), []) for i in range(100)], 0.1)
        >>> len(train) + len(dev)
        100
    """
    if not 0 < fraction < 1:
        raise invalid("dev_fraction", fraction, "a share between 0 and 1, such as 0.1")

    def place(text: str) -> float:
        return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:8], "big") / 2**64

    places = [place(text) for text, _ in texts] or [0.0]
    # The share is met exactly up to repeated texts, whatever the number of texts.
    limit = sorted(places)[min(len(places) - 1, max(1, round(fraction * len(places))))]
    train = [t for t, p in zip(texts, places, strict=False) if p >= limit]
    dev = [t for t, p in zip(texts, places, strict=False) if p < limit]
    if not train or not dev:
        raise invalid(
            "train",
            f"{len(texts)} texts",
            "enough texts to hold some out for development",
            "Give a development file with --dev, or more texts.",
        )
    return train, dev
