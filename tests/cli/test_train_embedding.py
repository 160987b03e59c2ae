import json

import pytest
from typer.testing import CliRunner

from kexue import SentenceEncoder
from kexue.cli import app
from kexue.tasks.embedding_objectives import OBJECTIVES
from kexue.training.log import read_metrics

SMALL = ["--effective-batch-size", "32", "--epochs", "2", "--learning-rate", "1e-3"]


def call(*words):
    return CliRunner().invoke(app, ["train", "embedding", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def files(sentence_files):
    return sentence_files


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "first"
    words = [
        "--train",
        files / "pairs.tsv",
        "--dev",
        files / "dev.tsv",
        "--out",
        out,
    ]
    result = call(*words, "--encoder", files / "encoder", *SMALL)
    assert result.exit_code == 0, result.output
    return out, result.output


def test_the_run_folder_is_complete(finished):
    out, printed = finished
    assert "Spearman correlation" in printed
    assert str(out / "model") in printed
    plan = json.loads((out / "run.json").read_text("utf-8"))
    assert plan["settings"]["objective"] == "cosent"
    assert plan["data"]["train"]["groups"] == 90
    assert plan["data"]["dev"]["groups"] == 30
    evaluations = [line for line in read_metrics(out / "metrics.jsonl") if "eval_spearman" in line]
    assert [line["epoch"] for line in evaluations] == [1.0, 2.0]
    scores = json.loads((out / "scores.json").read_text("utf-8"))
    best = max(line["eval_spearman"] for line in evaluations)
    assert scores["after"]["spearman"] == pytest.approx(best)
    assert "<svg" in (out / "report.html").read_text("utf-8")
    names = {path.name for path in (out / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    encoder = SentenceEncoder.from_pretrained(out)
    assert encoder(["a b c"]).shape == (1, 64)
    assert not any("objective" in name for name, _ in encoder.model.named_parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_trains_from_its_kind_of_file(files, tmp_path, objective):
    kind = {"cosent": "pairs.tsv", "sentence-bert": "pairs.tsv", "infonce": "same.tsv"}
    words = [
        "--train",
        files / kind.get(objective, "texts.txt"),
        "--out",
        tmp_path / "run",
    ]
    words += ["--format", "parallel"] if objective == "infonce" else []
    words += [
        "--objective",
        objective,
        "--encoder",
        files / "encoder",
        *SMALL,
        "--epochs",
        "1",
    ]
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert ("spearman" in told["after"]) == (objective in ("cosent", "sentence-bert"))
    assert 0 < told["after"]["std"] <= 1


def test_pairs_with_labels_serve_infonce_from_a_label_on(files, tmp_path):
    words = [
        "--train",
        files / "pairs.tsv",
        "--objective",
        "infonce",
        "--out",
        tmp_path / "run",
    ]
    words += ["--encoder", files / "encoder", *SMALL]
    result = call(*words)
    assert result.exit_code == 1
    assert "--positive-from 4" in result.output
    result = call(*words, "--positive-from", "4")
    assert result.exit_code == 0, result.output
    plan = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert 2 <= plan["data"]["train"]["groups"] < 90


def test_a_folder_with_a_run_is_not_written_over(finished, files):
    out, _ = finished
    before = (out / "scores.json").read_bytes()
    words = [
        "--train",
        files / "pairs.tsv",
        "--dev",
        files / "dev.tsv",
        "--out",
        out,
    ]
    result = call(*words, "--encoder", files / "encoder", *SMALL)
    assert result.exit_code == 1
    assert "Add --resume" in result.output
    assert (out / "scores.json").read_bytes() == before


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_end(files, broken_and_unbroken):
    words = [
        "train",
        "embedding",
        "--train",
        files / "pairs.tsv",
        "--dev",
        files / "dev.tsv",
    ]
    words += [
        "--encoder",
        files / "encoder",
        "--effective-batch-size",
        "16",
        "--epochs",
        "12",
    ]
    broken, unbroken = broken_and_unbroken(words)
    figures = [json.loads((run / "scores.json").read_text())["after"] for run in (broken, unbroken)]
    assert figures[0] == figures[1]
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (broken, unbroken)]
    assert weights[0] == weights[1]


MISTAKES = {
    "no such file": (["--train", "none.tsv"], "none.tsv"),
    "unknown objective": (["--objective", "triplet"], "'simcse', 'simsiam', 'byol'"),
    "unknown encoder": (["--encoder", "./none"], "encoder is './none'; allowed: 'mini'"),
    "unknown pooling": (["--pooling", "mean"], "'P1', 'P2', 'P3', 'P4'"),
    "no pooler": (["--pooling", "P2"], "which has no pooler"),
    "option without a value": (["--option", "weight_decay"], "NAME=VALUE"),
    "share": (["--dev-fraction", "1.5"], "a share between 0 and 1"),
    "label too high": (["--objective", "infonce", "--positive-from", "99"], "highest label"),
    "temperature": (["--objective", "simcse", "--temperature", "0"], "temperature"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_that_says_what_to_type(mistake, files, tmp_path):
    extra, expected = MISTAKES[mistake]
    words = [] if "--train" in extra else ["--train", files / "pairs.tsv"]
    words += [] if "--encoder" in extra else ["--encoder", files / "encoder"]
    result = call(*words, "--out", tmp_path / "run", *SMALL, *extra)
    assert result.exit_code == 1, result.output
    assert expected in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    # Or the next try would be told that there is a run.
    assert not (tmp_path / "run" / "run.json").exists()


FILES = {
    "empty.tsv": (b"", "empty.tsv"),
    "two.tsv": (b"a\tb\t1\na\tb\n", "two.tsv:2"),
    "words.tsv": (b"a\tb\tnear\nb\tc\tfar\n", "words.tsv"),
    "latin.tsv": (b"a\tb\t1\n\xe9\tb\t1\n", "latin.tsv:2"),
}


@pytest.mark.parametrize("name", FILES)
def test_nonsense_is_refused_by_file_and_line(name, files, tmp_path):
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content)
    words = [
        "--train",
        tmp_path / name,
        "--encoder",
        files / "encoder",
        "--out",
        tmp_path / "run",
    ]
    result = call(*words)
    assert result.exit_code == 1, result.output
    assert expected in result.output.replace("\n", "")
    assert "Traceback" not in result.output
