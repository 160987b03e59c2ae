"""What a corpus holds: lengths, labels, nesting."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kexue.data.overlap import count_nested, crossing_pairs
from kexue.data.records import Corpus, Record

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class LabelStats:
    """How often a label occurs, and how long its entities are.

    Args:
        count: number of entities.
        mean_length: mean length in characters.
        max_length: length of the longest.

    Example:
        >>> LabelStats(2, 3.5, 4).count
        2
    """

    count: int
    mean_length: float
    max_length: int


@dataclass(frozen=True)
class CorpusStats:
    """The numbers of one corpus.

    Args:
        path: the file or folder.
        format: its format.
        records: number of records.
        skipped: number of bad records left out.
        characters: characters of all texts.
        text_lengths: quantiles of the text lengths, by their percentage.
        entities: number of entities.
        labels: by label, the most frequent first.
        nested_percent: percentage of entities that lie inside another one.
        crossing: number of crossing pairs.
        longest: the longest entity: label, length and line.
        empty: records without entities.
        relations: number by label.
        events: number by type.

    Example:
        >>> from pathlib import Path
        >>> corpus = Corpus([Record(text="北京")], [1], Path("a.jsonl"), "jsonl")
        >>> stats(corpus).to_dict()["empty"]
        1
    """

    path: str
    format: str
    records: int
    skipped: int
    characters: int
    text_lengths: dict[str, int]
    entities: int
    labels: dict[str, LabelStats]
    nested_percent: float
    crossing: int
    longest: tuple[str, int, int] | None
    empty: int
    relations: dict[str, int]
    events: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Give the numbers as a JSON object.

        Returns:
            A new dict.
        """
        return asdict(self)


def stats(corpus: Corpus) -> CorpusStats:
    """Count what a corpus holds.

    Args:
        corpus: what `read` gave.

    Returns:
        The numbers.

    Example:
        >>> from pathlib import Path
        >>> record = Record(text="北京", entities=[dict(start=0, end=2, label="place")])
        >>> stats(Corpus([record], [1], Path("a.jsonl"), "jsonl")).labels
        {'place': LabelStats(count=1, mean_length=2.0, max_length=2)}
    """
    records = corpus.records
    entities = sum(len(record.entities) for record in records)
    nested = sum(count_nested(record.entities) for record in records)
    return CorpusStats(
        path=str(corpus.path),
        format=corpus.format,
        records=len(records),
        skipped=len(corpus.skipped),
        characters=sum(len(record.text) for record in records),
        text_lengths=_quantiles(sorted(len(record.text) for record in records)),
        entities=entities,
        labels=_labels(records),
        nested_percent=round(100 * nested / entities, 2) if entities else 0.0,
        crossing=sum(1 for record in records for _ in crossing_pairs(record.entities)),
        longest=_longest(corpus),
        empty=sum(not record.entities for record in records),
        relations=_sorted(Counter(r.label for record in records for r in record.relations)),
        events=_sorted(Counter(e.type for record in records for e in record.events)),
    )


def _quantiles(lengths: Sequence[int]) -> dict[str, int]:
    """The length below which a share of the texts stays, by nearest rank."""
    if not lengths:
        return {}
    top = len(lengths) - 1
    return {f"{q:.0%}": lengths[round(q * top)] for q in QUANTILES}


def _labels(records: Sequence[Record]) -> dict[str, LabelStats]:
    lengths: dict[str, list[int]] = {}
    for record in records:
        for entity in record.entities:
            lengths.setdefault(entity.label, []).append(entity.end - entity.start)
    ordered = sorted(lengths.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return {
        label: LabelStats(len(found), round(sum(found) / len(found), 2), max(found))
        for label, found in ordered
    }


def _longest(corpus: Corpus) -> tuple[str, int, int] | None:
    found = [
        (entity.end - entity.start, -corpus.lines[at], entity.label)
        for at, record in enumerate(corpus.records)
        for entity in record.entities
    ]
    if not found:
        return None
    length, line, label = max(found)
    return label, length, -line


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
