"""Records, readers and writers, checks, windows."""

from kexue.data.check import (
    check,
)
from kexue.data.findings import (
    Finding,
)
from kexue.data.guess import (
    FORMATS,
    guess_format,
)
from kexue.data.reading import (
    read,
)
from kexue.data.records import (
    Answer,
    Argument,
    Corpus,
    DataError,
    Entity,
    Event,
    Record,
    Relation,
)
from kexue.data.repair import (
    Change,
    Repair,
    repair,
    repair_file,
)
from kexue.data.stats import (
    CorpusStats,
    LabelStats,
    stats,
)
from kexue.data.writing import (
    write,
)

__all__ = [
    "FORMATS",
    "Answer",
    "Argument",
    "Change",
    "Corpus",
    "CorpusStats",
    "DataError",
    "Entity",
    "Event",
    "Finding",
    "LabelStats",
    "Record",
    "Relation",
    "Repair",
    "check",
    "guess_format",
    "read",
    "repair",
    "repair_file",
    "stats",
    "write",
]
