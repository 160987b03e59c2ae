"""Reading and writing an SQLite file in transactions that survive kill -9 and loss of power.

Every call opens the file anew, which costs a tenth of a millisecond and makes what is built upon it
safe in threads and after a fork, with nothing to close.

Post: https://kexue.fm/archives/8069
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_PATIENCE = 60.0  # seconds to wait for another process that writes


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a file as it is at one moment.

    Args:
        path: an existing SQLite file.

    Yields:
        A connection.

    Raises:
        ValueError: if the file is missing, damaged or kept busy.

    Example:
        >>> with reading(Path("runs/none.sqlite")) as connection:
        ...     pass
        Traceback (most recent call last):
        ValueError: runs/none.sqlite: unable to open database file. ...
    """
    yield from _transaction(path, "BEGIN")


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Write in one transaction, alone: all of it counts once the block has ended, or nothing.

    Args:
        path: an existing file, of SQLite or empty.

    Yields:
        A connection that no other writer can disturb.

    Raises:
        ValueError: if the file cannot be written, or another process keeps it busy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.sqlite")
        ...     path.touch()
        ...     with writing(path) as connection:
        ...         _ = connection.execute("CREATE TABLE a (b)")
        ...         _ = connection.execute("INSERT INTO a VALUES (7)")
        ...     with reading(path) as connection:
        ...         connection.execute("SELECT b FROM a").fetchall()
        [(7,)]
    """
    yield from _transaction(path, "BEGIN IMMEDIATE")


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Let one process at a time do something; a kill releases the lock.

    Args:
        path: the file of the lock, to which nothing is written.
        doing: what is done to the folder, for the message to the second process.

    Yields:
        Nothing.

    Raises:
        ValueError: if another process is at it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = Path(folder, "lock")
        ...     with alone(lock, "counting"), alone(lock, "counting"):
        ...         pass
        Traceback (most recent call last):
        ValueError: ...: another process is counting. Wait for its end.
    """
    path.touch()
    opened = sqlite3.connect(path, timeout=0.0, isolation_level=None)
    with closing(opened) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            raise ValueError(
                f"{path.parent}: another process is {doing}. Wait for its end."
            ) from None
        yield


def _transaction(path: Path, begin: str) -> Iterator[sqlite3.Connection]:
    # A file that is missing must not come into being, empty, by being opened.
    place = f"{path.absolute().as_uri()}?mode=rw"
    try:
        opened = sqlite3.connect(place, uri=True, timeout=_PATIENCE, isolation_level=None)
        with closing(opened) as connection:
            # A journal that was deleted must stay deleted when the power goes.
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    except sqlite3.Error as error:
        raise ValueError(f"{path}: {error}. {_advice(str(error))}") from None


def _advice(message: str) -> str:
    if "locked" in message:
        return f"Another process has been writing for {_PATIENCE:.0f} seconds; wait for its end."
    if "full" in message:
        return "Make room; what was written before is kept."
    if "readonly" in message or "unable to open" in message:
        return "Check the path and the permissions."
    return "The file is damaged; take it from a backup, or make it anew."
