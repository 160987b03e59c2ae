import io
from pathlib import Path

import pytest

from kexue.cli.reading import read_records, read_texts


def texts(content: bytes, tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(content)
    return list(read_texts([], path, io.StringIO()))


def test_texts_come_from_the_first_place_that_has_some(tmp_path):
    stdin = io.TextIOWrapper(io.BytesIO("从输入\n".encode()), encoding="utf-8")
    assert list(read_texts(["a", "b"], None, stdin)) == [{"text": "a"}, {"text": "b"}]
    assert list(read_texts([], None, stdin)) == [{"text": "从输入"}]
    assert texts(b"one\r\n\r\ntwo", tmp_path) == [{"text": "one"}, {"text": ""}, {"text": "two"}]


def test_a_mark_at_the_beginning_is_no_text(tmp_path):
    assert texts(b'\xef\xbb\xbf{"text": "a", "id": 1}\n', tmp_path) == [{"text": "a", "id": 1}]


def test_a_text_that_only_looks_like_json_is_a_text(tmp_path):
    assert texts(b"{not json}\n", tmp_path) == [{"text": "{not json}"}]
    assert texts(b"{" * 100_000 + b"\n", tmp_path) == [{"text": "{" * 100_000}]


@pytest.mark.parametrize("line", [b'{"text": 3}', b'{"words": "a"}'])
def test_an_object_without_a_text_is_named(line, tmp_path):
    with pytest.raises(ValueError, match="x:2: a JSON object without a text"):
        texts(b"fine\n" + line, tmp_path)


def test_a_file_without_records_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{\n")
    with pytest.raises(ValueError, match="there are no records"):
        read_records(path, format="jsonl", skip_bad=True)
