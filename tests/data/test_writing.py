import gzip
import json
import lzma
import os
import stat

import pytest

from kexue.data import FORMATS, DataError, Entity, Record, read, write
from kexue.data.writing import write_text

RECORD = Record(text="北京 在 哪", entities=[Entity(start=0, end=2, label="place")])
LONG = Record(text="北京", entities=[Entity(start=0, end=9, label="place")])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "bad",
    [
        LONG,
        Record(text="a\ud800b", entities=[]),
        Record.model_validate({"text": "ab", "id": float("nan")}),
        Record.model_validate({"text": "ab", "id": {1, 2}}),
    ],
)
def test_nothing_appears_unless_everything_fits(tmp_path, format, bad):
    with pytest.raises(DataError) as caught:
        write([RECORD, bad], tmp_path / "out", format=format)
    assert caught.value.line == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_an_iterator_is_enough(tmp_path, format):
    assert write(iter([RECORD, RECORD]), tmp_path / "out", format=format) == 2
    assert len(read(tmp_path / "out")) == 2


def test_an_old_file_stays_whole_until_the_new_one_is(tmp_path):
    path = tmp_path / "a.jsonl"
    write([RECORD], path)
    before = path.read_bytes()

    def breaks():
        yield RECORD
        assert path.read_bytes() == before
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write(breaks(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert write([RECORD, RECORD], path) == 2
    assert len(read(path)) == 2


def test_a_file_can_be_written_onto_itself(tmp_path):
    path = tmp_path / "a.jsonl"
    write([RECORD], path)
    write(read(path), path)
    assert read(path).records == [RECORD]


def test_the_new_file_has_the_usual_permissions(tmp_path):
    write([RECORD], tmp_path / "a")
    (tmp_path / "plain").write_text("")
    write([RECORD], tmp_path / "folder", format="brat")
    (tmp_path / "plain folder").mkdir()
    for ours, usual in (("a", "plain"), ("folder", "plain folder")):
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (ours, usual)]
        assert modes[0] == modes[1]


def test_endings_compress(tmp_path):
    write([RECORD], tmp_path / "a.jsonl.gz")
    write([RECORD], tmp_path / "a.jsonl.xz")
    line = (json.dumps(RECORD.to_dict(), ensure_ascii=False) + "\n").encode()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == line
    assert lzma.decompress((tmp_path / "a.jsonl.xz").read_bytes()) == line


@pytest.mark.parametrize("format", ["jsonl", "bio", "brat", "cmeee"])
def test_a_path_that_cannot_be_written(tmp_path, format):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing" / "out", tmp_path / "file" / "out"):
        with pytest.raises(DataError, match="cannot be written"):
            write([RECORD], path, format=format)
    with pytest.raises(DataError):
        write([RECORD], tmp_path / "file", format="brat")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write([RECORD], tmp_path / "folder")
    with pytest.raises(DataError, match="cannot be written"):
        write_text("x", tmp_path / "missing" / "out")


def test_dropping_by_name(tmp_path):
    item = {
        "text": "ab",
        "entities": [{"start": 0, "end": 1, "label": "x", "id": 1, "score": 2}],
        "relations": [{"head": 0, "tail": 0, "label": "r"}],
        "genre": "g",
        "summary": "s",
    }
    record = Record.model_validate(item)
    write([record], tmp_path / "a", drop=["genre", "summary", "entities.id", "absent"])
    assert read(tmp_path / "a").records[0].to_dict() == {
        "text": "ab",
        "entities": [{"start": 0, "end": 1, "label": "x", "score": 2}],
        "relations": item["relations"],
    }
    write([record], tmp_path / "a", drop=["entities"])
    assert "relations" not in json.loads((tmp_path / "a").read_text())
    assert record.to_dict() == item
    with pytest.raises(ValueError, match="drop is 'text'"):
        write([record], tmp_path / "a", drop=["text"])


def test_wrong_options_are_named(tmp_path):
    with pytest.raises(ValueError, match="format is 'xml'; allowed: jsonl"):
        write([RECORD], tmp_path / "a", format="xml")
    with pytest.raises(ValueError, match="joiner is 'x'"):
        write([RECORD], tmp_path / "a", format="bio", joiner="x")
