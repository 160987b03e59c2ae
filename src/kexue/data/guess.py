"""Tell the format of a file from its content and name."""

import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from kexue.data.conll import TAG
from kexue.data.json_list import is_list, json_list
from kexue.data.records import DataError, FormatError
from kexue.data.source import json_lines, numbered_lines

FORMATS = (
    "jsonl",
    "cluener",
    "cmeee",
    "bio",
    "bioes",
    "bmes",
    "brat",
    "doccano",
    "doccano-label",
    "doccano-labels",
    "label-studio",
    "spans",
    "tokens",
)
_SAMPLE = 200
_SAMPLE_BYTES = 2**20


def head_lines(path: Path) -> list[bytes]:
    """Read the first lines of a file.

    Args:
        path: a plain, gzip or xz file.

    Returns:
        Up to 200 lines or 1 MiB, those that cannot be read left out.
    """
    found: list[bytes] = []
    size = 0
    for _, raw in islice(numbered_lines(path), _SAMPLE):
        if not isinstance(raw, FormatError):
            found.append(raw)
            size += len(raw)
            if size > _SAMPLE_BYTES:
                break
    return found


def guess_format(path: str | Path) -> str:
    r"""Tell the format of a file: each of its first lines has a vote.

    Args:
        path: the file or folder.

    Returns:
        One of `FORMATS`.

    Raises:
        DataError: the file cannot be read, is empty, or looks like none of them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     written = file.write_text("Lake B-place\nComo I-place\n. O\n")
        ...     guess_format(file)
        'bio'
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".ann":
        return "brat"
    if path.exists() and not path.is_file():
        fix = f"Name the format, one of: {', '.join(FORMATS)}."
        raise DataError(path, None, "the format of a pipe cannot be guessed", fix)
    head = head_lines(path)
    as_json, as_tags = _json_format(path, head), _conll_format(head)
    found = max(as_json, as_tags, key=lambda guess: guess[1])
    if found[1]:
        return found[0]
    if path.suffix == ".txt" and path.with_suffix(".ann").exists():
        return "brat"
    if not any(line.strip() for line in head):
        fix = "Write one record a line, or check the path."
        raise DataError(path, None, "the file has no records", fix)
    fix = f"Name the format, one of: {', '.join(FORMATS)}."
    raise DataError(path, None, "the format cannot be told from the content", fix)


def _json_format(path: Path, head: list[bytes]) -> tuple[str, int]:
    """Tell the format of JSON objects, and how many of them there are."""
    items = json_list(path) if is_list(head) else json_lines(path)
    votes: Counter[str] = Counter()
    objects = 0
    for _, item in islice(items, _SAMPLE):
        if isinstance(item, dict):
            name = item_format(item)
            objects += 1
            if name is not None:
                votes[name] += 1
    return votes.most_common(1)[0][0] if votes else "jsonl", objects


def item_format(item: dict[str, Any]) -> str | None:
    """Tell the format of one JSON object.

    Args:
        item: the object.

    Returns:
        One of `FORMATS`; None where the object would fit into several.

    Example:
        >>> item_format({"text": "北京", "label": [[0, 2, "place"]]})
        'doccano-label'
    """
    if "tokens" in item and "text" not in item:
        return "tokens"
    if isinstance(item.get("data"), dict):
        return "label-studio"
    entities = item.get("entities")
    if isinstance(entities, list) and entities:
        return _entities_format(entities[0])
    return _label_format(item)


def _entities_format(first: object) -> str | None:
    if isinstance(first, list):
        return "spans"
    keys = first.keys() if isinstance(first, dict) else set()
    marks = {"start_idx": "cmeee", "start_offset": "doccano", "start": "jsonl"}
    return next((name for key, name in marks.items() if key in keys), None)


def _label_format(item: dict[str, Any]) -> str | None:
    """Tell the formats that keep spans outside `entities`."""
    if isinstance(item.get("label"), dict):
        return "cluener"
    if any(_is_region(value) for value in item.values()):
        return "label-studio"
    for key, name in (("label", "doccano-label"), ("labels", "doccano-labels")):
        value = item.get(key)
        if isinstance(value, list) and (not value or isinstance(value[0], list)):
            return name
    return "jsonl" if {"events", "question", "pair", "choices", "summary"} & item.keys() else None


def _is_region(value: object) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and {"start", "end", "labels"} <= first.keys()


def _conll_format(head: list[bytes]) -> tuple[str, int]:
    """Tell the scheme of tagged lines from the letters that occur, and how many there are."""
    last = [re.split(rb"[ \t]", line)[-1] for line in head if line.strip(b" \t\r")]
    tags = [tag.decode("utf-8", "replace") for tag in last]
    fitting = [tag for tag in tags if TAG.fullmatch(tag)]
    if not fitting or 2 * len(fitting) < len(tags):
        return "bio", 0
    letters = {tag[0] for tag in fitting}
    if "M" in letters:
        return "bmes", len(fitting)
    return ("bioes" if letters & set("ESLU") else "bio"), len(fitting)
