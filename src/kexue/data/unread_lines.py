"""The lines of a file that were not read yet, for work that is killed and goes on."""

import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kexue.data.records import DataError
from kexue.data.text_lines import text_lines


@dataclass(frozen=True)
class ReadingPlace:
    """How far a file was read.

    Attributes:
        lines: number of the last line that was read.
        texts: texts up to there.
        crc: checksum of these texts, so that a changed file is noticed.

    Example:
        >>> ReadingPlace().to_dict()
        {'lines': 0, 'texts': 0, 'crc': 0}
    """

    lines: int = 0
    texts: int = 0
    crc: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give the place as a JSON object.

        Returns:
            The fields by name.
        """
        return asdict(self)


def unread_stretches(
    file: str | Path, place: ReadingPlace, size: int
) -> Iterator[tuple[list[str], ReadingPlace]]:
    r"""Give the texts of a file from a place on.

    Args:
        file: a text a line, or JSON lines, see `text_lines`.
        place: how far it was read.
        size: texts of a stretch at most.

    Yields:
        Some texts, and the place that is reached with them.

    Raises:
        DataError: if a line is broken, or what was read before has changed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     _ = file.write_text("一\n二\n三\n", encoding="utf-8")
        ...     first = next(unread_stretches(file, ReadingPlace(), 2))
        ...     rest = list(unread_stretches(file, first[1], 2))
        >>> first[0], rest[0][0], rest[0][1].texts
        (['一', '二'], ['三'], 3)
    """
    unread = _unread(Path(file), place)
    texts = place.texts
    while stretch := list(islice(unread, size)):
        texts += len(stretch)
        number, _, crc = stretch[-1]
        yield [text for _, text, _ in stretch], ReadingPlace(number, texts, crc)


def _unread(file: Path, place: ReadingPlace) -> Iterator[tuple[int, str, int]]:
    crc, checked = 0, False
    for line in text_lines(file):
        new = line.number > place.lines
        if new and not checked:
            _refuse_changed(file, place, crc)
            checked = True
        crc = zlib.crc32(line.text.encode() + b"\n", crc)
        if new:
            yield line.number, line.text, crc
    if not checked:
        _refuse_changed(file, place, crc)


def _refuse_changed(file: Path, place: ReadingPlace, crc: int) -> None:
    if crc != place.crc:
        raise DataError(
            file,
            None,
            f"its first {place.lines} lines are not those that were read before",
            "Texts may be added at the end of a file; put others into a new file, or begin anew.",
        )
