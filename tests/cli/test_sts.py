import csv
import json

import pytest
from typer.testing import CliRunner

from kexue.cli import app
from kexue.cli.sts import form, transforms


def call(*words):
    return CliRunner().invoke(app, ["sts", *(str(word) for word in words)])


def test_a_row_for_each_pooling_and_transform(sentence_files, tmp_path):
    words = [sentence_files / "encoder", "--pairs", sentence_files / "dev.tsv"]
    words += ["--pairs", sentence_files / "pairs.tsv", "--pooling", "P1", "--pooling", "P4"]
    result = call(*words, "-k", "8", "--out", tmp_path / "table.csv")
    assert result.exit_code == 0, result.output
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["encoder", "pooling", "vectors", "dev", "pairs"]
    assert [row[:2] for row in rows[1:]].count(["encoder", "P4"]) >= 3
    assert {row[2] for row in rows[1:]} >= {"raw", "whitened, 8", "(0, 0), 8"}
    for cell in (cell for row in rows[1:] for cell in row[3:]):
        assert cell == "-" or -100 <= float(cell) <= 100
    assert call(*words, "-k", "8", "--out", tmp_path / "table.md").exit_code == 0
    markdown = (tmp_path / "table.md").read_text("utf-8")
    assert markdown.startswith("| encoder | pooling | vectors | dev | pairs |\n|---|")


def test_sets_are_found_by_name_and_split(sentence_files, tmp_path):
    folder = tmp_path / "BQ"
    folder.mkdir()
    for split, source in (("test", "dev.tsv"), ("valid", "pairs.tsv")):
        content = (sentence_files / source).read_text("utf-8")
        (folder / f"BQ.{split}.data").write_text(content, "utf-8")
    words = [sentence_files / "encoder", "--data", tmp_path, "--set", "BQ", "-k", "4", "--json"]
    scores = {}
    for split in ("test", "valid", "all"):
        result = call(*words, "--split", split)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)["scores"]
        assert {score["pairs"] for score in found} == {"BQ"}
        scores[split] = found[0]["spearman"]
    assert len(set(scores.values())) == 3
    result = call(*words, "--split", "train")
    assert result.exit_code == 1
    assert "valid, test or all" in result.output


def test_subsets_have_two_columns(sentence_files, tmp_path):
    folder = tmp_path / "STS12-en-test"
    folder.mkdir()
    rows = (sentence_files / "dev.tsv").read_text("utf-8").splitlines()
    for name, part in (("one", rows[:15]), ("two", rows[15:])):
        cells = [row.split("\t") for row in part]
        (folder / f"STS.input.{name}.txt").write_text(
            "".join(f"{a}\t{b}\n" for a, b, _ in cells), "utf-8"
        )
        (folder / f"STS.gs.{name}.txt").write_text("".join(f"{c[2]}\n" for c in cells), "utf-8")
    result = call(sentence_files / "encoder", "--pairs", folder, "--json", "-k", "4")
    assert result.exit_code == 0, result.output
    names = {score["pairs"] for score in json.loads(result.stdout)["scores"]}
    assert names == {"STS12-en-test all", "STS12-en-test mean"}


MISTAKES = {
    "nothing to measure on": ([], "Give --pairs FILE"),
    "no folder for a set": (["--set", "BQ"], "as in --data FOLDER"),
    "unknown set": (["--data", ".", "--set", "ABC"], "ATEC, BQ"),
    "set that is not there": (["--data", ".", "--set", "BQ"], "BQ is not there"),
    "unknown split": (["--data", ".", "--set", "BQ", "--split", "dev"], "'valid'"),
    "no such file": (["--pairs", "none.tsv"], "none.tsv"),
    "no form": (["--pairs", "dev.tsv", "--beta-gamma", "1"], "two numbers"),
    "no table": (["--pairs", "dev.tsv", "--out", "a.xlsx"], "ends in .md or .csv"),
    "no pooler": (["--pairs", "dev.tsv", "--pooling", "P2"], "no pooler"),
    "broken line": (["--pairs", "broken.tsv"], "broken.tsv:2"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message(mistake, sentence_files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dev = (sentence_files / "dev.tsv").read_text("utf-8")
    (tmp_path / "dev.tsv").write_text(dev, "utf-8")
    (tmp_path / "broken.tsv").write_text("a\tb\t1\na\tb\n" + dev, "utf-8")
    extra, expected = MISTAKES[mistake]
    result = call(sentence_files / "encoder", *extra)
    assert result.exit_code == 1, result.output
    assert expected in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


def test_forms_and_transforms():
    assert form("1,0.5") == (1.0, 0.5)
    named = [str(t) for t in transforms([(1.0, 1.0), (0.0, 0.0)], [8, 16], 64)]
    assert named == ["whitened", "whitened, 8", "whitened, 16", "(0, 0), 8", "(0, 0), 16"]
