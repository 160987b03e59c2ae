"""Write records in any of the formats, atomically."""

import gzip
import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from kexue._check import invalid
from kexue.data import (
    brat_writing,
    cluener,
    cmeee,
    conll_writing,
    doccano,
    jsonl,
    label_studio,
    span_lists,
    tokens,
)
from kexue.data.guess import FORMATS
from kexue.data.reading import spans_past_the_end
from kexue.data.records import DataError, FormatError, Record

_ENCODE = {
    "jsonl": jsonl.encode,
    "cluener": cluener.encode,
    "cmeee": cmeee.encode,
    "doccano": doccano.encode,
    "doccano-label": doccano.encode_label,
    "doccano-labels": doccano.encode_labels,
    "label-studio": label_studio.encode,
    "spans": span_lists.encode,
    "tokens": tokens.encode,
}
_LISTS = ("cmeee", "label-studio")  # one JSON list, not one object a line


def write(
    records: Iterable[Record],
    path: str | Path,
    *,
    format: str = "jsonl",
    joiner: str | None = None,
    drop: Iterable[str] = (),
) -> int:
    """Write records to a file, or to a folder of brat files.

    The file appears complete or not at all. What the format has no place for is an error that names
    the record, unless it is named in `drop`.

    Args:
        records: the records; a `Corpus` will do.
        path: where to; the endings .gz and .xz compress. For brat a new folder, or one .ann file.
        format: one of `FORMATS`.
        joiner: for CoNLL, `""` writes a token a character, `" "` a token a word; None decides as
            reading does.
        drop: names of fields and further keys to leave out, `entities.id` for a key of entities.

    Returns:
        The number of records written.

    Raises:
        DataError: a record does not fit into the format, or the path cannot be written to.
        ValueError: the format has no such name.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.json")
        ...     write([Record(text="北京", entities=[dict(start=0, end=2, label="p")])], file,
        ...           format="cluener")
        ...     print(file.read_text("utf-8"), end="")
        1
        {"text": "北京", "label": {"p": {"北京": [[0, 1]]}}}
    """
    path = Path(path)
    if format not in FORMATS:
        raise invalid("format", format, ", ".join(FORMATS))
    if joiner not in (None, "", " "):
        raise invalid("joiner", joiner, "None, '' or ' '")
    names = frozenset(drop)
    if "text" in names:
        raise invalid("drop", "text", "any name but text")
    kept = (_without(record, names) for record in records) if names else records
    try:
        if format == "brat":
            return _write_brat(kept, path)
        if format in conll_writing.SCHEMES:
            return _write_lines(_conll(list(kept), path, format, joiner), path)
        return _write_lines(_json(kept, path, format), path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _without(record: Record, names: frozenset[str]) -> Record:
    """Copy a record without the named keys; `entities.id` speaks of the key of its entities."""
    item = record.to_dict()
    for name in names:
        owner, _, key = name.partition(".")
        if not key:
            item.pop(owner, None)
        elif isinstance(item.get(owner), list):
            for part in item[owner]:
                part.pop(key, None)
    if "entities" in names:
        item.pop("relations", None)
    return Record.model_validate(item)


def _checked(records: Iterable[Record], path: Path) -> Iterator[tuple[int, Record]]:
    for number, record in enumerate(records, 1):
        for owner, start, end in spans_past_the_end(record):
            size = len(record.text)
            reason = f"{owner} [{start}, {end}) ends after the text, which has {size} characters"
            raise DataError(path, number, reason, "Correct the offsets, or repair the records.")
        yield number, record


def _json(records: Iterable[Record], path: Path, name: str) -> Iterator[tuple[bytes, int]]:
    """Encode record by record, as lines or as the items of one list."""
    as_list = name in _LISTS
    first = True
    for number, record in _checked(records, path):
        try:
            item = _ENCODE[name](record)
            text = json.dumps(item, ensure_ascii=False, allow_nan=False)
            line = text.encode("utf-8")
        except FormatError as fault:
            raise DataError(path, number, _of(number, fault.reason), fault.fix) from None
        except (ValueError, TypeError, RecursionError) as error:
            fix = "Keep to strings, finite numbers, lists and objects."
            raise DataError(path, number, _of(number, f"is no JSON ({error})"), fix) from None
        lead = (b"[\n" if first else b",\n") if as_list else b""
        yield lead + line + (b"" if as_list else b"\n"), 1
        first = False
    if as_list:
        yield (b"[]\n" if first else b"\n]\n"), 0


def _of(number: int, reason: str) -> str:
    return f"record {number}: {reason}"


def _conll(
    records: list[Record], path: Path, scheme: str, joiner: str | None
) -> Iterator[tuple[bytes, int]]:
    if joiner is None:
        joiner = conll_writing.choose_joiner(records)
    for number, record in _checked(records, path):
        try:
            lines = "\n".join([*conll_writing.encode(record, scheme, joiner), ""])
            yield lines.encode("utf-8"), 1
        except FormatError as fault:
            raise DataError(path, number, _of(number, fault.reason), fault.fix) from None
        except UnicodeEncodeError:
            raise _surrogate(path, number) from None


def _surrogate(path: Path, number: int) -> DataError:
    reason = _of(number, "the text has half a surrogate pair, which is no character")
    return DataError(path, number, reason, "Delete it.")


def _write_lines(chunks: Iterator[tuple[bytes, int]], path: Path) -> int:
    """Write to a neighbour of the file, then put it in its place."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    count = 0
    try:
        with os.fdopen(handle, "wb") as raw, _compressed(raw, path.suffix) as stream:
            for chunk, records in chunks:
                stream.write(chunk)
                count += records
        _publish(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return count


def write_text(text: str, path: Path) -> None:
    """Write a text file, atomically.

    Args:
        text: its content.
        path: where to.

    Raises:
        DataError: the path cannot be written to.
    """
    try:
        _write_lines(iter([(text.encode("utf-8", "backslashreplace"), 1)]), path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> DataError:
    fix = "Check the folder, its permissions and the space on the disk."
    return DataError(path, None, f"cannot be written ({error})", fix)


def _compressed(raw: BinaryIO, suffix: str) -> BinaryIO:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw, mode="wb")
    if suffix == ".xz":
        return lzma.LZMAFile(raw, "wb")
    return raw


def _publish(name: str, path: Path) -> None:
    """Give the file the permissions that a newly opened one would have, and its name."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(name, 0o666 & ~mask)
    os.replace(name, path)


def _write_brat(records: Iterable[Record], path: Path) -> int:
    """Write a folder, or the two files of one record."""
    single = path.suffix == ".ann"
    if not single and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(path, None, "there is something already", "Name a new folder.")
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        count = _fill(folder, records, path, single)
        if single:
            for suffix in (".txt", ".ann"):
                _publish(str(folder / f"{path.stem}{suffix}"), path.with_suffix(suffix))
        else:
            mask = os.umask(0)
            os.umask(mask)
            folder.chmod(0o777 & ~mask)
            os.replace(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return count


def _fill(folder: Path, records: Iterable[Record], path: Path, single: bool) -> int:
    taken: set[str] = set()
    number = 0
    for number, record in _checked(records, path):
        try:
            name = path.stem if single else brat_writing.file_name(record, number, taken)
            contents = [part.encode("utf-8") for part in brat_writing.encode(record)]
            if single and number > 1:
                raise FormatError("one .ann file holds one record", "Name a new folder.")
        except FormatError as fault:
            raise DataError(path, number, _of(number, fault.reason), fault.fix) from None
        except UnicodeEncodeError:
            raise _surrogate(path, number) from None
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        for suffix, content in zip((".txt", ".ann"), contents, strict=True):
            target.with_name(target.name + suffix).write_bytes(content)
    return number
