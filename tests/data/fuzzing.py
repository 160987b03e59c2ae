"""Damaged files for every format, the same ones for the same seed, and what must survive."""

import io
import json
import random
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kexue.data import FORMATS, Record, write

LINES = ("jsonl", "cluener", "doccano", "doccano-label", "doccano-labels", "spans", "tokens")
TAGGED = ("bio", "bioes", "bmes")
LISTS = ("cmeee", "label-studio")
_HAN = "北京上海天地人山水日月风云在的了和去来看书大小王李张"
_WORDS = ("Rome", "Lake", "Como", "Dr", "Who", "B2", "in", "of", "and", "née", "I", "9", "😀")
_LABELS = ("place", "person", "Thing-Nominal", "数")


def make_records(rng: random.Random, format: str) -> list[Record]:
    """Make records that the format can hold: with nesting and relations where it can."""
    chinese = format != "tokens" and rng.random() < 0.6
    return [_record(rng, format, chinese, number) for number in range(rng.randint(4, 14))]


def _record(rng: random.Random, format: str, chinese: bool, number: int) -> Record:
    pool: tuple[str, ...] = tuple(_HAN) if chinese else _WORDS
    units = [rng.choice(pool) for _ in range(rng.randint(3, 12))]
    joiner = "" if chinese else " "
    starts = [sum(len(unit) + len(joiner) for unit in units[:at]) for at in range(len(units))]
    entities, free = [], 0
    flat = format in TAGGED
    for _ in range(rng.randint(0, 4)):
        first = rng.randrange(free, len(units)) if free < len(units) else len(units)
        last = min(first + rng.randint(0, 3), len(units) - 1)
        if first > last:
            break
        span = {"start": starts[first], "end": starts[last] + len(units[last])}
        entities.append({**span, "label": rng.choice(_LABELS)})
        free = last + 1 if flat else 0
    if format == "cluener":  # the format groups entities; start from the order it gives back
        entities.sort(key=json.dumps)
    item = {"text": joiner.join(units), "entities": entities}
    if format in ("jsonl", "doccano", "label-studio", "spans", "brat") and len(entities) > 1:
        item["relations"] = [{"head": 0, "tail": len(entities) - 1, "label": "with"}]
    if format in ("jsonl", "cmeee", "tokens") and rng.random() < 0.5:
        item["id"] = number
    return Record.model_validate(item)


@dataclass(frozen=True)
class Damaged:
    """A damaged file or folder.

    Args:
        name: the format and the damage.
        format: the format.
        joiner: what stands between the tokens.
        files: relative path to content; a single file for all formats but brat.
        original: the same before the damage.
    """

    name: str
    format: str
    joiner: str
    files: dict[str, bytes]
    original: dict[str, bytes]

    def save(self, folder: Path, *, damaged: bool = True) -> Path:
        """Write the file, or the folder of files, and give its path."""
        root = folder / ("damaged" if damaged else "original")
        root.mkdir(parents=True)
        for name, content in (self.files if damaged else self.original).items():
            (root / name).write_bytes(content)
        return root if self.format == "brat" else root / next(iter(self.original))

    def untouched(self) -> list[int]:
        """Find the places (in order, counted from 0) of the original that the damage left alone."""
        if self.format == "brat":
            stems = sorted({Path(name).stem for name in self.original})
            pairs = [(f"{stem}.txt", f"{stem}.ann") for stem in stems]
            return [
                at
                for at, names in enumerate(pairs)
                if all(self.files.get(name) == self.original[name] for name in names)
            ]
        before = units(next(iter(self.original.values())), self.format)
        after = units(next(iter(self.files.values())), self.format)
        return _common(before, after)


def units(content: bytes, format: str) -> list[bytes]:
    """Cut a file into what holds one record each: lines, or sentences between blank lines."""
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    if format in TAGGED:
        blocks: list[bytes] = []
        current: list[bytes] = []
        for line in [*lines, b""]:
            if line.strip(b" \t"):
                current.append(line)
            elif current:
                blocks.append(b"\n".join(current))
                current = []
        return blocks
    if format in LISTS:
        lines = [line.removesuffix(b",") for line in lines]
        return [line for line in lines if line not in (b"[", b"]", b"")]
    return [line for line in lines if line.strip()]


