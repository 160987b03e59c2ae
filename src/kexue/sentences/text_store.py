"""The texts of an index, in the same SQLite file and the same transaction as its vectors' count.

Post: https://kexue.fm/archives/8069
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence

from kexue._check import invalid

_AT_ONCE = 500  # SQLite before 3.32 takes 999 values in one statement


def create_texts(connection: sqlite3.Connection, *, unique: bool) -> None:
    """Make the table.

    Args:
        connection: in a transaction.
        unique: whether a text may stand in it once only.

    Example:
        >>> connection = sqlite3.connect(":memory:")
        >>> create_texts(connection, unique=True)
        >>> insert_texts(connection, 0, ["a", "b"])
        >>> fresh_texts(connection, ["b", "c", "c"]), read_texts(connection, [1])
        ([1], {1: 'b'})
        >>> connection.close()
    """
    connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    if unique:
        connection.execute("CREATE TABLE hashes (hash BLOB PRIMARY KEY) WITHOUT ROWID")


def check_texts(texts: Sequence[str], count: int) -> list[str]:
    """Check texts against what can be stored.

    Args:
        texts: the texts.
        count: how many there must be.

    Returns:
        The texts as a list.

    Raises:
        ValueError: if it is a single text, another number, not text, or half a character.

    Example:
        >>> check_texts(["a"], 2)
        Traceback (most recent call last):
        ValueError: texts are 1, vectors are 2. Give one vector for each text.
    """
    if isinstance(texts, str):
        raise invalid("texts", texts, "a list of texts", "Write [text] for a single one.")
    texts = list(texts)
    if len(texts) != count:
        raise ValueError(
            f"texts are {len(texts)}, vectors are {count}. Give one vector for each text."
        )
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            raise invalid(f"texts[{at}]", text, "a text")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            fix = "Read the file as UTF-8, or leave the text out."
            allowed = "a text without half surrogate pairs"
            raise invalid(f"texts[{at}]", text, allowed, fix) from None
    return texts


def fresh_texts(connection: sqlite3.Connection, texts: Sequence[str]) -> list[int]:
    """Choose the texts that are not there yet; of those that are twice among them, the first.

    Args:
        connection: in a transaction, to a table of unique texts.
        texts: the texts.

    Returns:
        Their places among the given ones, rising.
    """
    hashes = list(map(_hash, texts))
    known: set[bytes] = set()
    for part in _parts(hashes):
        query = f"SELECT hash FROM hashes WHERE hash IN ({_marks(part)})"
        known.update(found for (found,) in connection.execute(query, part))
    fresh: dict[bytes, int] = {}
    for at, value in enumerate(hashes):
        if value not in known:
            fresh.setdefault(value, at)
    return list(fresh.values())


def insert_texts(connection: sqlite3.Connection, first: int, texts: Sequence[str]) -> None:
    """Write texts behind the others.

    Args:
        connection: in a transaction.
        first: the number of the first of them.
        texts: the texts.
    """
    connection.executemany("INSERT INTO texts VALUES (?, ?)", enumerate(texts, first))
    if is_unique(connection):
        hashes = [(_hash(text),) for text in texts]
        connection.executemany("INSERT INTO hashes VALUES (?)", hashes)


def is_unique(connection: sqlite3.Connection) -> bool:
    """Tell whether a text may stand in the table once only.

    Args:
        connection: in a transaction.

    Returns:
        Whether it may.
    """
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'hashes'"
    return connection.execute(query).fetchone()[0] == 1


def read_texts(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, str]:
    """Read texts by their numbers.

    Args:
        connection: in a transaction.
        ids: the numbers.

    Returns:
        The texts by number.
    """
    found: dict[int, str] = {}
    for part in _parts(sorted(set(ids))):
        query = f"SELECT id, text FROM texts WHERE id IN ({_marks(part)})"
        found.update(connection.execute(query, part))
    return found


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()


def _parts(values: list) -> Iterable[list]:
    return (values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE))


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
