r"""Treebanks in CoNLL-U: a word a line in ten columns between tabs, a blank line between sentences.

    # text = 我在北京
    1  我    _  PRON   _  _  2  nsubj  _  SpaceAfter=No     number, word, lemma, kind, ...,
    2  在    _  VERB   _  _  0  root   _  SpaceAfter=No     head (0 for the root), relation

Lines of comments may be absent, as in CoNLL-X files of ten columns. A line `1-2 don't` gives the
spelling of words 1 and 2 together; empty nodes (`8.1`) belong to another kind of graph and are
passed over, and the comments and the other columns are not kept.

*White space.* `SpaceAfter=No` says where there is none. Where a file says it nowhere, it is guessed
as for other CoNLL files: Chinese words are joined as they are, others by a space. Words that are
spelt together are joined where that gives the spelling.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from kexue.data.conll import guess_joiner
from kexue.data.explaining import shorten
from kexue.data.records import DataError, FormatError
from kexue.data.source import decode, numbered_lines

_COLUMNS = 10
_NO_SPACE = "SpaceAfter=No"


class TreeSentence(NamedTuple):
    """A sentence with its dependency tree.

    Attributes:
        words: its words.
        heads: the index of each word's head, -1 for the root.
        relations: what each word is to its head.
        parts: the universal part of speech of each word, such as "PUNCT".
        text: the sentence.
        spans: (first character, character after the last) of each word in the text.
        line: of its first word in the file.

    Example:
        >>> sentence = TreeSentence(["好"], [-1], ["root"], ["ADJ"], "好", [(0, 1)], 1)
        >>> sentence.text[slice(*sentence.spans[0])]
        '好'
    """

    words: list[str]
    heads: list[int]
    relations: list[str]
    parts: list[str]
    text: str
    spans: list[tuple[int, int]]
    line: int


class _Row(NamedTuple):
    line: int
    fields: list[str]


class _Sentence(NamedTuple):
    words: list[_Row]
    together: list[_Row]  # of two words or more


def read_conllu(path: str | Path) -> list[TreeSentence]:
    r"""Read the sentences of a treebank.

    Args:
        path: the file, plain or compressed with gzip or xz.

    Returns:
        The sentences in order.

    Raises:
        DataError: the file cannot be read or has no words, a line has not ten columns, words are
            not counted from 1, or heads make no tree; with path, line and fix.

    Example:
        >>> import tempfile
        >>> row = "{}\t{}\t_\t{}\t_\t_\t{}\t{}\t_\t_\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.conllu")
        ...     words = (1, "花", "NOUN", 2, "nsubj"), (2, "开", "VERB", 0, "root")
        ...     _ = file.write_text("".join(row.format(*word) for word in words), "utf-8")
        ...     sentence = read_conllu(file)[0]
        >>> sentence.text, sentence.heads
        ('花开', [1, -1])
    """
    path = Path(path)
    found = list(_sentences(path))
    if not found:
        fix = "Name a file in CoNLL-U, ten columns between tabs."
        raise DataError(path, None, "the file has no words", fix)
    said = any(_NO_SPACE in row.fields[9] for one in found for row in (*one.words, *one.together))
    joiner = " " if said else guess_joiner(row.fields[1] for one in found for row in one.words)
    sentences = []
    for one in found:
        try:
            sentences.append(_tree(one, joiner))
        except FormatError as fault:
            raise DataError(path, one.words[0].line, fault.reason, fault.fix) from None
    return sentences


def _sentences(path: Path) -> Iterator[_Sentence]:
    """Group the lines of a file."""
    words: list[_Row] = []
    together: list[_Row] = []
    for number, raw in chain(numbered_lines(path), [(0, b"")]):
        try:
            line = _line(raw)
            if not line.strip():
                if words:
                    yield _Sentence(words, together)
                words, together = [], []
            elif not line.startswith("#") or line.count("\t") == _COLUMNS - 1:
                row = _Row(number, _fields(line))
                kind = row.fields[0]
                if kind.replace("-", "", 1).isdecimal() and "-" in kind:
                    together.append(row)
                elif "." not in kind:
                    _check_number(kind, len(words) + 1)
                    words.append(row)
        except FormatError as fault:
            raise DataError(path, number, fault.reason, fault.fix) from None


def _line(raw: bytes | FormatError) -> str:
    if isinstance(raw, FormatError):
        raise raw
    return decode(raw)


def _fields(line: str) -> list[str]:
    fields = line.split("\t")
    if len(fields) != _COLUMNS:
        reason = f"there are {len(fields)} columns, not {_COLUMNS}, in {shorten(line)}"
        raise FormatError(reason, "Write ten columns with tabs between them, _ for none.")
    if not fields[1].strip():
        raise FormatError("there is no word", "Write it into the second column.")
    return fields


def _check_number(given: str, expected: int) -> None:
    if given != str(expected):
        reason = f"the first column is {shorten(given)} where word {expected} is due"
        raise FormatError(reason, "Count words from 1; put a blank line between sentences.")


def _tree(sentence: _Sentence, joiner: str) -> TreeSentence:
    columns = list(zip(*(row.fields for row in sentence.words), strict=True))
    words, heads = list(columns[1]), _heads(columns[6])
    text, spans = _join(sentence, joiner)
    parts, relations = list(columns[3]), list(columns[7])
    return TreeSentence(words, heads, relations, parts, text, spans, sentence.words[0].line)


def _heads(column: tuple[str, ...]) -> list[int]:
    """Read heads, one of which is the root's, and make sure that all words are under it."""
    count = len(column)
    for word, given in enumerate(column, 1):
        if not given.isdecimal() or int(given) > count or int(given) == word:
            fix = f"Write 0 for the root, or the number of another word, up to {count}."
            raise FormatError(f"the head of word {word} is {shorten(given)}", fix)
    heads = [int(given) - 1 for given in column]
    if heads.count(-1) != 1:
        raise FormatError(f"{heads.count(-1)} words have the head 0", "Give it to one word.")
    for word in range(count):
        above = word
        for _ in range(count):
            above = heads[above] if above >= 0 else above
        if above >= 0:
            raise FormatError(f"word {word + 1} is below itself", "Break the circle of heads.")
    return heads


def _join(sentence: _Sentence, joiner: str) -> tuple[str, list[tuple[int, int]]]:
    """Write the text of a sentence and find its words there."""
    words = [row.fields[1] for row in sentence.words]
    after = ["" if _NO_SPACE in row.fields[9] else joiner for row in sentence.words]
    for row in sentence.together:
        first, last = (int(number) for number in row.fields[0].split("-"))
        if not 1 <= first < last <= len(words):
            raise FormatError(f"there are no words {row.fields[0]}", "Check the first column.")
        if "".join(words[first - 1 : last]) == row.fields[1]:
            after[first - 1 : last - 1] = [""] * (last - first)
        after[last - 1] = "" if _NO_SPACE in row.fields[9] else joiner
    text, spans = "", []
    for word, space in zip(words, after, strict=True):
        spans.append((len(text), len(text) + len(word)))
        text += word + space
    return text.rstrip(), spans
