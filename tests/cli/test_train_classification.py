import importlib.util
import io
import json
import zipfile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kexue.cli.evaluate import evaluate
from kexue.cli.predict import predict
from kexue.cli.train_classification import classification

_SPEC = importlib.util.spec_from_file_location(
    "classifying", Path(__file__).parents[1] / "tasks" / "classifying.py"
)
classifying = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(classifying)
make_texts = classifying.make_texts

SENTIMENT = Path(__file__).parents[3] / "shared" / "data" / "sentiment" / "sentiment.zip"

app = typer.Typer()
for command in (classification, evaluate, predict):
    app.command(command.__name__)(command)


def call(*words, **options):
    return CliRunner().invoke(app, [*map(str, words)], **options)


def given(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, count, seed in (("train", 150, 0), ("dev", 60, 1)):
        lines = [f"{text}\t{label}\n" for text, label in make_texts(count, seed)]
        (folder / f"{name}.tsv").write_text("".join(lines), "utf-8")
        rows = [
            {"text": text[0], "pair": text[1], "label": label}
            for text, label in make_texts(count, seed, pairs=True)
        ]
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / f"pairs-{name}.jsonl").write_text("".join(lines), "utf-8")
    classifying.write_encoder(folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "mine"
    words = ("--train", files / "train.tsv", "--dev", files / "dev.tsv", "--head", "analytic")
    result = call("classification", *words, "--encoder", files / "encoder", "--out", out, "--json")
    return out, given(result)


def test_from_a_file_to_a_folder_that_measures_and_predicts(files, trained):
    out, said = trained
    assert said["scores"]["accuracy"] > 0.8
    assert Path(said["model"], "model.safetensors").is_file()
    again = given(call("evaluate", out, files / "dev.tsv", "--json"))
    assert again == pytest.approx(said["scores"])
    texts = [text for text, _ in make_texts(3, 5)]
    result = call("predict", out, *texts)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["text"] for line in found] == texts
    for line in found:
        assert line["score"] == line["probabilities"][line["label"]]
        assert sum(line["probabilities"].values()) == pytest.approx(1)


