import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.data.records import DataError
from kexue.data.score_tables import SCORE_FORMATS, ScoreTable, read_scores, shipped_tables

SCORES = {"BERT": {"CB": (96.9, 98.0), "RTE": 70.1}, "T5": {"CB": None, "RTE": -3.0}}
FILES = {
    "a.csv": "model,CB,RTE\nBERT,96.9/98.0,70.1\nT5,-,-3\n",
    "a.tsv": "model\tCB\tRTE\nBERT\t96.9/98.0\t70.1\nT5\t\t-3\n",
    "a.txt": "model;CB;RTE\nBERT;96.9/98.0;70.1\nT5;;-3\n",
    "a.md": "# A\n\n|model|CB|RTE|\n|-|-|-|\n|**BERT**|96.9/98.0|70.1|\n|T5|-|-3|\n",
    "b.txt": "|model|CB|RTE|\n|-|-|-|\n|BERT|96.9/98.0|70.1|\n|T5|-|-3|\n",
    "a.json": json.dumps({"BERT": {"CB": [96.9, 98.0], "RTE": 70.1}, "T5": {"RTE": -3}}),
    "b.json": '[{"model": "BERT", "CB": "96.9/98.0", "RTE": 70.1}, {"RTE": -3, "model": "T5"}]',
    "a.jsonl": '{"model": "BERT", "CB": [96.9, 98.0], "RTE": 70.1}\n{"model": "T5", "RTE": -3}\n',
    "c.txt": '{"name": "BERT", "CB": [96.9, 98.0], "RTE": 70.1}\n{"name": "T5", "RTE": -3}\n',
}


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.csv"):
        (tmp_path / name).write_text(content, "utf-8")
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_table(write, name):
    table = read_scores(write(FILES[name], name))
    assert table.scores == SCORES
    assert table.tasks == ("CB", "RTE")
    assert list(table.lines) == ["BERT", "T5"]
    assert table.notes == []


def test_the_line_of_each_model(write):
    table = read_scores(write("# a\n\nmodel,x\nA,1\n\nB,2\n"))
    assert table.lines == {"A": 4, "B": 6}
    assert table.notes == ["a"]
    assert table.path.name == "a.csv"


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=6)
TABLES = st.tuples(
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    st.lists(st.none() | st.integers(-900, 900).map(lambda n: n / 8), min_size=16, max_size=16),
)


@settings(deadline=None)
@given(TABLES)
def test_what_is_written_is_read(tmp_path_factory, table):
    models, tasks, values = table
    tasks = [f"task {task}" for task in tasks]
    scores = {m: {t: values[4 * i + j] for j, t in enumerate(tasks)} for i, m in enumerate(models)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", *tasks])
    writer.writerows(
        [m, *("-" if v is None else v for v in row.values())] for m, row in scores.items()
    )
    markdown = text.getvalue().splitlines()
    markdown.insert(1, ",".join("-" * (len(tasks) + 1)))
    contents = {
        "a.csv": text.getvalue(),
        "a.json": json.dumps(scores, indent=1),
        "b.json": json.dumps([{"model": m, **row} for m, row in scores.items()]),
        "a.md": "\n".join("|" + line.replace(",", "|") + "|" for line in markdown),
    }
    folder = tmp_path_factory.mktemp("tables")
    for name, content in contents.items():
        (folder / name).write_text(content, "utf-8")
        assert read_scores(folder / name).scores == scores, name
    turned = read_scores(folder / "a.csv", transpose=True)
    assert {m: {t: turned.scores[t][m] for t in tasks} for m in models} == scores


MARKS = st.sampled_from([*'|,;\t-:"{}[]/\\\n 1.*`#±', "model", "x", "---", "null", "\u2212"])


@settings(deadline=None, max_examples=300)
@given(st.lists(MARKS, max_size=30).map("".join), st.sampled_from(SCORE_FORMATS))
def test_whatever_stands_in_a_file_is_read_or_refused_with_its_path(tmp_path_factory, text, format):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text(text, "utf-8", newline="")
    for options in ({"format": format}, {"transpose": True}):
        found = table_or_error(path, **options)
        if isinstance(found, DataError):
            assert str(found).startswith(str(path))
            assert found.line is None or 1 <= found.line <= text.count("\n") + 1
        else:
            assert found.lines.keys() == found.scores.keys() != set()
            assert all(tuple(row) == found.tasks != () for row in found.scores.values())


def table_or_error(path, **options):
    try:
        return read_scores(path, **options)
    except DataError as error:
        return error


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=5), min_size=3, max_size=3), min_size=1, max_size=4))
def test_any_names_come_through_quotes(tmp_path_factory, rows):
    """Names may hold separators, quotes and line breaks, whose white space becomes one space."""
    names = [" ".join(f"m{n} {row[0]}".replace("\0", "").split()) for n, row in enumerate(rows)]
    tasks = [" ".join(f"t{n} {task}".replace("\0", "").split()) for n, task in enumerate(rows[0])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["model", *tasks])
    writer.writerows([name, 1, 2.5, "-"] for name in names)
    path = tmp_path_factory.getbasetemp() / "names.csv"
    path.write_bytes(text.getvalue().encode("utf-8"))
    expected = dict(zip(tasks, (1, 2.5, None), strict=True))
    assert read_scores(path).scores == dict.fromkeys(names, expected)


