"""Write a file so that it is the old one or the new one at any time."""

import os
import shutil
from pathlib import Path


def write_atomically(path: str | Path, text: str) -> None:
    """Write a text file by way of a temporary one beside it.

    A crash leaves the file as it was. Its folder is made where it is missing; the rights of a file
    that is replaced are kept. A lone surrogate, which no UTF-8 can hold, is written as its escape.

    Args:
        path: the file.
        text: all of its content.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder, "a.txt"), "好")
        ...     Path(folder, "a.txt").read_text("utf-8")
        '好'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(text.encode("utf-8", "backslashreplace"))
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
