"""Texts come out of files of every kind as they were written, or the line is named."""

import gzip
import json
import lzma
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.data.corpora import LONGEST, read_texts
from kexue.data.records import DataError

OPENERS = {"": open, ".gz": gzip.open, ".xz": lzma.open}


def written(path, content):
    opener = next(OPENERS[end] for end in (".gz", ".xz", "") if path.name.endswith(end))
    with opener(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("end", OPENERS)
@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", "一\n二\n\n\n三  四\r\n", ["一\n二", "三  四"]),
        ("a.txt", "\n \n\t\n一", ["一"]),
        ("a", "no ending\n\nat all", ["no ending", "at all"]),
        ("a.tsv", "in\t在\nlast\t\n\t \nonly\n", ["in", "在", "last", "only"]),
        ("a.jsonl", '{"text": "一\\n\\n二", "id": 1}\n\n{"text": " "}\n', ["一\n\n二"]),
        ("A.JSONL", '{"text": "一"}', ["一"]),
        ("a.json.txt", '{"text": "一"}', ['{"text": "一"}']),
        ("a.txt", "", []),
    ],
)
def test_a_file_is_read_by_its_name_compressed_or_not(tmp_path, name, content, texts, end):
    assert list(read_texts(written(tmp_path / (name + end), content))) == texts


def test_the_bytes_not_the_name_say_whether_a_file_is_compressed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(lzma.compress("一".encode()))
    assert list(read_texts(path)) == ["一"]


LINE = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\x00"), min_size=1
).filter(lambda line: line.strip() and not line.startswith("\ufeff"))


@given(st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=4))
def test_nothing_is_lost_and_nothing_is_changed(tmp_path_factory, paragraphs):
    texts = ["\n".join(lines) for lines in paragraphs]
    folder = tmp_path_factory.mktemp("texts")
    plain = written(folder / "a.txt.xz", "\n\n".join(texts))
    assert list(read_texts(plain)) == texts
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    assert list(read_texts(written(folder / "a.jsonl", lines))) == texts


def test_a_long_text_comes_in_parts_that_end_with_a_line(tmp_path):
    lines = ["字" * 999] * 70
    parts = list(read_texts(written(tmp_path / "a.txt", "\n".join(lines) + "\n\n短")))
    assert "\n".join(parts[:-1]).split("\n") == lines
    assert parts[-1] == "短"
    assert len(parts) == 5
    assert all(LONGEST < len(part) < LONGEST + 1100 for part in parts[:-2])


def test_a_file_is_never_held_in_memory(tmp_path):
    path = written(tmp_path / "a.txt.gz", ("字" * 99 + "\n") * 100_000)
    list(read_texts(written(tmp_path / "small.txt", "字")))
    tracemalloc.start()
    assert sum(map(len, read_texts(path))) > 9_900_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


FAULTS = [
    ("a.txt", "一\n\n\udcff二\n\n三", 3, "is not UTF-8", ["一", "三"]),
    ("a.txt", "一\n二\x00\n三", 2, "is a NUL", ["一\n三"]),
    ("a.tsv", "一\t二\n\udcff\t三\n四", 2, "is not UTF-8", ["一", "二", "四"]),
    ("a.jsonl", '{"text": "一"}\n{"text": \n{"text": "三"}', 2, "not JSON", ["一", "三"]),
    ("a.jsonl", '{"text": 3}\n{"text": "三"}', 1, "there is no text", ["三"]),
    ("a.jsonl", '["一"]\n{"text": "三"}', 1, "there is no text", ["三"]),
]


@pytest.mark.parametrize(("name", "content", "line", "reason", "rest"), FAULTS)
def test_a_broken_line_is_named_or_noted(tmp_path, name, content, line, reason, rest):
    path = written(tmp_path / name, content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=reason) as caught:
        list(read_texts(path))
    assert (caught.value.path, caught.value.line) == (path, line)
    skipped = []
    assert list(read_texts(path, skipped=skipped)) == rest
    assert len(skipped) == 1
    assert skipped[0].startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_what_comes_before_a_break_is_read(tmp_path, compress):
    whole = compress("\n\n".join(f"text {i * i}" for i in range(20_000)).encode())
    path = tmp_path / "a.txt.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="breaks off here"):
        list(read_texts(path))
    skipped = []
    texts = list(read_texts(path, skipped=skipped))
    assert len(texts) > 1000
    assert texts[:1000] == [f"text {i * i}" for i in range(1000)]
    assert len(skipped) == 1


def test_a_file_that_is_not_there_is_an_error_even_where_faults_are_noted(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError):
            list(read_texts(path, skipped=[]))
