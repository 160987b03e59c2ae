import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kexue.cli.data import app
from kexue.data import FORMATS, read

DATA = Path(__file__).parents[3] / "shared" / "data"
GOOD = {"text": "我在北京 here", "entities": [{"start": 2, "end": 4, "label": "place"}]}
SPACE = {"text": "在北京 ", "entities": [{"start": 1, "end": 4, "label": "place"}]}


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def save(tmp_path):
    def write(*items, name="a.jsonl"):
        path = tmp_path / name
        lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.mark.parametrize("to", [f for f in FORMATS if f != "tokens"])
def test_convert_there_and_back(save, tmp_path, to):
    path = save(GOOD, {"text": "空", "entities": []})
    result = run("convert", path, tmp_path / "out", "--to", to)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"2 records: {path} (jsonl) -> {tmp_path / 'out'} ({to})\n"
    back = run("convert", tmp_path / "out", tmp_path / "back.jsonl", "--from", to, "--json")
    assert back.exit_code == 0
    assert json.loads(back.stdout)["written"] == 2
    assert read(tmp_path / "back.jsonl").records == read(path).records


def test_convert_names_what_does_not_fit_and_drops_what_is_named(save, tmp_path):
    path = save({**GOOD, "id": 7, "genre": "x"})
    result = run("convert", path, tmp_path / "out", "--to", "bmes")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "record 1: this format has no place for id, genre" in result.stderr
    assert "--drop id,genre" in result.stderr
    assert not (tmp_path / "out").exists()
    result = run("convert", path, tmp_path / "out", "--to", "bmes", "--drop", "id, genre")
    assert result.exit_code == 0
    assert read(tmp_path / "out").records[0].text == GOOD["text"]


def test_convert_between_tags_keeps_the_joiner(save, tmp_path):
    path = save("a O", "b S-x", "", "c O", name="a.txt")
    for words in ([], ["--joiner", "space"], ["--joiner", "none"]):
        out = tmp_path / "out"
        assert run("convert", path, out, "--to", "bio", *words).exit_code == 0
        expected = "a b" if "space" in words else "ab"
        joiner = {"space": " ", "none": ""}.get(words[-1]) if words else None
        assert read(out, joiner=joiner).records[0].text == expected


def test_a_bad_line_stops_unless_it_is_skipped(save, tmp_path):
    path = save(GOOD, '{"text": 3}', GOOD, "broken")
    for command in (["stats", path], ["convert", path, tmp_path / "out"]):
        result = run(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"error: {path}:2: text is 3, not a string.")
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()
        result = run(*command, "--skip-bad")
        assert result.exit_code == 0
        assert f"{path}: 2 bad records left out, 2 kept" in result.stderr
        assert f"{path}:4: not JSON" in result.stderr
    assert len(read(tmp_path / "out")) == 2


def test_errors_are_json_too(save, tmp_path):
    path = save("broken", name="a.jsonl")
    result = run("stats", path, "--format", "jsonl", "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert (error["path"], error["line"]) == (str(path), 1)
    assert error["fix"].endswith(".")
    assert "error:" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["check", "{path}", "--format", "xml"],
        ["convert", "{path}", "{out}", "--to", "xml"],
        ["convert", "{path}", "{out}", "--joiner", "-"],
        ["convert", "{path}"],
        ["check"],
        ["check", "{path}", "--window", "0"],
        ["check", "{path}", "--tokenizer", "missing"],
        ["stats", "{path}", "--unknown"],
    ],
)
def test_wrong_usage_is_two(save, tmp_path, words):
    path = save(GOOD)
    result = run(*[word.format(path=path, out=tmp_path / "out") for word in words])
    assert result.exit_code == 2
    assert result.stderr
    assert not (tmp_path / "out").exists()


def test_check_is_one_where_something_is_wrong(save):
    assert run("check", save(GOOD)).exit_code == 0
    path = save(GOOD, SPACE)
    result = run("check", path)
    assert result.exit_code == 1
    assert f"{path}:2: error: white-space: place [1, 4) '北京 '" in result.stdout
    assert result.stdout.endswith("2 records: 1 errors, 0 warnings\n")
    crossing = {"text": "abc", "entities": [{**GOOD["entities"][0], "start": 0, "end": 2}]}
    crossing["entities"].append({"start": 1, "end": 3, "label": "x"})
    result = run("check", save(crossing))
    assert result.exit_code == 0
    assert "warning: crossing" in result.stdout


