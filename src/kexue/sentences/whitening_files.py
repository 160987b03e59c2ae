"""What a fitted whitening is kept in: one file of safetensors, replaced at once.

Post: https://kexue.fm/archives/8069
Axes: D features
"""

import json
import os
from collections.abc import Mapping
from operator import methodcaller
from pathlib import Path
from typing import Any

from kexue._check import invalid
from kexue.sentences.moments import Moments

FILE_NAME = "whitening.safetensors"


def save_statistics(folder: str | Path, moments: Moments, options: Mapping[str, Any]) -> None:
    """Write moments and options; a crash leaves the file that was there.

    Args:
        folder: where `whitening.safetensors` goes; made where it is missing.
        moments: the statistics.
        options: anything that JSON holds, and numbers of numpy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_statistics(folder, Moments(), {"k": 2})
        ...     load_statistics(folder)[1]
        {'k': 2}
    """
    from safetensors.numpy import save

    written = json.dumps(dict(options), default=methodcaller("item"))
    metadata = {"format": "kexue.whitening", "options": written}
    replace_file(Path(folder, FILE_NAME), save(moments.to_arrays(), metadata))


def load_statistics(folder: str | Path) -> tuple[Moments, dict[str, Any]]:
    """Read what `save_statistics` wrote.

    Args:
        folder: where it was written to.

    Returns:
        The moments, and the options.

    Raises:
        ValueError: if there is no such file, or it holds something else.

    Example:
        >>> load_statistics("nowhere")
        Traceback (most recent call last):
        ValueError: folder is 'nowhere'; allowed: a folder with whitening.safetensors, ...
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder, FILE_NAME)
    if not path.is_file():
        allowed = f"a folder with {FILE_NAME}, as save_pretrained writes it"
        raise invalid("folder", str(folder), allowed)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: the file is damaged ({error}). Fit and save anew.") from None
    if metadata.get("format") != "kexue.whitening":
        raise ValueError(f"{path}: these are no statistics of a whitening, but {sorted(arrays)}.")
    return Moments.from_arrays(arrays), json.loads(metadata["options"])


def replace_file(path: Path, content: bytes) -> None:
    """Write a file by way of a temporary one beside it.

    Args:
        path: the file; its folder is made where it is missing.
        content: all of it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replace_file(Path(folder, "a"), b"1")
        ...     Path(folder, "a").read_bytes()
        b'1'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