def test_a_file_that_has_labels_keeps_them_as_gold(trained, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"id": 7, "text": "a b", "label": "mine"}\n', "utf-8")
    out = tmp_path / "found.jsonl"
    result = call("predict", trained[0], "--file", path, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    line = json.loads(out.read_text("utf-8"))
    assert (line["id"], line["gold"]) == (7, "mine")
    assert line["label"] in ("high", "low", "middle")


def test_tables_for_people(files, trained):
    result = call("evaluate", trained[0], files / "dev.tsv")
    for word in ("precision", "middle", "accuracy", "Rows are gold"):
        assert word in result.output


def test_a_terminal_sees_labels(trained, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    options = {"file": None, "out": None, "threshold": None, "flat": None}
    predict(trained[0], texts=["a b c"], **options, batch_size=8, as_json=False)
    assert "a b c" in screen.getvalue()
    assert "middle" in screen.getvalue()


def test_a_label_that_the_model_does_not_know_counts_as_wrong(trained, tmp_path):
    path = tmp_path / "other.tsv"
    path.write_text("a b\tnew\nc d\tlow\n", "utf-8")
    result = call("evaluate", trained[0], path, "--json")
    assert "does not know new" in result.stderr
    assert given(result)["accuracy"] <= 0.5


def test_by_gradient_and_resumed(files, tmp_path):
    words = (
        *("classification", "--train", files / "train.tsv", "--dev", files / "dev.tsv"),
        *("--encoder", files / "encoder", "--out", tmp_path / "run", "--epochs", 2, "--json"),
        *("--initial-head", "analytic", "--learning-rate", "1e-3"),
    )
    first = given(call(*words))
    assert first["scores"]["accuracy"] > 0.8
    refused = call(*words)
    assert refused.exit_code == 1
    assert "Add --resume" in refused.output
    again = given(call(*words, "--resume"))
    assert again["scores"] == first["scores"]


def test_pairs_from_jsonl(files, tmp_path):
    words = ("--train", files / "pairs-train.jsonl", "--dev", files / "pairs-dev.jsonl")
    more = ("--head", "analytic", "--encoder", files / "encoder", "--out", tmp_path / "run")
    said = given(call("classification", *words, *more, "--json"))
    assert said["scores"]["accuracy"] > 0.6
    line = '{"text": "a b c", "pair": "a c"}\n'
    result = call("predict", tmp_path / "run", "--file", "-", input=line)
    assert json.loads(result.stdout)["label"] in ("same", "different")
    alone = call("predict", tmp_path / "run", "a b c")
    assert alone.exit_code == 1
    assert "This classifier wants pairs" in alone.output
    measured = call("evaluate", tmp_path / "run", files / "dev.tsv")
    assert measured.exit_code == 1
    assert "pairs of texts" in measured.output


def test_a_dry_run_trains_nothing(files, tmp_path):
    words = ("--train", files / "train.tsv", "--encoder", files / "encoder", "--window", 8)
    result = call("classification", *words, "--out", tmp_path / "run", "--dry-run", "--json")
    said = given(result)
    assert said["train"]["texts"] + said["dev"]["texts"] == 150
    assert said["train"]["longer than a window"] > 0
    assert sum(said["train"]["labels"].values()) == said["train"]["texts"]
    assert not (tmp_path / "run").exists()


def test_broken_lines_can_be_left_out(files, tmp_path):
    path = tmp_path / "some.tsv"
    path.write_text((files / "train.tsv").read_text("utf-8") + "no label\n", "utf-8")
    words = ("--train", path, "--encoder", files / "encoder", "--out", tmp_path / "run")
    words = ("classification", *words, "--head", "analytic", "--json")
    refused = call(*words)
    assert refused.exit_code == 1
    assert "some.tsv:151: the line has 1 field" in refused.output
    result = call(*words, "--skip-bad")
    assert "1 broken lines left out" in result.stderr
    given(result)


PLAIN = "".join(f"a {k}\t{'xy'[k % 2]}\n" for k in range(40))
WRONG = {
    "empty": ("", [], "the file has no texts"),
    "columns swapped": ("".join(f"x\ttext {k}\n" for k in range(20)), [], "20 labels of 20"),
    "one label": ("a\tx\nb\tx\n" * 5, [], "texts of two labels"),
    "head": (PLAIN, ["--head", "big"], "head is 'big'"),
    "ridge": (PLAIN, ["--ridge", "-1"], "ridge is -1.0"),
    "encoder": (PLAIN, ["--encoder", "runs/none"], "encoder is 'runs/none'"),
    "column": ("a\tx\n", ["--column", "label"], "Write label=cat"),
    "width": (PLAIN, ["--width", "64"], "A trained encoder has the size it has"),
    "option": (PLAIN, ["--option", "none=1"], "Options are the fields"),
    "no such file": (None, [], "there is no such file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_message(name, files, tmp_path):
    content, more, message = WRONG[name]
    path = tmp_path / "a.tsv"
    if content is not None:
        path.write_text(content, "utf-8")
    words = ["--train", path, "--out", tmp_path / "run", "--encoder", files / "encoder", *more]
    result = call("classification", *words)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_commands_refuse_what_is_for_entities_and_other_folders(trained, files):
    for words in (("predict", trained[0], "a"), ("evaluate", trained[0], files / "dev.tsv")):
        result = call(*words, "--threshold", "0.5")
        assert result.exit_code == 1
        assert "It gives each text one label" in result.output
    result = call("evaluate", files / "encoder", files / "dev.tsv")
    assert result.exit_code == 1
    assert "It holds 'kexue'" in result.output


@pytest.mark.slow
def test_the_articles_set_in_closed_form(tmp_path):
    """A part of the set of article 8578, on the encoder that comes with the library."""
    if not SENTIMENT.is_file():
        pytest.skip("../shared/data/sentiment/sentiment.zip is absent")
    with zipfile.ZipFile(SENTIMENT) as archive:
        for name, count in (("train", 500), ("test", 200)):
            content = archive.read(f"sentiment/sentiment.{name}.data").decode("utf-8")
            lines = content.splitlines(keepends=True)[:count]
            (tmp_path / f"{name}.tsv").write_text("".join(lines), "utf-8")
    words = ("--train", tmp_path / "train.tsv", "--dev", tmp_path / "test.tsv")
    result = call("classification", *words, "--head", "analytic", "--out", tmp_path / "r", "--json")
    assert given(result)["scores"]["accuracy"] > 0.65
