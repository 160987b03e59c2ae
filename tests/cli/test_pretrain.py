"""`kexue pretrain` on small files, on nonsense, and killed in the middle."""

import gzip
import json
import re

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from kexue.cli import app
from kexue.cli.pretrain import count
from kexue.data.synthetic import sample_records
from kexue.tasks.ner_model import EntitySettings, build
from kexue.training.log import read_metrics

SHORT = [
    *("--vocab-size", "500", "--length", "64"),
    *("--tokens", "10_240", "--tokens-per-step", "1024", "--held-out", "10"),
]
SMALL = [*SHORT, "--layers", "1", "--width", "64"]


def call(*words):
    return CliRunner().invoke(app, ["pretrain", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "texts.txt"
    texts = [record["text"] for record in sample_records(300, seed=3)]
    path.write_text("\n\n".join(texts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory):
    """A short run, and what the command printed."""
    out = tmp_path_factory.mktemp("run") / "first"
    result = call("--texts", file, "--out", out, *SMALL, "--bf16", "--float16")
    assert result.exit_code == 0, result.output
    return out, result.output


def test_it_prints_what_is_done_and_what_came_out(finished):
    out, printed = finished
    lines = printed.splitlines()
    assert lines[0] == "learning the tokenizer"
    assert "training: 10 steps, 10.2k tokens" in lines
    steps = [line for line in lines if line.startswith("step ")]
    assert steps[0].startswith("step 1/10  tokens 1.02k  loss ")
    assert re.search(r"accuracy 0\.\d{4}  .*tokens/s [\d.]+k?  ETA 0:00:\d\d$", steps[-1])
    assert lines[-1] == f"Model: {out / 'model'}"
    assert re.match(r"Held-out texts: [\d.]+ % of the hidden tokens named right", lines[-2])


def test_all_that_was_asked_for_is_in_the_folder(finished):
    out, _ = finished
    plan = json.loads((out / "run.json").read_text("utf-8"))
    assert plan["settings"] == {
        "encoder": "new",
        "layers": 1,
        "width": 64,
        "length": 64,
        "share": 0.3,
        "run": 2.5,
        "tokens": 10240,
        "tokens_per_step": 1024,
        "decay": 0.3,
        "optimizer": "muon",
    }
    assert plan["options"]["bf16"] is True
    assert plan["options"]["seed"] == 42
    weights = load_file(out / "model" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}


def test_the_encoder_serves_a_task(finished):
    out, _ = finished
    settings = EntitySettings(encoder=str(out / "model"), window=64)
    model, tokenizer = build(settings, ["他在北京"], ["place"])
    assert model.config.encoder_config.model_type == "kexue"
    assert model(**tokenizer("他在北京", return_tensors="pt")).last_hidden_state.shape[-1] == 64


def test_several_files_of_several_kinds(file, tmp_path):
    packed = tmp_path / "b.jsonl.gz"
    lines = [json.dumps({"text": f"text number {i}"}) for i in range(50)]
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    words = ["--texts", file, "--texts", packed, "--out", tmp_path / "r"]
    one = json.loads(call(*words, *SMALL, "--dry-run", "--json").output.splitlines()[-1])
    alone = json.loads(call(*words[:2], *words[4:], *SMALL, "--dry-run", "--json").stdout)
    assert one["tokens"] > alone["tokens"]
    assert not (tmp_path / "r").exists()


def test_a_dry_run_tells_sizes_and_trains_nothing(file, tmp_path):
    result = call("--texts", file, "--out", tmp_path / "r", *SMALL, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "\nsteps: 10\n" in result.output
    assert "\nlearning rate: 0.003\n" in result.output
    assert "entries: 500\n" in result.output
    assert not (tmp_path / "r").exists()


def test_json_is_one_object_and_nothing_else(file, tmp_path):
    words = ["--texts", file, "--out", tmp_path / "r", *SMALL, "--tokens", "3k", "--json"]
    result = call(*words, "--optimizer", "adamw", "--option", "save_steps=1")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["model"] == str(tmp_path / "r" / "model")
    assert 0 <= told["accuracy"] <= 1
    assert told["skipped"] == 0
    assert "training: 2 steps" in result.stderr


def test_a_folder_with_a_run_is_not_written_over(finished, file):
    out, _ = finished
    words = ["--texts", file, "--out", out, *SMALL, "--bf16"]
    before = (out / "scores.json").read_bytes()
    result = call(*words)
    assert result.exit_code == 1
    assert "Add --resume" in result.output
    result = call(*words, "--resume", "--tokens", "20_480")
    assert result.exit_code == 1
    assert "--encoder" in result.output
    assert (out / "scores.json").read_bytes() == before


MISTAKES = {
    "no such file": (["--texts", "none.txt"], "none.txt: the file cannot be read (No such file"),
    "a folder": (["--texts", "."], "Is a directory"),
    "wrong length": (["--length", "100"], "allowed: 32, 64, 128"),
    "wrong width": (["--width", "100"], "a multiple of 64"),
    "wrong encoder": (["--encoder", "./none"], "AutoModelForMaskedLM loads"),
    "size of a trained encoder": (["--encoder", "mini", "--layers", "2"], "add --encoder new"),
    "wrong tokenizer": (["--tokenizer", "./none"], "a folder with tokenizer.json"),
    "wrong optimizer": (["--optimizer", "sgd"], "'muon' or 'adamw'"),
    "share too high": (["--share", "0.9"], "at most 0.714"),
    "no number": (["--tokens", "many"], "tokens is 'many'; allowed: a number such as 60M"),
    "too few tokens": (["--tokens", "5"], "a step of 1024 or more"),
    "uneven step": (["--tokens-per-step", "1000"], "rows of 64 tokens"),
    "vocabulary too small": (["--vocab-size", "200"], "more than 261"),
    "held out too few": (["--held-out", "1"], "2 or more"),
    "held out too many": (["--held-out", "1000"], "at least 1000 texts"),
    "option without a value": (["--option", "weight_decay"], "NAME=VALUE"),
    "unknown option": (["--option", "wait_decay=1"], "fields of transformers.TrainingArguments"),
    "decided option": (["--option", "max_steps=1"], "Use tokens."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_that_says_what_to_type(mistake, file, tmp_path):
    extra, expected = MISTAKES[mistake]
    texts = [] if "--texts" in extra else ["--texts", file]
    size = SHORT if "--encoder" in extra else SMALL
    result = call(*texts, "--out", tmp_path / "r", *size, *extra)
    assert result.exit_code == 1, result.output
    assert expected in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "r" / "run.json").exists()


def broken_gzip():
    whole = gzip.compress(b"\n\n".join(b"text %d" % (i * i) for i in range(20_000)))
    return whole[: len(whole) // 2]


FILES = {
    "empty.txt": (b"", "at least 10 texts"),
    "blank.txt": (b" \n\n\t\n", "at least 10 texts"),
    "one.txt": (b"one text", "at least 10 texts"),
    "short.txt": (b"a\n\n" * 20, "at least a row of 64"),
    "broken.txt.gz": (broken_gzip(), "breaks off here"),
    "fake.txt.gz": (b"\x1f\x8b\x08 no gzip", "breaks off here"),
    "latin.txt": ("à la carte\n".encode("latin-1"), "latin.txt:1: byte 1 (0xe0) is not UTF-8"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": \n', "broken.jsonl:2: not JSON"),
    "other.jsonl": (b'{"txt": "a"}\n', 'other.jsonl:1: there is no text. Write {"text"'),
    "list.jsonl": (b"[1, 2]\n", "list.jsonl:1: there is no text"),
}


@pytest.mark.parametrize("name", FILES)
def test_nonsense_is_refused_by_name(name, tmp_path):
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content)
    result = call("--texts", tmp_path / name, "--out", tmp_path / "r", *SMALL)
    assert result.exit_code == 1, result.output
    assert expected in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "r" / "run.json").exists()


def test_broken_lines_are_left_out_on_request_and_counted(tmp_path):
    lines = [json.dumps({"text": r["text"]}) for r in sample_records(300, seed=3)]
    lines[40:40] = ["{", '{"text": 3}']
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    words = ["--texts", path, "--out", tmp_path / "r", *SMALL, "--tokens", "2048"]
    strict = call(*words)
    assert strict.exit_code == 1
    assert "a.jsonl:41: not JSON" in strict.output
    loose = call(*words, "--skip-bad")
    assert loose.exit_code == 0, loose.output
    assert f"left out: 2 broken lines, the first: {path}:41: not JSON" in loose.output
    notes = (tmp_path / "r" / "corpus" / "skipped.txt").read_text("utf-8").splitlines()
    assert [note.split(": ")[0] for note in notes] == [f"{path}:41", f"{path}:42"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("60M", 60_000_000),
        ("1.5B", 1_500_000_000),
        ("1.1b", 1_100_000_000),
        ("500k", 500_000),
        ("60_000_000", 60_000_000),
        ("8192", 8192),
        ("64.1k", 64_100),
        (" 2 m ", 2_000_000),
    ],
)
def test_numbers_are_read_as_people_write_them(text, number):
    assert count("tokens", text) == number


@pytest.mark.parametrize("text", ["", "M", "-1", "1,5B", "1e9", "60MM", "1.2.3", "nan"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match=r"tokens is .*; allowed: a number such as 60M"):
        count("tokens", text)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(file, broken_and_unbroken):
    words = ["pretrain", "--texts", file, *SMALL, "--tokens", "30k", "--option", "logging_steps=1"]
    words += ["--option", "save_steps=3", "--option", "eval_steps=10"]
    folders = broken_and_unbroken(words)
    logs = [read_metrics(folder / "metrics.jsonl") for folder in folders]
    figures = [
        [(line["step"], line.get("eval_accuracy"), line.get("loss")) for line in log]
        for log in logs
    ]
    assert figures[0] == figures[1]
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_run_killed_while_it_reads_begins_again(kill_once, tmp_path):
    """What was half written is not taken for whole, and nothing of it stays."""
    path = tmp_path / "a.txt"
    texts = [record["text"] for record in sample_records(300, seed=3)]
    path.write_text("\n\n".join(texts * 30), encoding="utf-8")
    out = tmp_path / "r"
    words = ["--texts", path, "--out", out, *SMALL, "--tokens", "4096"]
    kill_once(["pretrain", *words], lambda: list(out.glob("corpus/.train.ids.*.tmp")))
    assert not (out / "run.json").exists()
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert not list(out.glob("**/.*"))
