"""Records, readers and writers, checks, windows."""

from kexue.data.check import (
    check,
)
from kexue.data.conllu import TreeSentence, read_conllu
from kexue.data.findings import (
    Finding,
)
from kexue.data.guess import (
    FORMATS,
    guess_format,
)
from kexue.data.labelled_texts import LABELLED_TEXT_FORMATS, read_labelled_texts
from kexue.data.pair_sets import (
    PAIR_SETS,
    find_pair_set,
)
from kexue.data.pairs import (
    PAIR_FORMATS,
    guess_pair_format,
    read_pairs,
    split_subsets,
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
from kexue.data.score_tables import SCORE_FORMATS, ScoreTable, read_scores, shipped_tables
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
    "LABELLED_TEXT_FORMATS",
    "PAIR_FORMATS",
    "PAIR_SETS",
    "SCORE_FORMATS",
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
    "ScoreTable",
    "TreeSentence",
    "check",
    "find_pair_set",
    "guess_format",
    "guess_pair_format",
    "read",
    "read_conllu",
    "read_labelled_texts",
    "read_pairs",
    "read_scores",
    "repair",
    "repair_file",
    "shipped_tables",
    "split_subsets",
    "stats",
    "write",
]
