import gzip
import lzma

import pytest

from kexue.data.records import DataError
from kexue.data.text_lines import TextLine, text_lines

CONTENT = (
    '一\r\n\n  \n{"text": "二", "id": 7}\n{not json}\n{"text": "x"} and more\n[1]\n last '.encode()
)
LINES = [(1, "一"), (4, "二"), (5, "{not json}"), (6, '{"text": "x"} and more'), (7, "[1]")]


def read(tmp_path, content, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(content)
    return [(line.number, line.text) for line in text_lines(path)]


def test_texts_stand_a_line_and_blank_lines_are_passed_over(tmp_path):
    assert read(tmp_path, CONTENT) == [*LINES, (8, " last ")]
    assert read(tmp_path, b"") == []
    assert read(tmp_path, b"\xef\xbb\xbfa\n") == [(1, "a")]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_files(tmp_path, pack):
    assert read(tmp_path, pack(CONTENT), "a.anything") == [*LINES, (8, " last ")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.jsonl.gz", "a.jsonl.xz"])
def test_json_lines(tmp_path, name):
    pack = {"gz": gzip.compress, "xz": lzma.compress}.get(name[-2:], bytes)
    content = b'{"text": "a\\nb"}\n\n {"text": "", "id": 1}\n{"label": 1, "text": "c"}\n'
    assert read(tmp_path, pack(content), name) == [(1, "a\nb"), (4, "c")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"plain", "not JSON"),
        (b'{"text": "a"', "not JSON"),
        (b'{"text": "a"} b', "there is more after the JSON value"),
        (b'{"words": "a"}', "there is no text"),
        (b'{"text": 3}', "there is no text"),
        (b'["a"]', "there is no text"),
        (b'{"text": "\\ud800"}', "half a surrogate"),
        (b'{"text": "\xff"}', "is not UTF-8"),
    ],
)
def test_a_broken_json_line_is_named(tmp_path, line, reason):
    with pytest.raises(DataError, match=reason) as error:
        read(tmp_path, b'{"text": "a"}\n' + line, "a.jsonl")
    assert (error.value.path, error.value.line) == (tmp_path / "a.jsonl", 2)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("北京".encode("gb18030"), "is not UTF-8"),
        (b"a\x00b", "NUL"),
        (b'{"words": "a"}', "there is no text"),
    ],
)
def test_a_broken_line_of_text_is_named(tmp_path, line, reason):
    with pytest.raises(DataError, match=reason) as error:
        read(tmp_path, b"fine\n" + line)
    assert error.value.line == 2


def test_what_comes_before_a_broken_end_is_not_silently_all(tmp_path):
    content = gzip.compress(b"".join(b"text %d\n" % i for i in range(3000)))
    with pytest.raises(DataError, match="the file breaks off here"):
        read(tmp_path, content[:-100], "a.gz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        list(text_lines(tmp_path / "none.txt"))


def test_a_line_is_a_pair():
    assert TextLine(3, "a") == (3, "a")
