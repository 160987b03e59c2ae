import json

import pytest

from kexue.data import read
from kexue.tasks.ner_model import EntitySettings
from kexue.tasks.ner_run import run_entities
from kexue.training.log import read_metrics

SETTINGS = EntitySettings(encoder="scratch", layers=1, width=64, window=64)
OPTIONS = {"num_train_epochs": 2, "per_device_train_batch_size": 32, "learning_rate": 1e-3}


def run(files, out, **changes):
    options = {**OPTIONS, **changes.pop("options", {})}
    corpus = read(files / "dev.jsonl")
    return run_entities(corpus, None, out, settings=SETTINGS, options=options, **changes)


def test_a_finished_run_resumed_trains_no_more_and_says_the_same(sample_files, tmp_path):
    first = run(sample_files, tmp_path / "r")
    log = read_metrics(tmp_path / "r" / "metrics.jsonl")
    again = run(sample_files, tmp_path / "r", resume=True)
    assert again.scores == first.scores
    assert [line.get("eval_f1") for line in read_metrics(tmp_path / "r" / "metrics.jsonl")][
        : len(log)
    ] == [line.get("eval_f1") for line in log]


def test_two_runs_with_one_seed_are_one(sample_files, tmp_path):
    scores = [run(sample_files, tmp_path / name).scores for name in "ab"]
    assert scores[0] == scores[1]
    other = run(sample_files, tmp_path / "c", options={"seed": 7})
    assert other.scores != scores[0]


def test_resuming_where_nothing_began_begins(sample_files, tmp_path):
    run(sample_files, tmp_path / "r", resume=True)
    plan = json.loads((tmp_path / "r" / "run.json").read_text("utf-8"))
    assert plan["data"]["train"]["texts"] + plan["data"]["dev"]["texts"] == 100


def test_a_folder_of_another_run_is_refused(sample_files, tmp_path):
    run(sample_files, tmp_path / "r", options={"num_train_epochs": 1})
    with pytest.raises(ValueError, match="Add --resume"):
        run(sample_files, tmp_path / "r", options={"num_train_epochs": 1})
    with pytest.raises(ValueError, match="other options"):
        run(sample_files, tmp_path / "r", resume=True)
