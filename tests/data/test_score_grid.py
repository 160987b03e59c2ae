import gzip
from pathlib import Path

import pytest

from kexue.data.records import DataError
from kexue.data.score_grid import csv_grid, markdown_grid, text_rows

PATH = Path("a.csv")


def cells(grid):
    return [row.cells for row in grid.rows]


def test_lines_of_plain_and_packed_files(tmp_path):
    content = "\ufeffmodel,x\r\n模型,1\n\n"
    for name, data in (("a.csv", content.encode()), ("b.gz", gzip.compress(content.encode()))):
        (tmp_path / name).write_bytes(data)
        assert text_rows(tmp_path / name) == ["model,x", "模型,1", ""]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"model,x\nBERT,\xb1\n", r"bad\.csv:2: byte 6 \(0xb1\) is not UTF-8"),
        ("model,x\n".encode("utf-16"), r"bad\.csv:1: byte .* is a NUL"),
    ],
)
def test_lines_that_are_no_text_are_named(tmp_path, data, message):
    (tmp_path / "bad.csv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        text_rows(tmp_path / "bad.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_told_from_the_head(separator):
    lines = [separator.join(row) for row in (["model", "x y", "z"], ["BERT", "1", "2"])]
    grid = csv_grid(PATH, lines)
    assert grid.head.cells == ["model", "x y", "z"]
    assert cells(grid) == [["BERT", "1", "2"]]


def test_quotes_hold_separators_quotes_and_line_breaks():
    lines = ["model, x", '"a, ""b""", 1', '"two', 'lines", 2', "", "c, 3"]
    grid = csv_grid(PATH, lines)
    assert cells(grid) == [['a, "b"', "1"], ["two lines", "2"], ["c", "3"]]
    assert [row.line for row in grid.rows] == [2, 3, 6]


def test_comments_stand_above_the_head_only():
    grid = csv_grid(PATH, ["# one, two", "", "# three", "#,model,x", "1,# BERT,2"])
    assert grid.comments == ("one, two", "three")
    assert (grid.head.line, grid.head.cells) == (4, ["#", "model", "x"])
    assert cells(grid) == [["1", "# BERT", "2"]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"a\.csv: there is no table"),
        (["", "  "], r"a\.csv: there is no table"),
        (["# only a comment"], r"a\.csv: there is no table"),
        (["m,x", "a,1", "b,1,2"], r"a\.csv:3: the row has 3 cells, and line 1 names 2 columns"),
        (["m,x,y", "", "a,1"], r"a\.csv:3: the row has 2 cells"),
        (["m,x", 'a,"1', "b,2"], r"a\.csv:2: a row cannot be split"),
        (["m,x", "a,1", 'b,"2"3'], r"a\.csv:3: a row cannot be split"),
    ],
)
def test_broken_tables_are_named_with_their_line(lines, message):
    with pytest.raises(DataError, match=message):
        csv_grid(PATH, lines)


DOCUMENT = """# Results

Text with a | bar.

| model | RTE | CB |
|:------|----:|:--:|
| [BERT](https://a.b/c_(d)) | **70.1** | `96.9/98.0` |
| <a href="x">snake_case_v2</a> | <b>71</b> | |
| a \\| b | __72__ | *-* |

```
| no | table |
|----|-------|
| a  | 1     |
```

model | x
--- | ---
T5 | ~~1~~
and text
""".splitlines()


def test_a_table_of_a_document_without_its_markup():
    grid = markdown_grid(PATH, DOCUMENT, number=1)
    assert (grid.head.line, grid.head.cells) == (5, ["model", "RTE", "CB"])
    assert cells(grid) == [
        ["BERT", "70.1", "96.9/98.0"],
        ["snake_case_v2", "71", ""],
        ["a | b", "72", "-"],
    ]
    assert [row.line for row in grid.rows] == [7, 8, 9]


def test_a_table_without_outer_bars_ends_with_the_first_line_without_one():
    grid = markdown_grid(PATH, DOCUMENT, number=2)
    assert grid.head.cells == ["model", "x"]
    assert cells(grid) == [["T5", "1"]]


def test_one_table_needs_no_number():
    assert cells(markdown_grid(PATH, DOCUMENT[:9])) == cells(
        markdown_grid(PATH, DOCUMENT[:9], number=1)
    )


@pytest.mark.parametrize(
    ("lines", "number", "message"),
    [
        (DOCUMENT, None, "there are 2 tables, on lines 5, 17. Choose one by its number, 1 to 2"),
        (DOCUMENT, 3, "there is no table 3"),
        (DOCUMENT, 0, "there is no table 0"),
        (["text"], None, "there is no table in the document"),
        ([], None, "there is no table in the document"),
        (["| a | b |", "| 1 | 2 |"], None, "there is no table in the document"),
        (["|m|x|", "|-|-|", "|a|"], None, r"a\.csv:3: the row has 1 cells"),
        (["|m|x|", "|-|-|", "|a|1|2|"], None, r"a\.csv:3: the row has 3 cells"),
    ],
)
def test_documents_without_that_table_are_refused(lines, number, message):
    with pytest.raises(DataError, match=message):
        markdown_grid(PATH, lines, number=number)
