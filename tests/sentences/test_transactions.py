import sqlite3
import threading

import pytest

from kexue.sentences import transactions
from kexue.sentences.transactions import alone, reading, writing


@pytest.fixture
def numbers(tmp_path):
    path = tmp_path / "数.sqlite"
    path.touch()
    with writing(path) as connection:
        connection.execute("CREATE TABLE numbers (value)")
    return path


def insert(path, value):
    with writing(path) as connection:
        connection.execute("INSERT INTO numbers VALUES (?)", (value,))


def values(path):
    with reading(path) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM numbers")]


def test_what_is_written_is_read(numbers):
    insert(numbers, 1)
    insert(numbers, 2)
    assert values(numbers) == [1, 2]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, ValueError])
def test_an_error_takes_everything_back(numbers, error):
    def fail():
        with writing(numbers) as connection:
            connection.execute("INSERT INTO numbers VALUES (1)")
            raise error

    with pytest.raises(error):
        fail()
    assert values(numbers) == []


def test_a_reader_sees_one_moment(numbers):
    insert(numbers, 1)
    with reading(numbers) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (1,)
        with sqlite3.connect(numbers, timeout=0, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO numbers VALUES (2)")
            assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (1,)
            other.execute("ROLLBACK")
        other.close()


def test_writers_wait_for_each_other(numbers):
    def add():
        with writing(numbers) as connection:
            (most,) = connection.execute("SELECT coalesce(max(value), 0) FROM numbers").fetchone()
            connection.execute("INSERT INTO numbers VALUES (?)", (most + 1,))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(numbers) == list(range(1, 9))


def test_a_busy_file_says_so(numbers, monkeypatch):
    monkeypatch.setattr(transactions, "_PATIENCE", 0.01)
    with writing(numbers), pytest.raises(ValueError, match=r"locked. Another process has been"):
        insert(numbers, 1)
    insert(numbers, 2)
    assert values(numbers) == [2]


def test_a_missing_file_does_not_come_into_being(tmp_path):
    for way in (reading, writing):
        missing = pytest.raises(ValueError, match=r"unable to open database file. Check the path")
        with missing, way(tmp_path / "none"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named(tmp_path, numbers):
    path = tmp_path / "damaged"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match=r"damaged: file is not a database. The file is damaged"):
        values(path)
    other = pytest.raises(ValueError, match=r"no such table: letters. The file is damaged")
    with other, reading(numbers) as connection:
        connection.execute("SELECT * FROM letters")


def test_full_disks_and_rights_have_their_own_advice():
    assert "Make room" in transactions._advice("database or disk is full")
    assert "permissions" in transactions._advice("attempt to write a readonly database")


def test_one_at_a_time(tmp_path):
    lock = tmp_path / "lock"
    busy = pytest.raises(ValueError, match=rf"{tmp_path.name}: another process is knitting. Wait")
    with alone(lock, "knitting"), busy, alone(lock, "knitting"):
        pass
    with pytest.raises(KeyError), alone(lock, "knitting"):
        raise KeyError
    with alone(lock, "knitting"):
        assert lock.stat().st_size == 0
