import gzip
import json
import lzma

import pytest

from kexue.data import DataError, read
from kexue.data.records import FormatError
from kexue.data.source import (
    MAX_DEPTH,
    MAX_LINE,
    decode,
    json_lines,
    numbered_lines,
    parse_json,
    read_whole,
)

GOOD = b'{"text": "good"}'


def save(tmp_path, content, name="a.jsonl"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a"', "not JSON"),
        (b'{"text": "a"} {"text": "b"}', "more text after the value"),
        (b"null", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b'{"text": "\xff"}', "byte 11 (0xff) is not UTF-8"),
        ("{'text': '北京'}".encode("gb18030"), "is not UTF-8"),
        (b'{"text": "a\x00"}', "byte 12 is a NUL"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        (b'{"text": "a", "text": "b"}', "'text' stands twice"),
        (b'{"text": "a", "x": NaN}', "NaN is not a JSON number"),
        (b'{"text": "a", "x": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"text": "a", "x": 1e999}', "too large"),
        (b'{"text": "a", "x": ' + b"9" * 5000 + b"}", "a number is too long"),
        (b'{"text": "a", "x": ' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 100"),
        (b'{"text": "a", "x": ' + b"[" * 200_000 + b"}", "nested more than 100"),
        (b'{"text": "\\ud800"}', "half a surrogate pair"),
        (b'{"text": "a", "x": {"\\udc00": 1}}', "half a surrogate pair"),
        (b'{"text": 3}', "text is 3, not a string"),
        (b'{"text": "ab", "entities": [{"start": 0, "end": 3, "label": "x"}]}', "ends after"),
    ],
)
def test_a_broken_line_is_named_and_costs_itself_alone(tmp_path, line, reason):
    path = save(tmp_path, b"\n".join([GOOD, line, b'{"text": "last"}', b""]))
    with pytest.raises(DataError) as caught:
        read(path, format="jsonl")
    assert caught.value.line == 2
    assert reason in caught.value.reason
    assert caught.value.fix.endswith((".", "?"))
    assert str(caught.value).startswith(f"{path}:2: ")
    corpus = read(path, format="jsonl", skip_bad=True)
    assert [record.text for record in corpus] == ["good", "last"]
    assert corpus.lines == [1, 3]
    assert [error.line for error in corpus.skipped] == [2]


def test_a_ten_megabyte_line_is_an_error_and_not_kept(tmp_path):
    long = b'{"text": "' + b"x" * 10_000_000 + b'"}'
    path = save(tmp_path, b"\n".join([GOOD, long, GOOD]))
    corpus = read(path, skip_bad=True)
    assert corpus.lines == [1, 3]
    assert "longer than 8 MiB" in corpus.skipped[0].reason
    # a line that is just allowed
    text = b"y" * (MAX_LINE - 20)
    path = save(tmp_path, b'{"text": "' + text + b'"}\n' + GOOD)
    assert len(read(path)) == 2
    # the long one without an end
    corpus = read(save(tmp_path, GOOD + b"\n" + long), skip_bad=True)
    assert (corpus.lines, len(corpus.skipped)) == ([1], 1)


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("skip_bad", [True, False])
def test_an_empty_file_is_an_error(tmp_path, content, skip_bad):
    with pytest.raises(DataError, match="no records"):
        read(save(tmp_path, content), skip_bad=skip_bad)
    with pytest.raises(DataError, match="no records"):
        read(save(tmp_path, content), format="jsonl", skip_bad=skip_bad)


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "missing.jsonl")
    with pytest.raises(DataError, match="this is a folder"):
        read(tmp_path, format="jsonl")
    with pytest.raises(DataError, match=r"no \.txt file"):
        read(tmp_path)
    with pytest.raises(DataError, match="cannot be opened"):
        read("a\x00b", format="jsonl")


def test_bom_crlf_and_blank_lines_are_harmless(tmp_path):
    path = save(tmp_path, b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n  " + GOOD + b"\t\r\n")
    corpus = read(path)
    assert [record.text for record in corpus] == ["good", "good"]
    assert corpus.lines == [1, 3]


def test_only_line_feeds_end_a_line(tmp_path):
    text = "a\u2028b\u2029c\x85d\ufeffe"
    path = save(tmp_path, json.dumps({"text": text}, ensure_ascii=False).encode())
    assert read(path).records[0].text == text


def test_an_escaped_nul_is_a_character(tmp_path):
    assert read(save(tmp_path, b'{"text": "a\\u0000b"}')).records[0].text == "a\0b"


@pytest.mark.parametrize("module", [gzip, lzma])
def test_compressed_files(tmp_path, module):
    content = b"\n".join(json.dumps({"text": str(n) * 50}).encode() for n in range(2000))
    packed = module.compress(content)
    assert len(read(save(tmp_path, packed, "any.name"))) == 2000
    cut = save(tmp_path, packed[: len(packed) // 2])
    with pytest.raises(DataError, match="breaks off here"):
        read(cut, format="jsonl")
    corpus = read(cut, format="jsonl", skip_bad=True)
    assert len(corpus.skipped) == 1
    assert all(record.text == str(n) * 50 for n, record in enumerate(corpus))
    with pytest.raises(DataError, match="damaged"):
        read_whole(cut)


def test_lines_are_streamed(tmp_path):
    path = save(tmp_path, b"\n".join([GOOD] * 5))
    stream = numbered_lines(path)
    assert next(stream) == (1, GOOD)
    stream.close()
    values = json_lines(path)
    assert next(values) == (1, {"text": "good"})
    values.close()


def test_parse_json_at_a_position():
    assert parse_json('[{"a": 1}, 2]', 1) == ({"a": 1}, 9)
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(deep)[1] == 2 * MAX_DEPTH
    with pytest.raises(FormatError):
        parse_json("[" + deep + "]")
    wide = json.dumps([[1]] * 500)
    assert parse_json(wide)[1] == len(wide)
    assert parse_json('"\\ud83d\\ude00"') == ("😀", 14)


def test_decode():
    assert decode("北京".encode()) == "北京"
    with pytest.raises(FormatError, match="NUL"):
        decode("ab".encode("utf-16"))
