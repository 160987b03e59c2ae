"""The metrics file of fresh, resumed and crashed runs."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from kexue.training.log import MetricsLog, read_metrics

SCHEDULE = {
    "logging_steps": 2,
    "save_strategy": "steps",
    "save_steps": 8,
    "eval_strategy": "steps",
    "eval_steps": 4,
    "num_train_epochs": 3,
    "seed": 3,
}


class KilledError(Exception):
    pass


class StopAt(TrainerCallback):
    """Break the run off in the middle of a step, as a crash would."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KilledError


def timeless(lines):
    """Leave out what differs between two equal runs."""
    volatile = ("time", "runtime", "per_second", "total_flos")
    return [{name: v for name, v in line.items() if not name.endswith(volatile)} for line in lines]


@pytest.fixture
def trainer(make_trainer, make_model):
    def make(folder, *callbacks, **options):
        scores = {"score": lambda model: {"f1": float(model.classifier.weight.detach().sum())}}
        return make_trainer(
            folder,
            model=make_model(),
            options={**scores, "callbacks": list(callbacks)},
            **{**SCHEDULE, **options},
        )

    return make


def test_every_log_of_the_trainer_is_a_line(trainer, tmp_path):
    run = trainer("run", MetricsLog())
    run.train()
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    logged = [{"step": entry["step"], **entry} for entry in run.state.log_history]
    assert [{k: v for k, v in line.items() if k != "time"} for line in lines] == logged
    assert len(lines) > 15
    assert all(line["time"] > 1.7e9 for line in lines)
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == run.state.max_steps // 2
    assert [line["step"] for line in lines if "eval_f1" in line] == [4, 8, 12, 16, 20, 24]


def test_a_line_is_on_disk_as_soon_as_it_is_logged(trainer, tmp_path):
    seen = []

    class Look(TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            seen.append(len(read_metrics(tmp_path / "run" / "metrics.jsonl")))

    trainer("run", MetricsLog(), Look(), num_train_epochs=1).train()
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 4


@pytest.mark.parametrize("torn", ["", '{"step": 14, "lo', '{"step": 14}', "\x00\x00"])
def test_after_a_crash_the_file_reads_like_an_unbroken_run(trainer, tmp_path, torn):
    trainer("whole", MetricsLog()).train()
    with pytest.raises(KilledError):
        trainer("broken", MetricsLog(), StopAt(13)).train()
    file = tmp_path / "broken" / "metrics.jsonl"
    assert read_metrics(file)[-1]["step"] == 12
    with file.open("a", encoding="utf-8") as out:
        out.write(torn)
    trainer("broken", MetricsLog()).train(
        resume_from_checkpoint=str(tmp_path / "broken" / "checkpoint-8")
    )
    whole = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    assert timeless(read_metrics(file))[:-1] == timeless(whole)[:-1]
    assert len(read_metrics(file)) == len(whole)
    assert [path.name for path in file.parent.iterdir() if "metrics" in path.name] == [file.name]


def test_a_run_that_ended_and_goes_on_has_one_summary(trainer, tmp_path):
    trainer("run", MetricsLog(), max_steps=8).train()
    checkpoint = str(tmp_path / "run" / "checkpoint-8")
    trainer("run", MetricsLog(), max_steps=16).train(resume_from_checkpoint=checkpoint)
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if "train_runtime" in line] == [16]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6, 8, 10, 12, 14, 16]


def test_a_fresh_run_begins_a_fresh_file(trainer, tmp_path):
    file = tmp_path / "run" / "metrics.jsonl"
    file.parent.mkdir()
    file.write_text('{"step": 0, "loss": 9.0}\n{"step": 500, "loss": 9.0}\n')
    trainer("run", MetricsLog(), num_train_epochs=1).train()
    assert all(line.get("loss") != 9.0 for line in read_metrics(file))


def state(step=4, first=True):
    return SimpleNamespace(global_step=step, epoch=0.5, is_world_process_zero=first)


def test_only_the_first_process_writes(tmp_path):
    log = MetricsLog(path=tmp_path / "metrics.jsonl")
    log.on_log(None, state(first=False), None, logs={"loss": 1.0})
    assert not log.path.exists()
    log.on_log(None, state(), None, logs={"loss": 1.0})
    log.on_train_begin(None, state(step=0, first=False), None)
    assert len(read_metrics(log.path)) == 1


def test_every_line_is_json_whatever_is_logged(tmp_path):
    log = MetricsLog(path=tmp_path / "deep" / "metrics.jsonl")
    figures = {"nan": math.nan, "inf": -math.inf, "torch": torch.tensor(0.5), "f1_地址": 1.0}
    log.on_log(None, state(), None, logs={**figures, "numpy": np.float32(0.25), "note": "好"})
    text = log.path.read_text(encoding="utf-8")
    line = json.loads(text, parse_constant=pytest.fail)
    assert line.pop("time")
    assert line == {
        "step": 4,
        "epoch": 0.5,
        "nan": None,
        "inf": None,
        "torch": 0.5,
        "f1_地址": 1.0,
        "numpy": 0.25,
        "note": "好",
    }
    assert "地址" in text


def test_the_caller_s_figures_are_left_alone(tmp_path):
    figures = {"loss": math.nan}
    MetricsLog(path=tmp_path / "metrics.jsonl").on_log(None, state(), None, logs=figures)
    assert list(figures) == ["loss"]
    assert math.isnan(figures["loss"])


def test_the_rewrite_keeps_the_file_s_rights(tmp_path):
    log = MetricsLog(path=tmp_path / "metrics.jsonl")
    log.on_log(None, state(), None, logs={"loss": 1.0})
    log.path.chmod(0o640)
    log.on_train_begin(None, state(step=4), None)
    assert log.path.stat().st_mode & 0o777 == 0o640
    assert len(read_metrics(log.path)) == 1


def test_a_failed_rewrite_leaves_the_old_file(tmp_path, monkeypatch):
    log = MetricsLog(path=tmp_path / "metrics.jsonl")
    log.on_log(None, state(), None, logs={"loss": 1.0})
    before = log.path.read_bytes()
    monkeypatch.setattr("kexue.training.log._encode", lambda line: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        log.on_train_begin(None, state(step=4), None)
    assert log.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [log.path]


@pytest.mark.parametrize("line", ["{", "[1]", "7", "{}", '{"step": "1"}', '"step"', "", "\udce9"])
def test_a_broken_line_in_the_middle_is_named(tmp_path, line):
    file = tmp_path / "metrics.jsonl"
    content = f'{{"step": 1}}\n{line}\n{{"step": 2}}\n'
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: the line is not a JSON object"):
        read_metrics(file)


def test_an_empty_file_has_no_lines(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.touch()
    assert read_metrics(file) == []
