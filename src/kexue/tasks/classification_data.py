"""Labelled texts out of records, a development set out of them, and the labels that they have."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from kexue._check import invalid
from kexue.data.records import Corpus, DataError
from kexue.tasks.classification_vectors import Text
from kexue.tasks.ner_data import hold_out


class LabelledText(NamedTuple):
    """A text, or a pair of texts, and its label.

    Attributes:
        text: the text, or (text, second text).
        label: its label.

    Example:
        >>> LabelledText(("a", "b"), "same").text[1]
        'b'
    """

    text: Text
    label: str


def labelled_texts(corpus: Corpus) -> list[LabelledText]:
    """Take texts and labels out of records.

    Args:
        corpus: from `read_labelled_texts`.

    Returns:
        For each record its text, or its pair of texts, and its label.

    Raises:
        DataError: if a record has no label, or several.

    Example:
        >>> from pathlib import Path
        >>> from kexue.data.records import Record
        >>> labelled_texts(Corpus([Record(text="好", label=1)], [1], Path("a"), "jsonl"))
        [LabelledText(text='好', label='1')]
    """
    found = []
    for index, record in enumerate(corpus.records):
        if record.label is None or isinstance(record.label, list | float):
            fix = "Give each text one label, a name or a whole number."
            raise DataError(*corpus.place(index), f"the label is {record.label!r}", fix)
        text = record.text if record.pair is None else (record.text, record.pair)
        found.append(LabelledText(text, str(record.label)))
    return found


def split_labelled(
    texts: Sequence[LabelledText], fraction: float
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Split off a development set; the same text always falls on the same side.

    Args:
        texts: labelled texts.
        fraction: share to hold out, strictly between 0 and 1.

    Returns:
        Training and development set, each in the order given. A text whose label would be nowhere
        in the training set stays there.

    Raises:
        ValueError: if a side would be empty.

    Example:
        >>> texts = [LabelledText(str(i), str(i % 2)) for i in range(100)]
        >>> train, dev = split_labelled(texts, 0.1)
        >>> len(train) + len(dev)
        100
    """
    keyed = [("\0".join([t] if isinstance(t, str) else t), t, label) for t, label in texts]
    _, held = hold_out([(key, []) for key, _, _ in keyed], fraction)
    keys = {key for key, _ in held}
    known = {label for key, _, label in keyed if key not in keys}
    out = [key in keys and label in known for key, _, label in keyed]
    train = [text for text, away in zip(texts, out, strict=True) if not away]
    dev = [text for text, away in zip(texts, out, strict=True) if away]
    if not dev:
        fix = "Give a development file with --dev, or more texts of each label."
        raise invalid("train", f"{len(texts)} texts", "enough to hold some out", fix)
    return train, dev


def check_labels(train: Sequence[LabelledText], dev: Sequence[LabelledText]) -> list[str]:
    """List the labels to be learnt, and refuse what cannot be learnt from.

    Args:
        train: training set.
        dev: development set.

    Returns:
        The labels of the training set, sorted.

    Raises:
        ValueError: if there are fewer than two labels or about as many as texts, if the development
            set has others, or one set has pairs and the other has not.

    Example:
        >>> check_labels([LabelledText("a", "1"), LabelledText("b", "0")], [])
        ['0', '1']
    """
    counts = Counter(label for _, label in train)
    if len(counts) < 2:
        given = f"{len(train)} texts of {', '.join(map(repr, counts)) or 'no label'}"
        raise invalid("train", given, "texts of two labels or more")
    if len(train) >= 10 and 2 * len(counts) > len(train):
        fix = "Is the text where the label should be? Say which column it is: --column label=NAME."
        raise invalid("train", f"{len(counts)} labels of {len(train)} texts", "far fewer", fix)
    unknown = sorted({label for _, label in dev} - counts.keys())
    if unknown:
        fix = "A classifier can only give the labels it was trained on: add texts, or take it out."
        raise invalid("dev", f"texts of {unknown[0]!r}", f"labels of the {len(counts)} known", fix)
    if len({isinstance(text, str) for text, _ in (*train, *dev)}) > 1:
        fix = "Texts and pairs of texts need a model each."
        raise invalid("dev", "texts and pairs", "the one or the other in both files", fix)
    return sorted(counts)
