import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from kexue.cli.leaderboard import find_table, full_score, leaderboard, left_out
from kexue.data.score_tables import ScoreTable

app = typer.Typer()
app.command()(leaderboard)

TABLE = "model,x,y\neven,60,60\nuneven,90,35\n"


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.csv"):
        (tmp_path / name).write_text(content, "utf-8")
        return tmp_path / name

    return write


def test_a_pipe_gets_plain_lines(write):
    result = call(write(TABLE), "--mean", "arithmetic", "--mean", "harmonic")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "model\tarithmetic\trank\tharmonic\trank",
        "uneven\t62.50\t1\t50.40\t2",
        "even\t60.00\t2\t60.00\t1",
        "mean\tmean\tKendall's tau\tswapped pairs",
        "arithmetic\tharmonic\t-1.000\t1",
        "model\tabove\tby\tbut below by",
        "uneven\teven\tarithmetic\tharmonic",
    ]
    assert result.stderr == ""


def test_all_means_by_default_and_a_mean_that_is_named_twice_once(write):
    path = write(TABLE)
    boards = json.loads(call(path, "--json").stdout)["boards"]
    assert [board["mean"] for board in boards] == ["arithmetic", "geometric", "harmonic", "ranks"]
    boards = json.loads(call(path, "--json", "--mean", "ranks", "--mean", "ranks").stdout)["boards"]
    assert [board["mean"] for board in boards] == ["ranks"]