def test_the_column_of_names(write):
    ranked = "Rank,Model,x\n1,BERT,3\n2,T5,4\n"
    table = read_scores(write(ranked))
    assert table.scores == {"BERT": {"Rank": 1, "x": 3}, "T5": {"Rank": 2, "x": 4}}
    assert table.notes == [
        "'Rank' looks like no task and counts as one; leave it out with: without 'Rank'"
    ]
    assert read_scores(write(ranked), without=["Rank"]).notes == []
    assert read_scores(write("who,x\nA,1\n")).scores == {"A": {"x": 1}}
    assert read_scores(write(",x\nA,1\n")).scores == {"A": {"x": 1}}
    named = read_scores(write("x,who\n1,A\n"), name="who")
    assert named.scores == {"A": {"x": 1}}
    keyed = read_scores(write('[{"x": 1, "who": "A"}]', "a.json"), name="who")
    assert keyed.scores == {"A": {"x": 1}}


def test_columns_are_chosen_before_their_cells_are_read(write):
    path = write("model,link,x,Avg\nA,http://a,1,1\nB,-,2,2\n")
    with pytest.raises(DataError, match=r"a\.csv:2: 'A', 'link': .* without 'link'"):
        read_scores(path)
    assert read_scores(path, without=["link", "Avg"]).scores == {"A": {"x": 1}, "B": {"x": 2}}
    assert read_scores(path, tasks=["x"]).tasks == ("x",)


def test_a_model_that_has_none_of_the_chosen_tasks_keeps_its_place(write):
    path = write('{"A": {"x": 1, "y": 2}, "B": {"y": 3}}', "a.json")
    assert read_scores(path, tasks=["x"]).scores == {"A": {"x": 1}, "B": {"x": None}}


def test_deviations_are_counted(write):
    table = read_scores(write("model,x,y\nA,1 ± 0.5,2\nB,3±1,4\n"))
    assert table.scores["A"] == {"x": 1, "y": 2}
    assert table.notes == ["the deviation behind ± is left out of 2 scores"]


def test_one_of_several_tables(write):
    path = write(f"{FILES['a.md']}\ntext\n\n|m|x|\n|-|-|\n|A|1|\n", "a.md")
    with pytest.raises(DataError, match="there are 2 tables"):
        read_scores(path)
    assert read_scores(path, number=2).scores == {"A": {"x": 1}}


def test_a_format_that_is_named_decides(write):
    assert read_scores(write(FILES["a.json"], "a.csv"), format="json").scores == SCORES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", r"a\.csv: there is no table in the file"),
        ("a.csv", "model,x\n", r"a\.csv: there are no scores"),
        ("a.csv", "model\nA\n", r"a\.csv: there are no scores"),
        ("a.csv", "model,x\nA,1\nB,two\n", r"a\.csv:3: 'B', 'x': 'two' is no score"),
        ("a.csv", "model;x\nA;92,4\n", r"a\.csv:2: 'A', 'x': '92,4' has a comma"),
        ("a.csv", "model,x\nA,1\nA,2\n", r"a\.csv:3: 'A' stands on line 2 already"),
        ("a.csv", "model,x\n ,1\n", r"a\.csv:2: the row has no name"),
        ("a.csv", "model,x,x\nA,1,2\n", r"a\.csv:1: two columns are 'x'"),
        ("a.csv", "model,x,\nA,1,2\n", r"a\.csv:1: column 3 has no name"),
        ("a.json", "", r"a\.json: there are no scores"),
        ("a.json", "[]", r"a\.json: there are no scores"),
        ("a.json", '[{"x": 1}]', r"a\.json:1: the object names no model"),
        ("a.json", '[{"model": 3, "x": 1}]', r"a\.json:1: the object names no model"),
        ("a.json", '[{"model": "A"}]', r"a\.json:1: 'A' has no scores"),
        ("a.json", '{"A": {"x": 1},\n"B": {}}', r"a\.json:2: 'B' has no scores"),
        ("a.json", '{"A": {"x": 1,\n"y": true}}', r"a\.json:2: 'A', 'y': True is no score"),
        ("a.jsonl", '{"model": "A", "x": 1}\n{"model": "A", "x": 2}', r"a\.jsonl:2: 'A' stands on"),
        ("a.md", "text", r"a\.md: there is no table in the document"),
    ],
)
def test_broken_files_are_named_with_their_line(write, name, content, message):
    with pytest.raises(DataError, match=message):
        read_scores(write(content, name))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_scores(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"this is a folder\. Name a file with a table"):
        read_scores(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xlsx"}, "'csv', 'json', 'markdown'"),
        ({"name": "who"}, "name is 'who'; allowed: 'model', 'CB', 'RTE'"),
        ({"tasks": ["q"]}, "tasks is 'q'; allowed: 'CB', 'RTE'"),
        ({"without": ["q"]}, "without is 'q'"),
        ({"number": 2}, "number is 2"),
    ],
)
def test_an_option_that_names_what_is_not_there(write, options, message):
    with pytest.raises(ValueError, match=message):
        read_scores(write(FILES["a.csv"]), **options)


def test_a_table_without_scores_has_no_tasks(tmp_path):
    assert ScoreTable({}, {}, tmp_path).tasks == ()


def test_tables_that_come_with_the_library_are_whole_and_name_their_source():
    tables = {name: read_scores(path) for name, path in shipped_tables().items()}
    shapes = {name: (len(t.scores), len(t.tasks)) for name, t in tables.items()}
    assert shapes == {"glue-2019": (7, 11), "superglue-2022": (11, 8)}
    for table in tables.values():
        assert "https://arxiv.org/abs/" in table.notes[0]
    gaps = [
        (model, task)
        for table in tables.values()
        for model, row in table.scores.items()
        for task, score in row.items()
        if score is None
    ]
    assert ("Human performance", "AX") in gaps
    assert [task for _, task in gaps].count("QNLI") == len(gaps) - 1 == 3