def _common(before: list[bytes], after: list[bytes]) -> list[int]:
    """The places of `before` that stand in `after` in the same order, by greedy search."""
    found, at = [], 0
    for place, unit in enumerate(before):
        try:
            at = after.index(unit, at) + 1
        except ValueError:
            continue
        found.append(place)
    return found


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    piece = rng.choice(
        [b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\\ud800", b'"',
         b"{", b"]", b"\n", b"\r", b"\t", b"\xe2\x80\xa8", b"\\u0000", b"\x1b[31m"]
    )  # fmt: skip
    return data[:at] + piece + data[at:]


def _at_start(rng: random.Random, data: bytes) -> bytes:
    return rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\n\n", b"[", b"\x1f\x8b"]) + data


def _wrong_type(rng: random.Random, data: bytes) -> bytes:
    wrong = [b'"3"', b"null", b"true", b"[]", b"{}", b"1.5", b"-1", b"99999", b"NaN", b"-Infinity",
             b"1e999", b"1" * 5000, b"[" * 400 + b"]" * 400, b"[" * 100000, b"0"]  # fmt: skip
    found = [*re.finditer(rb"\b\d+\b|\"[^\"\n]*\"|\[[^\[\]\n]*\]", data)]
    if not found:
        return data + rng.choice(wrong)
    spot = rng.choice(found)
    return data[: spot.start()] + rng.choice(wrong) + data[spot.end() :]


def _swap_offsets(rng: random.Random, data: bytes) -> bytes:
    found = [*re.finditer(rb"(\d+)([^\d\n]{1,14})(\d+)", data)]
    if not found:
        return _flip(rng, data)
    spot = rng.choice(found)
    return data[: spot.start()] + spot[3] + spot[2] + spot[1] + data[spot.end() :]


def _lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 1:
        del lines[one]
    elif kind == 2:
        lines[one] += lines[other]
    elif kind == 3:
        lines.insert(
            one, rng.choice([b"null", b"[]", b'"text"', b"{}", b'{"text": 3}', b"x", b" "])
        )
    else:
        lines[one] = lines[one][: rng.randint(0, len(lines[one]))]
    return b"\n".join(lines)


def _keys(rng: random.Random, data: bytes) -> bytes:
    found = [*re.finditer(rb'"(\w+)":', data)]
    if not found:
        return _lines(rng, data)
    spot = rng.choice(found)
    new = rng.choice(
        [b'"text": "again", ' + spot[0], b'"Text":', b'"":', b'"entities": [], ' + spot[0]]
    )
    return data[: spot.start()] + new + data[spot.end() :]


def _crlf(rng: random.Random, data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def _twice(rng: random.Random, data: bytes) -> bytes:
    damaged = data
    for _ in range(rng.randint(2, 4)):
        damaged = rng.choice(DAMAGES)(rng, damaged) if damaged else damaged
    return damaged


DAMAGES = (_flip, _truncate, _insert, _at_start, _wrong_type, _swap_offsets, _lines, _keys, _crlf)


def _pristine(rng: random.Random, format: str) -> tuple[dict[str, bytes], str]:
    """Write good records and give the files and the joiner."""
    records = make_records(rng, format)
    joiner = "" if rng.random() < 0.5 or " " not in records[0].text else " "
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data")
        write(records, path, format=format, joiner=joiner)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return {file.name: file.read_bytes() for file in files}, joiner


def damaged_files(count: int, *, seed: int = 0) -> Iterator[Damaged]:
    """Make damaged files, all formats and kinds of damage in turn."""
    kinds = (*DAMAGES, _twice)
    for number in range(count):
        rng = random.Random(seed * 1_000_003 + number)
        format = FORMATS[number % len(FORMATS)]
        kind = kinds[number // len(FORMATS) % len(kinds)]
        original, joiner = _pristine(rng, format)
        files = dict(original)
        name = rng.choice([name for name in original if original[name]])
        files[name] = kind(rng, files[name])
        yield Damaged(f"{number} {format}{kind.__name__}", format, joiner, files, original)


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    """Whether all of a list stands in another one in the same order."""
    rest = iter(whole)
    return all(item in rest for item in part)


def dumped(records: list[Record]) -> list[str]:
    """Give records in a form that compares types and keys too."""
    stream = io.StringIO()
    found = []
    for record in records:
        json.dump(record.to_dict(), stream, sort_keys=True)
        found.append(stream.getvalue())
        stream.seek(0)
        stream.truncate()
    return found
