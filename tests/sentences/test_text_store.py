import sqlite3

import pytest

from kexue.sentences import text_store
from kexue.sentences.text_store import (
    check_texts,
    create_texts,
    fresh_texts,
    insert_texts,
    is_unique,
    read_texts,
)

ODD = ["", " ", "a\nb", "北京😀", "nul\x00inside", "'; DROP TABLE texts", "x" * 100_000]


@pytest.fixture(params=[False, True])
def connection(request):
    made = sqlite3.connect(":memory:")
    create_texts(made, unique=request.param)
    yield made
    made.close()


def test_texts_come_back_as_they_were(connection):
    insert_texts(connection, 0, ODD)
    insert_texts(connection, len(ODD), ["last"])
    expected = dict(enumerate([*ODD, "last"]))
    assert read_texts(connection, expected) == expected
    assert read_texts(connection, [3, 3, 1]) == {1: " ", 3: ODD[3]}
    assert read_texts(connection, []) == {}


def test_more_texts_than_one_statement_takes(connection, monkeypatch):
    monkeypatch.setattr(text_store, "_AT_ONCE", 7)
    texts = [f"text {i}" for i in range(40)]
    insert_texts(connection, 0, texts)
    assert read_texts(connection, range(40)) == dict(enumerate(texts))
    if is_unique(connection):
        assert fresh_texts(connection, [*texts, "new", *texts, "new"]) == [40]


def test_only_the_first_of_equal_texts_is_fresh():
    connection = sqlite3.connect(":memory:")
    create_texts(connection, unique=True)
    insert_texts(connection, 0, ["a", "b"])
    assert fresh_texts(connection, ["c", "b", "c", "A", "a", "", ""]) == [0, 3, 5]
    assert fresh_texts(connection, []) == []
    connection.close()


def test_the_table_itself_refuses_a_second_one():
    connection = sqlite3.connect(":memory:")
    create_texts(connection, unique=True)
    insert_texts(connection, 0, ["a"])
    with pytest.raises(sqlite3.IntegrityError):
        insert_texts(connection, 1, ["a"])
    with pytest.raises(sqlite3.IntegrityError):
        insert_texts(connection, 0, ["b"])
    connection.close()


def test_it_is_known_whether_texts_are_unique(connection):
    tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert is_unique(connection) == (("hashes",) in tables)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("ab", "a list of texts. Write"),
        (["a"], "texts are 1, vectors are 2. Give one vector"),
        (["a", 3], r"texts\[1\] is 3; allowed: a text"),
        (["a", None], r"texts\[1\] is None"),
        (["\ud83d", "b"], r"texts\[0\] .* half surrogate pairs. Read the file as UTF-8"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        check_texts(texts, 2)
    assert check_texts(("a", "b"), 2) == ["a", "b"]
