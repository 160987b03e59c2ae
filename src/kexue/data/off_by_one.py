"""Tell from the whole corpus whether its ends are one character off.

A tool that writes inclusive ends, read as if they were exclusive, cuts the last character of every
entity. No single span proves it, the corpus does. The rule:

*Surfaces.* Where the file repeats the surface of its entities, at least 9 in 10 of those must
become right when every end moves by the same one character.

*Without surfaces*, ends are votes. For a cut: the end lies inside a Latin word or a number and the
next character finishes it; a bracket opened inside the entity is closed by the next character; a
span has no character at all (start = end). Against: the end lies where a Latin word or number ends,
or a bracket is closed inside. At least 5 votes for, and 4 in 5 of all, make the finding.
"""

import re
from dataclasses import dataclass

from kexue.data.explaining import EARLY, LATE
from kexue.data.records import Corpus

_MIN_VOTES = 5
_SURFACES = 0.9
_SHARE = 0.8
_PAIRS = {")": "(", "）": "（", "》": "《", "”": "“", "」": "「", "』": "『", "】": "【", "]": "["}
_EMPTY = re.compile(r"start (\d+) is not before end (\d+)")


@dataclass(frozen=True)
class Shift:
    """What would put the ends of a corpus right.

    Args:
        by: what to add to every end: 1, -1, or 0 where nothing speaks for it.
        votes: how many spans speak for it.
        against: how many speak against it.

    Example:
        >>> Shift(1, 20, 0).by
        1
    """

    by: int
    votes: int
    against: int


def find_shift(corpus: Corpus) -> Shift:
    """Decide whether the ends of a corpus are one character off.

    Args:
        corpus: what `read` gave with `skip_bad` and `lenient`.

    Returns:
        The shift that would put it right.

    Example:
        >>> from pathlib import Path
        >>> from kexue.data.records import Record
        >>> cut = Record(text="go to Rome now", entities=[dict(start=6, end=9, label="place")])
        >>> find_shift(Corpus([cut] * 5, [1] * 5, Path("a.jsonl"), "jsonl"))
        Shift(by=1, votes=5, against=0)
    """
    entities = sum(len(record.entities) for record in corpus)
    for sentence, by in ((EARLY, 1), (LATE, -1)):
        votes = sum(sentence in note.reason for note in corpus.notes)
        if votes >= _MIN_VOTES and votes >= _SURFACES * entities:
            return Shift(by, votes, entities - votes)
    cut, whole = 0, 0
    for record in corpus:
        for entity in record.entities:
            vote = _vote(record.text, entity.start, entity.end)
            cut += vote > 0
            whole += vote < 0
    cut += sum(_is_empty_span(error.reason) for error in corpus.skipped)
    enough = cut >= _MIN_VOTES and cut >= _SHARE * (cut + whole)
    return Shift(1 if enough else 0, cut, whole)


def _is_empty_span(reason: str) -> bool:
    match = _EMPTY.search(reason)
    return match is not None and match[1] == match[2]


def _vote(text: str, start: int, end: int) -> int:
    """1 where the end cuts something, -1 where it closes something, 0 where it says nothing."""
    if end > len(text):
        return 0
    last, after = text[end - 1], text[end : end + 1]
    if after in _PAIRS and text.count(_PAIRS[after], start, end) > text.count(after, start, end):
        return 1
    if last in _PAIRS and _PAIRS[last] in text[start:end]:
        return -1
    if not _kind(last):
        return 0
    if _kind(last) != _kind(after):
        return -1
    # a cut inside a long rest of a word is a wrong span, not a last character that is missing
    return 1 if _kind(text[end + 1 : end + 2]) != _kind(last) else 0


def _kind(character: str) -> str:
    """Whether a character is part of a Latin word or of a number."""
    if not character.isascii() or not character.isalnum():
        return ""
    return "digit" if character.isdigit() else "letter"
