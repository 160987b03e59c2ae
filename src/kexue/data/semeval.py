"""The folders of SemEval's semantic textual similarity, STS12 to STS16, as SentEval keeps them.

    STS.input.MSRpar.txt    two sentences a line, between them a tab (and sources after them)
    STS.gs.MSRpar.txt       the score of the pair on the same line; empty where nobody gave one

Each record names its subset. Pairs without a score are left out, as in SentEval, and counted.
"""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from kexue.data.pair_lines import COLUMNS, decode_fields, parse_score
from kexue.data.records import DataError, FormatError
from kexue.data.source import decode, numbered_lines

_INPUT = re.compile(r"STS(\d{4})?\.input\.(.+)\.txt")
_GOLD = re.compile(r"STS(\d{4})?\.gs\.(.+)\.txt")
_Line = bytes | FormatError


class Pair(NamedTuple):
    """What stands on one line of a file.

    Attributes:
        path: the file.
        line: the line (1-based).
        value: the object of the schema, or what is wrong.
    """

    path: Path
    line: int
    value: dict[str, Any] | FormatError


def is_subset(path: Path) -> bool:
    """Tell from its name whether a file holds the sentences of a subset.

    Args:
        path: the file.

    Returns:
        Whether it is called STS.input.NAME.txt.

    Example:
        >>> is_subset(Path("STS.input.MSRpar.txt")), is_subset(Path("STS.gs.MSRpar.txt"))
        (True, False)
    """
    return _INPUT.fullmatch(path.name) is not None


def read_subsets(path: Path, notes: list[DataError]) -> Iterator[Pair]:
    """Stream the pairs of a folder, subset by subset in the order of their names.

    Args:
        path: the folder, or one STS.input.NAME.txt with its STS.gs.NAME.txt beside it.
        notes: where pairs without a score are counted, and scores without sentences named.

    Yields:
        The pairs.

    Raises:
        DataError: the folder has no such files, sentences have no file of scores, or the two files
            have different numbers of lines, so that nobody knows which score belongs to which pair.
    """
    for file in _inputs(path, notes) if path.is_dir() else [path]:
        yield from _read_subset(file, notes)


def _inputs(folder: Path, notes: list[DataError]) -> list[Path]:
    """Find the files of sentences; the concatenation of all is none of them."""
    names = {file.name: file for file in sorted(folder.iterdir())}
    inputs = [name for name in names if _INPUT.fullmatch(name)]
    parts = [name for name in inputs if not name.endswith(".ALL.txt")]
    if not inputs:
        fix = "Name a file; a folder is one of STS12 to STS16, with STS.gs.NAME.txt for each."
        raise DataError(folder, None, "the folder has no STS.input.NAME.txt", fix)
    for name, file in names.items():
        alone = _GOLD.fullmatch(name) and name.replace(".gs.", ".input.", 1) not in names
        if alone and not name.endswith(".ALL.txt"):
            fix = "Put the STS.input file beside it, where its licence lets you have it."
            notes.append(DataError(file, None, "these scores have no sentences", fix))
    return [names[name] for name in parts or inputs]


def _read_subset(path: Path, notes: list[DataError]) -> Iterator[Pair]:
    match = _INPUT.fullmatch(path.name)
    if match is None:
        fix = "Its sentences are in STS.input.NAME.txt, its scores in STS.gs.NAME.txt."
        raise DataError(path, None, "the name is not that of a subset", fix)
    gold = path.with_name(path.name.replace(".input.", ".gs.", 1))
    if not gold.exists():
        raise DataError(path, None, "these sentences have no scores", f"Put {gold.name} beside it.")
    subset, unscored = match[2], 0
    for line, sentence, score in _side_by_side(path, gold):
        if isinstance(score, FormatError) or score.strip():
            yield _pair((path, gold), line, (sentence, score), subset)
        else:
            unscored += isinstance(sentence, FormatError) or bool(sentence.strip())
    if unscored:
        reason = f"{unscored} pair{'s have' if unscored > 1 else ' has'} no score"
        notes.append(DataError(gold, None, reason, "They are left out, as in SentEval."))


def _side_by_side(path: Path, gold: Path) -> Iterator[tuple[int, _Line, _Line]]:
    """Give what both files have on each line; blank lines at the end of one do no harm."""
    sentences, scores = ([raw for _, raw in numbered_lines(file)] for file in (path, gold))
    for line, (sentence, score) in enumerate(zip_longest(sentences, scores, fillvalue=b""), 1):
        for file, value, other, size in (
            (path, sentence, gold, len(scores)),
            (gold, score, path, len(sentences)),
        ):
            if line > size and (isinstance(value, FormatError) or value.strip()):
                fix = "Fetch both files again: which score is whose cannot be known."
                reason = f"{other.name} has only {size} lines"
                raise DataError(file, line, reason, fix)
        yield line, sentence, score


def _pair(files: tuple[Path, Path], line: int, values: tuple[_Line, _Line], subset: str) -> Pair:
    """Put a line of sentences and a score together; a fault is placed in the file that has it."""
    path, gold = files
    at = path
    try:
        item = decode_fields(_text(values[0]).split("\t"), COLUMNS["parallel"], scored=False)
        at = gold
        score = parse_score(_text(values[1]))
    except FormatError as fault:
        return Pair(at, line, fault)
    return Pair(path, line, {**item, "label": score, "subset": subset})


def _text(value: _Line) -> str:
    if isinstance(value, FormatError):
        raise value
    return decode(value)
