"""Plain texts to learn a language from: text files, tables and JSON lines, compressed or not."""

import re
from collections.abc import Iterator
from pathlib import Path

from kexue.data.records import DataError, FormatError
from kexue.data.source import decode, json_lines, numbered_lines

LONGEST = 20_000  # characters; a longer text is handed out in parts that end with a line


def read_texts(path: str | Path, *, skipped: list[str] | None = None) -> Iterator[str]:
    r"""Stream the texts of a file without holding it in memory.

    The name says what the file is: `.jsonl` has a text in the field "text" of each line, `.tsv` a
    text in each column of each line, everything else is plain text in which a blank line ends a
    text. A plain text of more than 20,000 characters comes in parts.

    Args:
        path: the file, plain or compressed with gzip or xz.
        skipped: where faults are noted, one line each; without it a fault is raised.

    Yields:
        Texts that are not blank.

    Raises:
        DataError: the file cannot be read, or a line is broken; with path, line and fix.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     _ = file.write_text("一\n二\n\n三\n", encoding="utf-8")
        ...     list(read_texts(file))
        ['一\n二', '三']
    """
    path = Path(path)
    kind = re.sub(r"\.(gz|xz)$", "", path.name.lower()).rpartition(".")[2]
    parts = {"jsonl": _fields, "tsv": _cells}.get(kind, _paragraphs)
    for number, text in parts(path):
        if isinstance(text, FormatError):
            fault = DataError(path, number, text.reason, text.fix)
            if skipped is None:
                raise fault
            skipped.append(str(fault))
        elif text.strip():
            yield text


def _fields(path: Path) -> Iterator[tuple[int, str | FormatError]]:
    for number, value in json_lines(path):
        if isinstance(value, FormatError):
            yield number, value
        elif isinstance(value, dict) and isinstance(value.get("text"), str):
            yield number, value["text"]
        else:
            yield number, FormatError("there is no text", 'Write {"text": "..."} a line.')


def _cells(path: Path) -> Iterator[tuple[int, str | FormatError]]:
    for number, line in _decoded(path):
        if isinstance(line, FormatError):
            yield number, line
        else:
            for cell in line.split("\t"):
                yield number, cell


def _paragraphs(path: Path) -> Iterator[tuple[int, str | FormatError]]:
    lines: list[str] = []
    number = length = 0
    for number, line in _decoded(path):
        if isinstance(line, FormatError):
            yield number, line
            continue
        if not line.strip() or length > LONGEST:
            yield number, "\n".join(lines)
            lines, length = [], 0
        if line.strip():
            lines.append(line)
            length += len(line)
    yield number, "\n".join(lines)


def _decoded(path: Path) -> Iterator[tuple[int, str | FormatError]]:
    for number, raw in numbered_lines(path):
        if isinstance(raw, FormatError):
            yield number, raw
            continue
        try:
            yield number, decode(raw)
        except FormatError as fault:
            yield number, fault
