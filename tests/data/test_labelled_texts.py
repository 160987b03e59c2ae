import gzip
import json

import pytest

from kexue.data.labelled_texts import read_labelled_texts
from kexue.data.records import DataError


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="a.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def rows(corpus):
    return [(r.text, r.pair, r.label) for r in corpus.records]


READ = {
    "tsv": ("好\t1\n坏\t0\n", [("好", None, "1"), ("坏", None, "0")]),
    "tsv of pairs": ("a\tb\tsame\n", [("a", "b", "same")]),
    "header": ("label\ttext_a\n1\t好\n", [("好", None, "1")]),
    "header of pairs": ("Sentence1\tsentence2\tLabel\na\tb\t0\n", [("a", "b", "0")]),
    "csv": ('"a, ""b""",good\nc,bad\n', [('a, "b"', None, "good"), ("c", None, "bad")]),
    "jsonl": ('{"text": "a", "label": 3}\n{"text": "b", "label": "x"}\n', None),
    "json list": ('[{"sentence": "a", "label": 3},\n {"sentence": "b", "label": "x"}]', None),
    "blank lines": ("\na\t1\n\n \nb\t0\n", [("a", None, "1"), ("b", None, "0")]),
    "carriage returns": ("a\t1\r\nb\t0\r\n", [("a", None, "1"), ("b", None, "0")]),
    "spaces around a label": ("a\t 1 \n", [("a", None, "1")]),
}


@pytest.mark.parametrize("name", READ)
def test_formats(name, write):
    content, expected = READ[name]
    found = read_labelled_texts(write(content, "a.data"))
    assert rows(found) == (expected or [("a", None, "3"), ("b", None, "x")])


def test_lines_and_further_columns_are_kept(write):
    path = write("id\ttext\tlabel\n\n7\ta\t1\n8\tb\t0\n")
    found = read_labelled_texts(path)
    assert found.lines == [3, 4]
    assert found.records[0].model_extra == {"id": "7"}
    line = {"text": "a", "label": "1", "entities": [{"start": 0, "end": 1, "label": "x"}]}
    found = read_labelled_texts(write(json.dumps(line), "a.jsonl"))
    assert found.records[0].entities[0].label == "x"


def test_columns_that_are_named(write):
    path = write("cat,label,review\nbooks,1,good\nfruit,0,bad\n", "shop.csv")
    assert rows(read_labelled_texts(path))[0] == ("good", None, "1")
    found = read_labelled_texts(path, columns={"label": "cat"})
    assert rows(found) == [("good", None, "books"), ("bad", None, "fruit")]
    # Nothing is lost: the other column of that name is there under another one.
    assert found.records[0].model_extra == {"label_": "1"}
    with pytest.raises(DataError, match=r"shop.csv:1: there is no column 'kind'"):
        read_labelled_texts(path, columns={"label": "kind"})
    with pytest.raises(ValueError, match="columns is 'lable'"):
        read_labelled_texts(path, columns={"lable": "cat"})


def test_compressed_files(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress("好\t1\n".encode()))
    assert rows(read_labelled_texts(path)) == [("好", None, "1")]


BAD = {
    "empty": ("", r"a.tsv: the file has no texts"),
    "blank": ("\n \n", r"a.tsv: the file has no texts"),
    "no columns": ("one\ntwo\nthree\n", "its lines have no two columns"),
    "too few": ("a\t1\nb\nc\t1\n", r"a.tsv:2: the line has 1 field, not 2 \(text, label\)"),
    "too many": ("a\t1\nb\tc\t0\n", r"a.tsv:2: the line has 3 fields, not 2"),
    "four": ("a\tb\tc\td\n", r"a.tsv:1: the line has 4 fields, not 2 or 3"),
    "no text": ("a\t1\n \t1\n", r"a.tsv:2: the text is empty"),
    "no label": ("a\t1\nb\t\n", r"a.tsv:2: the label is empty"),
    "no second text": ("a\tb\t1\na\t\t1\n", r"a.tsv:2: the second text is empty"),
    "not UTF-8": (b"a\t1\n\xff\xfe\t1\n", r"a.tsv:2: .*UTF-8"),
    "score": ('{"text": "a", "label": 0.5}\n', r"a.tsv:1: the label is 0.5, not one name"),
    "truth": ('{"text": "a", "label": true}\n', r"a.tsv:1: the label is [tT]rue, not one name"),
    "several": ('{"text": "a", "label": ["x"]}\n', r"a.tsv:1: the label is .*not one name"),
    "label missing": ('{"text": "a"}\n', r"a.tsv:1: there is no label among"),
    "text missing": ('{"txt": "a", "label": 1}\n', r"a.tsv:1: there is no text among"),
    "text a number": ('{"text": 1, "label": 1}\n', r"a.tsv:1: the text is 1, not a string"),
    "no object": ('{"text": "a", "label": 1}\n[1]\n', r"a.tsv:2: .* is no JSON object"),
    "broken JSON": ('{"text": "a", "label": 1}\n{"text\n', r"a.tsv:2: "),
    "mixed": (
        '{"text": "a", "label": 1}\n{"text": "a", "pair": "b", "label": 1}\n',
        r"a.tsv:2: this is a pair, and the first of the file is one text",
    ),
    "twice": ("text\tlabel\ttext\na\t1\tb\n", r"a.tsv:1: the column 'text' stands twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_its_line(name, write):
    content, message = BAD[name]
    with pytest.raises(DataError, match=message):
        read_labelled_texts(write(content))


def test_bad_lines_are_left_out_and_counted_on_request(write):
    path = write(b"a\t1\nb\n\xff\t1\n\t1\nc\t0\n")
    found = read_labelled_texts(path, skip_bad=True)
    assert rows(found) == [("a", None, "1"), ("c", None, "0")]
    assert found.lines == [1, 5]
    assert [error.line for error in found.skipped] == [2, 3, 4]


def test_a_format_is_one_of_three(write):
    with pytest.raises(ValueError, match="format is 'xls'; allowed: jsonl, tsv, csv"):
        read_labelled_texts(write("a\t1\n"), format="xls")
    found = read_labelled_texts(write('{"a": 1}\tx\nb\ty\n'), format="tsv")
    assert found.records[0].text == '{"a": 1}'


def test_missing_files_are_said_to_be(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_labelled_texts(tmp_path / "none.tsv")