def test_check_as_json_is_one_object(save):
    path = save(GOOD, SPACE, "broken")
    result = run("check", path, "--json", "--window", "3")
    assert (result.exit_code, result.stderr) == (1, "")
    found = json.loads(result.stdout)
    assert found["errors"] == 2
    assert [f["kind"] for f in found["findings"]] == ["windowed", "white-space", "unreadable"]
    assert found["files"][0] | {"bad": []} == {
        "path": str(path),
        "format": "jsonl",
        "records": 2,
        "left_out": 1,
        "bad": [],
    }
    result = run("check", path, "--json", "--skip-bad")
    assert json.loads(result.stdout)["errors"] == 1


def test_check_compares_splits(save):
    train, dev = save(GOOD), save(GOOD, name="dev.jsonl")
    result = run("check", train, dev)
    assert result.exit_code == 0
    assert f"{dev}:1: warning: leak: the text stands at {train}:1 too" in result.stdout


def test_fix_writes_beside_and_lists(save, tmp_path):
    path = save(GOOD, SPACE, "broken")
    result = run("check", path, "--fix")
    assert result.exit_code == 1
    fixed, report = tmp_path / "a.fixed.jsonl", tmp_path / "a.fixed.report.json"
    assert f"{fixed}: 1 changes, 1 findings left; see {report}" in result.stdout
    assert run("check", fixed).exit_code == 0
    assert json.loads(report.read_text())["changes"][0]["line"] == 2
    repairs = json.loads(run("check", path, "--fix", "--json").stdout)["repairs"]
    assert repairs[0]["fixed"] == str(fixed)


def test_check_with_a_tokenizer(save, tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "tokenizer"
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    fast.save_pretrained(folder)
    path = save(GOOD, {"text": "in Rome now", "entities": [{"start": 3, "end": 7, "label": "p"}]})
    result = run("check", path, "--tokenizer", folder, "--window", "2", "--json")
    found = json.loads(result.stdout)["findings"]
    assert [(f["kind"], f["line"]) for f in found] == [("windowed", None), ("unalignable", 1)]
    (tmp_path / "empty").mkdir()
    assert run("check", path, "--tokenizer", tmp_path / "empty").exit_code == 2


def test_stats(save):
    path = save(GOOD, {"text": "空"})
    lines = dict(line.split("\t", 1) for line in run("stats", path).stdout.splitlines())
    assert lines["records"] == "2"
    assert lines["without entities"] == "1"
    assert lines["place"] == "1\t2.0\t2"
    (found,) = json.loads(run("stats", path, "--json").stdout)["files"]
    assert found["labels"] == {"place": {"count": 1, "mean_length": 2.0, "max_length": 2}}


def test_a_terminal_gets_tables(save, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("kexue.cli.data_output._is_terminal", lambda: True)
    path = save(GOOD, *[SPACE] * 50)
    output = run("check", path).stdout
    assert "and 69 more" in output
    assert "white-space" in output
    assert "│" in output
    assert "│" in run("stats", path).stdout


def test_notes_are_mentioned(save, tmp_path):
    path = save({"text": "北京", "label": {"p": {"上海": [[0, 1]]}}})
    result = run("convert", path, tmp_path / "out")
    assert result.exit_code == 0
    assert "1 oddities; `kexue data check" in result.stderr
    assert json.loads(run("convert", path, tmp_path / "out", "--json").stdout)["notes"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_file_names_that_are_no_text(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl"))
    path.write_text(json.dumps(SPACE))
    assert run("check", path).exit_code == 1
    assert run("check", path, "--json").exit_code == 1
    assert run("stats", path).exit_code == 0
    path.write_text("broken")
    assert run("stats", path, "--format", "jsonl").exit_code == 1


def test_help_does_not_load_what_is_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom kexue.cli.data import app\n"
        "assert CliRunner().invoke(app, ['check', '--help']).exit_code == 0\n"
        "print(sorted({'torch', 'transformers', 'kexue.data'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_real_files(tmp_path):
    path = DATA / "chinese_literature" / "validation.jsonl"
    if not path.exists():
        pytest.skip("../shared/data/chinese_literature/validation.jsonl is absent")
    assert run("check", path).exit_code == 0
    assert run("convert", path, tmp_path / "out", "--to", "brat").exit_code == 0
    assert run("stats", tmp_path / "out").exit_code == 0
    again = read(tmp_path / "out").records
    assert sum(len(r.entities) for r in again) == sum(len(r.entities) for r in read(path))
