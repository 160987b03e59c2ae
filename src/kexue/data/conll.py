r"""CoNLL files: a token and its tag on each line, a blank line between sentences.

    高 B-NAME        The last column is the tag, the first the token; tab or spaces between them.
    勇 E-NAME        BIO, BIOES, BMES and BILOU tags are read alike; columns between the two, and
    ： O             comments (`# key = value`, `-DOCSTART-`), are kept and written back.

*Joining.* Tokens say nothing about the white space between them. Where at least 9 in 10 tokens are
single characters, or more than a third of all letters are Chinese or Japanese, they are joined
without a space, else by one space; `joiner=""` or `joiner=" "` overrides this. It is decided once
for the whole file.

*Broken sequences.* A tag that goes on (I, M, E, L) where nothing of its label is open begins an
entity, as in the CoNLL scorer, and an entity that a BIOES or BMES tag leaves open ends with its
last token. Both are noted, so that `check` can show them.

Only flat entities fit: nested and crossing ones are refused by record.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from kexue.data.explaining import shorten
from kexue.data.records import Entity, FormatError
from kexue.data.source import decode as decode_line
from kexue.data.source import numbered_lines

TAG = re.compile(r"O|([BIMESLU])-(.+)", re.DOTALL)
_COMMENT = re.compile(r"# ?\S+ = |-DOCSTART-(\s|$)")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
Block = dict[str, Any]


def blocks(path: Path) -> Iterator[tuple[int, Block | FormatError]]:
    """Stream the sentences of a file as tokens and tags.

    Args:
        path: a plain, gzip or xz file.

    Yields:
        The line of the first token, with `tokens`, `tags` and, where the file has them, `columns`
        and `comments`; or the line that is wrong and a `FormatError` in place of its sentence.
    """
    rows: list[tuple[int, bytes | FormatError]] = []
    comments: list[str] = []
    for number, raw in chain(numbered_lines(path), [(0, b"")]):
        if isinstance(raw, FormatError) or raw.strip(b" \t\r"):
            rows.append((number, raw))
            continue
        if rows:
            line, block = _block(rows, comments)
            if isinstance(block, FormatError) or block["tokens"]:
                yield line, block
                comments = []
            rows = []


def _block(
    rows: list[tuple[int, bytes | FormatError]], comments: list[str]
) -> tuple[int, Block | FormatError]:
    """Parse the lines of one sentence; comments before any token are collected for the next."""
    parsed: list[tuple[str, list[str], str]] = []
    first = rows[0][0]
    for number, raw in rows:
        try:
            line = _text(raw)
            if is_comment(line):
                comments.append(line)
                continue
            first = first if parsed else number
            parsed.append(_columns(line))
        except FormatError as fault:
            return number, fault
    found: Block = {"tokens": [row[0] for row in parsed], "tags": [row[2] for row in parsed]}
    if any(row[1] for row in parsed):
        found["columns"] = [row[1] for row in parsed]
    if comments:
        found["comments"] = list(comments)
    return first, found


def _text(raw: bytes | FormatError) -> str:
    if isinstance(raw, FormatError):
        raise raw
    return decode_line(raw)


def is_comment(line: str) -> bool:
    """Whether a line of a CoNLL file is no token.

    Args:
        line: the line without its end.

    Returns:
        True for `-DOCSTART-` lines and for `# key = value`, False for a token `#`.

    Example:
        >>> is_comment("# id = 7"), is_comment("# O"), is_comment("-DOCSTART- -X- O")
        (True, False, True)
    """
    match = _COMMENT.match(line)
    if match is None or line.startswith("-DOCSTART-"):
        return match is not None
    return not TAG.fullmatch(line.rsplit("\t", maxsplit=1)[-1]) or "\t" not in line


def _columns(line: str) -> tuple[str, list[str], str]:
    """Split a line into its token, what stands between, and its tag."""
    if "\t" in line[1:]:
        first, *rest = line[1:].split("\t")
        parts = [line[0] + first, *rest]
    elif line[:2] == "  ":  # the token itself is a space
        parts = [" ", *line.split()]
    else:
        first, _, rest_ = line.partition(" ")
        parts = [first, *filter(None, rest_.split(" "))]
    if len(parts) < 2 or not parts[0]:
        fix = "Write the token, a tab and its tag; the last column is the tag."
        raise FormatError(f"there is no token with a tag in {shorten(line)}", fix)
    if not TAG.fullmatch(parts[-1]):
        fix = "Write O, or B, I, M, E or S with a label, as in B-place."
        raise FormatError(f"the tag is {shorten(parts[-1])}", fix)
    return parts[0], parts[1:-1], parts[-1]


def file_joiner(path: Path) -> str:
    """Say what stands between the tokens of a file, as `read` decides it.

    Args:
        path: a plain, gzip or xz file.

    Returns:
        An empty string or one space.
    """
    found = (block for _, block in blocks(path) if not isinstance(block, FormatError))
    return guess_joiner(token for block in found for token in block["tokens"])


def guess_joiner(tokens: Iterable[str]) -> str:
    """Say what stands between the tokens of a file.

    Args:
        tokens: all tokens.

    Returns:
        `""` for tokens that are characters or Chinese or Japanese words, else one space.

    Example:
        >>> guess_joiner(["北京", "欢迎", "你"]), guess_joiner(["Hello", "world", "!"])
        ('', ' ')
    """
    count = single = letters = cjk = 0
    for token in tokens:
        count += 1
        single += len(token) == 1
        letters += sum(map(str.isalpha, token))
        cjk += len(_CJK.findall(token))
    return "" if 10 * single >= 9 * count or 3 * cjk > letters else " "


def decode(block: Block, joiner: str, notes: list[str]) -> dict[str, Any]:
    """Turn the tokens and tags of a sentence into a record.

    Args:
        block: what `blocks` gave.
        joiner: what stands between the tokens.
        notes: receives broken tag sequences.

    Returns:
        The record as an object of the schema.

    Example:
        >>> block = {"tokens": ["New", "York", "!"], "tags": ["B-place", "I-place", "O"]}
        >>> decode(block, " ", [])
        {'text': 'New York !', 'entities': [{'start': 0, 'end': 8, 'label': 'place'}]}
    """
    starts = [0]
    for token in block["tokens"]:
        starts.append(starts[-1] + len(token) + len(joiner))
    entities = [
        {"start": starts[first], "end": starts[after] - len(joiner), "label": label}
        for first, after, label in spans(block["tags"], notes)
    ]
    rest = {key: block[key] for key in ("columns", "comments") if key in block}
    return {"text": joiner.join(block["tokens"]), "entities": entities, **rest}


def spans(tags: list[str], notes: list[str]) -> Iterator[tuple[int, int, str]]:
    """Read the spans off a sequence of tags of any of the schemes.

    Args:
        tags: O, or one of B, I, M, E, S, L, U with a label.
        notes: receives broken sequences.

    Yields:
        First token, token after the last, label.

    Example:
        >>> list(spans(["B-a", "I-a", "O", "S-b", "I-c"], []))
        [(0, 2, 'a'), (3, 4, 'b'), (4, 5, 'c')]
    """
    closing = any(tag[0] in "EMSLU" for tag in tags)
    first, label = None, ""
    for index, tag in enumerate([*tags, "O"]):
        kind, _, name = tag.partition("-")
        goes_on = kind in "IMEL" and first is not None and name == label
        if first is not None and not goes_on:
            if closing:
                notes.append(f"{label} that begins at token {first + 1} has no end tag")
            yield first, index, label
            first = None
        if kind in "IMEL" and not goes_on:
            notes.append(f"token {index + 1} has {tag} where no {name} is open; it begins one")
        if kind != "O" and not goes_on:
            first, label = index, name
        if kind in "ESLU" and first is not None:
            yield first, index + 1, label
            first = None


def flat(entities: list[Entity]) -> list[Entity]:
    """Sort entities by position, refusing two that share a character.

    Args:
        entities: the entities of a record.

    Returns:
        The same, in order.

    Raises:
        FormatError: two of them are nested, crossing or the same.

    Example:
        >>> flat([Entity(start=0, end=4, label="a"), Entity(start=2, end=4, label="b")])
        Traceback (most recent call last):
        kexue.data.records.FormatError: a [0, 4) and b [2, 4) overlap, ...
    """
    ordered = sorted(entities, key=lambda e: (e.start, e.end))
    for one, other in pairwise(ordered):
        if other.start < one.end:
            pair = f"{one.label} [{one.start}, {one.end}) and {other.label} "
            reason = f"{pair}[{other.start}, {other.end}) overlap, which tags cannot say"
            raise FormatError(reason, "Write jsonl, cmeee or brat, which hold nested entities.")
    return ordered