def test_one_json_object_holds_everything(write):
    path = write(f"# from a test\n{TABLE}")
    words = [path, "--mean", "arithmetic", "--mean", "harmonic", "--bootstrap", "50", "--json"]
    result = call(*words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found.keys() == {"path", "boards", "changes", "bootstrap", "notes"}
    assert found["path"] == str(path)
    assert found["boards"][0]["rows"][0] == {
        "model": "uneven",
        "value": 62.5,
        "rank": 1,
        "tasks": 2,
    }
    assert found["changes"][0]["swaps"] == [["uneven", "even"]]
    assert [draw["samples"] for draw in found["bootstrap"]] == [50, 50]
    assert found["notes"] == ["from a test"]
    assert call(*words).stdout == result.stdout
    assert call(*words, "--seed", "1").stdout != result.stdout


def test_intervals_of_ranks(write):
    path = write("model,x,y,z\nA,90,50,80\nB,80,60,70\n")
    lines = call(path, "--mean", "arithmetic", "--bootstrap", "500").stdout.splitlines()
    assert lines[3] == "model\tarithmetic\tlow\thigh\trank\tbest\tworst\tfirst\tabove next"
    assert lines[4].startswith("A\t73.33\t50.00\t90.00\t1\t1\t2\t")
    assert lines[5].startswith("B\t70.00\t60.00\t80.00\t2\t1\t2\t")
    assert lines[5].endswith("\t-")


def test_gaps_are_refused_until_something_is_said(write):
    path = write("model,x,y\nA,90,50\nB,80,-\n")
    result = call(path)
    assert result.exit_code == 1
    assert "B has no y" in result.stderr
    assert "Traceback" not in result.output
    for missing, rows, note in (
        ("tasks", ["A\t90.00\t1", "B\t80.00\t2"], "left out because scores are missing: y"),
        ("models", ["A\t70.00\t1"], "left out because scores are missing: B"),
        ("own", ["B\t80.00\t1", "A\t70.00\t2"], "of 2 tasks B 1, the other models all"),
    ):
        result = call(path, "--mean", "arithmetic", "--missing", missing)
        assert result.stdout.splitlines()[1:] == rows
        assert note in result.stderr
    result = call(path, "--missing", "own", "--bootstrap", "10")
    assert result.exit_code == 1
    assert "Choose --missing tasks or models" in result.stderr


def test_scores_that_break_a_mean(write):
    path = write("model,mcc,wer\nA,0,8\nB,-31.4,100\nC,60,20\n")
    result = call(path, "--lower", "wer")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "model\tarithmetic\trank\tranks\trank"
    assert "there is no geometric mean: the score of 'A' in 'mcc' is 0.0" in result.stderr
    result = call(path, "--lower", "wer", "--mean", "geometric")
    assert result.exit_code == 1
    assert "set a floor" in result.stderr
    # an error rate of 100 is a score of 0
    result = call(path, "--lower", "wer", "--without", "mcc", "--mean", "harmonic")
    assert "the score of 'B' in 'wer' is 0.0" in result.stderr
    result = call(path, "--lower", "wer", "--floor", "1", "--mean", "geometric")
    assert result.exit_code == 0
    values = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    assert values == [["C", "69.28", "1"], ["A", "9.59", "2"], ["B", "1.00", "3"]]
    result = call(path, "--lower", "wer=20", "--task", "wer", "--mean", "arithmetic")
    assert result.stdout.splitlines()[1:] == ["A\t12.00\t1", "C\t0.00\t2", "B\t-80.00\t3"]


def test_one_model_and_one_task(write):
    result = call(write("model,x,y\nA,90,50\n"))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "A\t70.00\t1\t67.08\t1\t64.29\t1\t1.00\t1"
    assert "arithmetic\tgeometric\tnan\t0" in result.stdout
    path = write("model,x\nA,90\nB,80\n")
    assert call(path).stdout.splitlines()[2].startswith("B\t80.00\t2\t80.00\t2")
    result = call(path, "--bootstrap", "10")
    assert result.exit_code == 1
    assert "at least two tasks" in result.stderr


def test_tables_that_come_with_the_library_name_their_source():
    result = call("superglue-2022", "--mean", "arithmetic")
    assert result.exit_code == 0
    assert "Human baselines\t89.79\t6" in result.stdout
    assert "https://arxiv.org/abs/2110.07904" in result.stderr


def test_other_formats_and_other_ways_round(write):
    path = write("|task|even|uneven|\n|-|-|-|\n|x|60|90|\n|y|60|35|\n", "a.md")
    words = ["--mean", "arithmetic", "--transpose"]
    turned = call(path, *words).stdout
    assert turned == call(write(TABLE), "--mean", "arithmetic").stdout
    assert call(path, *words, "--number", "1", "--format", "markdown").stdout == turned
    path = write('{"even": {"x": 60, "y": 60}, "uneven": {"x": 90, "y": 35}}', "a.json")
    assert call(path, "--mean", "arithmetic").stdout == turned


def test_a_picture(write, tmp_path):
    pytest.importorskip("matplotlib")
    path = write("model,x,y\n模型,60,60\n\ue000,90,35\n")
    result = call(path, "--plot", tmp_path / "a.svg")
    assert result.exit_code == 0, result.output
    assert "模型" in (tmp_path / "a.svg").read_text("utf-8")
    assert "note: No font here has" in result.stderr
    result = call(path, "--plot", tmp_path / "b.svg", "--mean", "ranks")
    assert result.exit_code == 1
    assert "at least two means" in result.stderr
    assert not (tmp_path / "b.svg").exists()


def test_without_matplotlib_it_says_how_to_get_it(write, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = call(write(TABLE), "--plot", tmp_path / "a.png")
    assert result.exit_code == 1
    assert 'pip install "kexue[plot]"' in result.stderr


MISTAKES = {
    "no such file": ("", ["none.csv"], "glue-2019, superglue-2022"),
    "empty file": ("", [], "a.csv: there is no table in the file"),
    "no rows": ("model,x\n", [], "a.csv: there are no scores"),
    "broken row": ("model,x,y\nA,1,2\nB,1\n", [], "a.csv:3: the row has 2 cells"),
    "text in a score": ("model,x\nA,good\n", [], "a.csv:2: 'A', 'x': 'good' is no score"),
    "decimal comma": ('model,x\nA,"9,4"\n', [], "a.csv:2: 'A', 'x': '9,4' has a comma"),
    "open quotes": ('model,x\nA,"1\nB,2\n', [], "a.csv:2: a row cannot be split"),
    "a model twice": ("model,x\nA,1\nA,2\n", [], "a.csv:3: 'A' stands on line 2"),
    "a score of no size": ("model,x\nA,1e999\n", [], "a.csv:2: 'A', 'x': the score is too large"),
    "unknown mean": (TABLE, ["--mean", "median"], "'arithmetic', 'geometric'"),
    "unknown task": (TABLE, ["--task", "q"], "tasks is 'q'; allowed: 'x', 'y'"),
    "nothing left": (TABLE, ["--without", "x", "--without", "y"], "there are no scores"),
    "unknown lower": (TABLE, ["--lower", "q"], "lower is 'q'"),
    "no number in lower": (TABLE, ["--lower", "x=much"], "TASK=FULL"),
    "unknown missing": (TABLE, ["--missing", "drop"], "'refuse', 'tasks'"),
    "negative draws": (TABLE, ["--bootstrap", "-1"], "0 for none"),
    "negative seed": (TABLE, ["--bootstrap", "9", "--seed", "-1"], "0 or more"),
    "no picture": (TABLE, ["--plot", "a.xlsx"], ".png, .svg or .pdf"),
    "unknown format": (TABLE, ["--format", "xlsx"], "'csv', 'json', 'markdown'"),
    "no such floor": (TABLE, ["--floor", "nan"], "floor is nan"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_readable_line(write, monkeypatch, tmp_path, mistake):
    content, words, message = MISTAKES[mistake]
    path = write(content)
    monkeypatch.chdir(tmp_path)
    result = call(*(words if words[:1] == ["none.csv"] else [path, *words]))
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_a_mistake_with_json_is_an_object_with_its_place(write):
    path = write("model,x\nA,good\n")
    error = json.loads(call(path, "--json").stdout)["error"]
    assert (error["path"], error["line"]) == (str(path), 2)
    assert "'good' is no score" in error["reason"]


def test_a_file_of_the_name_of_a_shipped_table_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_table("glue-2019").suffix == ".csv"
    (tmp_path / "glue-2019").write_text(TABLE, "utf-8")
    assert str(find_table("glue-2019")) == "glue-2019"


def test_the_full_score_of_a_task():
    assert full_score("a b") == ("a b", 100.0)
    assert full_score("ppl=0") == ("ppl", 0.0)
    with pytest.raises(ValueError, match="TASK=FULL"):
        full_score("ppl=")


def test_what_was_left_out_is_said_once(tmp_path):
    read = ScoreTable({"A": {"x": 1, "y": 2}, "B": {"x": None, "y": 3}}, {}, tmp_path)
    assert left_out(read, {"A": {"x": 1, "y": 2}, "B": {"y": 3}}, "own") == [
        "these means are over different tasks and do not compare: of 2 tasks B 1, the other "
        "models all"
    ]
    assert left_out(read, {"A": {"x": 1, "y": 2}}, "own") == [
        "left out because scores are missing: B"
    ]


def test_importing_the_command_loads_nothing_heavy():
    code = "import sys, kexue.cli.leaderboard, kexue.cli.leaderboard_tables; print([*sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    for heavy in ("numpy", "torch", "pydantic", "kexue.analysis", "kexue.data"):
        assert f"'{heavy}'" not in loaded.stdout
