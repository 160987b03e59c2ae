import json

import pytest

from kexue.data import FORMATS, DataError, Entity, Record, guess_format, read, write
from kexue.data.guess import head_lines, item_format

RECORDS = [
    Record(text="北京 在 哪里", entities=[Entity(start=0, end=2, label="place")]),
    Record(text="不知道", entities=[]),
    Record(text="我在 上海市", entities=[Entity(start=3, end=6, label="place")]),
]


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_written_is_told(tmp_path, format):
    write(RECORDS, tmp_path / "any", format=format)
    assert guess_format(tmp_path / "any") == format
    assert read(tmp_path / "any").records == RECORDS


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "brat"])
@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_compressed_files_are_told_as_well(tmp_path, format, suffix):
    path = tmp_path / f"any{suffix}"
    write(RECORDS, path, format=format)
    assert path.read_bytes()[:2] in (b"\x1f\x8b", b"\xfd7")
    assert guess_format(path) == format
    assert read(path).records == RECORDS


@pytest.mark.parametrize(
    ("item", "format"),
    [
        ({"text": "a"}, None),
        ({"text": "a", "entities": []}, None),
        ({"text": "a", "label": "class"}, None),
        ({"text": "a", "question": "b"}, "jsonl"),
        ({"text": "a", "label": {}}, "cluener"),
        ({"text": "a", "label": []}, "doccano-label"),
        ({"text": "a", "labels": []}, "doccano-labels"),
        ({"text": "a", "entities": [[0, 1, "x"]]}, "spans"),
        ({"text": "a", "entities": [{"start": 0}]}, "jsonl"),
        ({"text": "a", "entities": [{"start_idx": 0}]}, "cmeee"),
        ({"text": "a", "entities": [{"start_offset": 0}]}, "doccano"),
        ({"text": "a", "entities": [3]}, None),
        ({"tokens": []}, "tokens"),
        ({"data": {}}, "label-studio"),
        ({"text": "a", "ner": [{"start": 0, "end": 1, "labels": ["x"]}]}, "label-studio"),
    ],
)
def test_single_objects(item, format):
    assert item_format(item) == format


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("a B-x\nb I-x\n", "bio"),
        ("a O\nb O\n", "bio"),
        ("a B-x\nb E-x\n", "bioes"),
        ("a S-x\n", "bioes"),
        ("a B-x\nb M-x\n", "bmes"),
        ("{ O\n} O\n", "bio"),
        ('{"text": "a"}\nbroken\nbroken\n', "jsonl"),
        ('{}\n字 O\n字 S-x\n{"x": 1}\n字 O\n', "bioes"),
    ],
)
def test_texts(tmp_path, text, format):
    (tmp_path / "a").write_text(text)
    assert guess_format(tmp_path / "a") == format


def test_one_damaged_line_does_not_decide(tmp_path):
    good = {"text": "北京", "label": {"p": {"北京": [[0, 1]]}}}
    odd = {"text": "北京", "entities": [{"start_offset": 0}]}
    (tmp_path / "a").write_text("\n".join(map(json.dumps, [odd, good, good, good])))
    assert guess_format(tmp_path / "a") == "cluener"


@pytest.mark.parametrize(
    "content", [b"hello\nworld\n", b"\x89PNG\r\n\x1a\n", b"<xml/>", b"a,b\n1,2\n"]
)
def test_the_error_lists_the_formats(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.csv")
    assert all(format in caught.value.fix for format in FORMATS)


def test_what_is_no_plain_file(tmp_path):
    assert guess_format(tmp_path) == "brat"
    (tmp_path / "a.txt").write_text("plain words")
    with pytest.raises(DataError):
        guess_format(tmp_path / "a.txt")
    (tmp_path / "a.ann").write_text("")
    assert guess_format(tmp_path / "a.txt") == "brat"
    assert guess_format(tmp_path / "a.ann") == "brat"
    with pytest.raises(DataError, match="pipe cannot be guessed"):
        guess_format("/dev/null")
    with pytest.raises(DataError, match="no such file"):
        guess_format(tmp_path / "missing")


def test_head_lines_stop_early(tmp_path):
    (tmp_path / "a").write_text("x\n" * 1000)
    assert head_lines(tmp_path / "a") == [b"x"] * 200
