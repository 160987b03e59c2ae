"""Folders of ours: made whole or not at all, and known again when they are opened.

A folder is filled under another name and then renamed, so that a crash leaves none or all of it.
Its manifest says in JSON what it is and which version of the format it has.

Post: https://kexue.fm/archives/8069
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Give a hidden folder to fill, which takes its name once the block has ended well.

    Args:
        folder: what it will be called; missing or empty. Folders above it are made.

    Yields:
        The folder to fill.

    Raises:
        ValueError: if there is a file of that name, or something in a folder of that name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as above:
        ...     with new_folder(Path(above, "index")) as inside:
        ...         write_manifest(inside / "a.json", "letters", 1, {"count": 26})
        ...     read_manifest(Path(above, "index"), "a.json", "letters", 1)
        {'count': 26}
    """
    folder = Path(folder)
    _refuse_taken(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.tmp")
    # Only a process of the same number that was killed can have left it.
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir()
    try:
        yield hidden
        if folder.exists():
            folder.rmdir()
        hidden.rename(folder)
        sync_folder(folder.absolute().parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _refuse_taken(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: this is a file. Name a folder that does not exist yet.")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"{folder}: the folder is not empty. Name a new one, or open the one that is there."
        )


def sync_folder(folder: Path) -> None:
    """Make names that were given in a folder outlive a loss of power.

    Args:
        folder: the folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sync_folder(Path(folder))
    """
    # Windows cannot open a folder, and needs no such call.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_manifest(path: Path, kind: str, version: int, fields: Mapping[str, Any]) -> None:
    """Write what a folder is, into a folder that is being made.

    Args:
        path: the file.
        kind: what the folder is, in words.
        version: of the format.
        fields: JSON values.

    Raises:
        ValueError: if a field is no JSON value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_manifest(Path(folder, "a.json"), "letters", 1, {"count": {26}})
        Traceback (most recent call last):
        ValueError: fields ... cannot be written as JSON: ...
    """
    try:
        text = json.dumps({"format": kind, "version": version, **fields}, ensure_ascii=False)
    except TypeError as error:
        raise ValueError(f"fields {fields!r} cannot be written as JSON: {error}.") from None
    with path.open("wb") as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
        stream.flush()
        os.fsync(stream.fileno())


def read_manifest(folder: str | Path, name: str, kind: str, version: int) -> dict[str, Any]:
    """Read what a folder is, and refuse one of another kind or from the future.

    Args:
        folder: the folder.
        name: of the manifest in it.
        kind: what the folder must be.
        version: the newest that can be read.

    Returns:
        The fields.

    Raises:
        ValueError: if there is no such folder, it is something else, it is damaged, or newer.

    Example:
        >>> read_manifest("runs/none", "a.json", "letters", 1)
        Traceback (most recent call last):
        ValueError: runs/none: there is no such folder. Check the path, or make one first.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "this is a file, no folder" if folder.exists() else "there is no such folder"
        raise ValueError(f"{folder}: {what}. Check the path, or make one first.")
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{folder}: this is no {kind}: it has no {name}. Check the path.")
    try:
        found = json.loads(path.read_text("utf-8"))
        said, number = found.pop("format"), found.pop("version")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ValueError(f"{path}: the file is damaged. Make the {kind} anew.") from None
    if said != kind:
        raise ValueError(f"{folder}: this is a {said}, no {kind}. Check the path.")
    if not isinstance(number, int) or number > version:
        raise ValueError(
            f"{folder}: this {kind} has version {number}; this kexue reads up to {version}. "
            "Update kexue (pip install --upgrade kexue)."
        )
    return found
