import pytest

from kexue.data import DataError, Record, read, write
from kexue.data.conll_writing import choose_joiner, encode
from kexue.data.records import FormatError


def record(text, *spans, **further):
    entities = [{"start": s, "end": e, "label": label} for s, e, label in spans]
    return Record.model_validate({"text": text, "entities": entities, **further})


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("bio", ["B-p", "I-p", "I-p", "O", "B-q"]),
        ("bioes", ["B-p", "I-p", "E-p", "O", "S-q"]),
        ("bmes", ["B-p", "M-p", "E-p", "O", "S-q"]),
    ],
)
def test_schemes(scheme, tags):
    lines = list(encode(record("北京市的人", (4, 5, "q"), (0, 3, "p")), scheme, ""))
    assert lines == [*(f"{c}\t{t}" for c, t in zip("北京市的人", tags, strict=True)), ""]
    words = list(encode(record("New York City is big", (0, 13, "p"), (17, 20, "q")), scheme, " "))
    assert [line.split("\t")[1] for line in words[:-1]] == tags


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (record("北京市", (0, 3, "p"), (0, 2, "q")), "overlap"),
        (record("北京市", (0, 2, "p"), (1, 3, "q")), "overlap"),
        (record("北京市", (0, 2, "p"), (0, 2, "p")), "overlap"),
        (record(""), "is empty"),
        (record("a\nb"), "cannot hold"),
        (record("a\tb"), "cannot hold"),
        (record("a\0b"), "cannot hold"),
        (record("\ufeffab"), "cannot hold"),
        (record("ab", (0, 1, "a\tb")), "breaks a line or a column"),
        (record("ab", (0, 1, "a\nb")), "breaks a line or a column"),
        (record("ab", (0, 1, "a\r")), "breaks a line or a column"),
        (record("ab", id=7), "no place for id"),
        (record("ab", label="class"), "no place for label"),
        (record("ab", summary="s", pair="p"), "no place for pair, summary"),
        (record("ab", columns=[["x"]]), "columns is"),
        (record("ab", columns="x"), "columns is"),
        (record("ab", columns=[["x"], ["y\t"]]), "columns is"),
        (record("ab", comments=["no comment"]), "comments is"),
        (record("ab", comments=3), "comments is"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, given, reason):
    with pytest.raises(DataError) as caught:
        write([record("甲", (0, 1, "p")), given], tmp_path / "out", format="bioes", joiner="")
    assert caught.value.line == 2
    assert reason in caught.value.reason
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (record("I love Paris.", (7, 12, "p")), "'Paris' [7, 12) cuts a token"),
        (record("two  spaces"), "two spaces in a row"),
        (record(" edge"), "two spaces in a row"),
        (record("-DOCSTART- is a mark"), "-DOCSTART-"),
    ],
)
def test_words_need_single_spaces(given, reason):
    with pytest.raises(FormatError) as caught:
        list(encode(given, "bio", " "))
    assert reason in caught.value.reason


def test_characters_hold_what_words_do_not(tmp_path):
    given = [record("I love  Paris.", (8, 13, "p"))]
    write(given, tmp_path / "out", format="bmes", joiner="")
    assert read(tmp_path / "out").records == given


def test_nothing_is_dropped_unless_named(tmp_path):
    given = [record("北京", (0, 2, "p"), id=7, genre="x")]
    with pytest.raises(DataError, match="--drop"):
        write(given, tmp_path / "out", format="bio")
    assert write(given, tmp_path / "out", format="bio", drop=["id", "genre"]) == 1
    assert read(tmp_path / "out").records == [record("北京", (0, 2, "p"))]


def test_the_joiner_follows_the_letters():
    assert choose_joiner([record("我在北京 with friends")]) == " "
    assert choose_joiner([record("我在北京天安门广场 OK")]) == ""
    assert choose_joiner([record("Hello there")]) == " "
