"""Two runs never mix, and a folder is there as a whole or not at all."""

import json
import os
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from kexue.tasks.pretraining import PretrainingSettings
from kexue.tasks.run_folder import (
    as_json,
    hub_name,
    point_to_resume,
    run_arguments,
    versions,
    whole_folder,
    write_plan,
)

PLAN = {
    "task": "pretrain",
    "settings": asdict(PretrainingSettings()),
    "options": {"seed": 1, "betas": (0.9, 0.98)},
    "data": {"files": []},
    "versions": versions(),
}


@pytest.fixture
def begun(tmp_path):
    write_plan(tmp_path, PLAN, run_arguments(tmp_path, {}, usual={}))
    return tmp_path


def checkpoint(folder, step, *, whole=True):
    path = folder / "checkpoints" / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"a": torch.ones(1)}, path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, path / name)
    if whole:
        (path / "trainer_state.json").write_text("{}")
    return path


def test_a_folder_without_a_run_begins(tmp_path):
    assert point_to_resume(tmp_path / "none", PLAN, resume=False) is None
    assert point_to_resume(tmp_path / "none", PLAN, resume=True) is None
    assert not (tmp_path / "none").exists()


def test_a_run_goes_on_from_its_last_whole_checkpoint(begun):
    assert point_to_resume(begun, PLAN, resume=True) is None
    checkpoint(begun, 10)
    newest = checkpoint(begun, 20)
    checkpoint(begun, 30, whole=False)
    assert point_to_resume(begun, PLAN, resume=True) == newest


def test_a_run_is_not_written_over(begun):
    with pytest.raises(ValueError, match=r"a folder without a run\. Add --resume to go on"):
        point_to_resume(begun, PLAN, resume=False)


@pytest.mark.parametrize("part", ["settings", "options", "data"])
def test_another_run_does_not_go_on(begun, part):
    other = {**PLAN, part: {**PLAN[part], "new": 1}}
    with pytest.raises(ValueError, match=f"has other {part}; choose another folder. Or begin.$"):
        point_to_resume(begun, other, resume=True, instead="Or begin.")
    others = {**PLAN, "settings": {}, "data": {}}
    with pytest.raises(ValueError, match=r"has other settings and data; choose another folder\.$"):
        point_to_resume(begun, others, resume=True)


def test_other_versions_may_go_on_and_the_plan_stays_as_it_was(begun):
    before = (begun / "run.json").read_bytes()
    newer = {**PLAN, "versions": {"torch": "9"}}
    assert point_to_resume(begun, newer, resume=True) is None
    write_plan(begun, newer, run_arguments(begun, {}, usual={}))
    assert (begun / "run.json").read_bytes() == before
    assert json.loads(before)["versions"] == versions()


def test_what_the_user_asks_for_comes_before_what_is_usual(tmp_path):
    args = run_arguments(tmp_path, {"seed": 3}, usual={"seed": 1, "logging_steps": 7})
    assert (args.seed, args.logging_steps) == (3, 7)
    assert args.output_dir == str(tmp_path / "checkpoints")
    assert args.report_to == []
    assert args.disable_tqdm
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert args.use_cpu


def test_an_option_that_does_not_exist_is_refused_with_the_place_to_look(tmp_path):
    with pytest.raises(ValueError, match=r"sede.*fields of transformers\.TrainingArguments"):
        run_arguments(tmp_path, {"sede": 3}, usual={})


def test_versions_are_those_that_run():
    assert versions()["torch"] == torch.__version__


def test_json_is_written_for_people(tmp_path):
    text = as_json({"地": [1.5, None], "path": tmp_path})
    assert text.startswith('{\n  "地": [')
    assert json.loads(text) == {"地": [1.5, None], "path": str(tmp_path)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_takes_the_place_of_another_at_the_end(tmp_path):
    path = tmp_path / "model"
    for content in "ab":
        with whole_folder(path) as fresh:
            (fresh / content).write_text(content)
            assert fresh.parent == tmp_path
            assert names(path) == ["a"] if content == "b" else not path.exists()
        assert names(path) == [content]
    assert names(tmp_path) == ["model"]


def test_a_failure_leaves_the_folder_that_was_there(tmp_path):
    path = tmp_path / "model"
    with whole_folder(path) as fresh:
        (fresh / "a").write_text("a")
    with pytest.raises(KeyboardInterrupt), whole_folder(path) as fresh:  # noqa: PT012
        (fresh / "b").write_text("b")
        raise KeyboardInterrupt
    assert names(path) == ["a"]
    assert names(tmp_path) == ["model"]


def test_a_folder_that_cannot_be_put_in_place_brings_the_old_one_back(tmp_path, monkeypatch):
    path = tmp_path / "model"
    with whole_folder(path) as fresh:
        (fresh / "a").write_text("a")
    calls = []

    def fail_second(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no space")
        os.replace(self, target)

    monkeypatch.setattr("pathlib.Path.replace", fail_second)
    with pytest.raises(OSError, match="no space"), whole_folder(path) as fresh:
        (fresh / "b").write_text("b")
    assert names(path) == ["a"]
    assert names(tmp_path) == ["model"]


def test_what_a_killed_process_left_behind_is_cleared_away(tmp_path):
    for process in (os.getpid(), 999_999):
        left = tmp_path / f".model.{process}.tmp"
        left.mkdir()
        (left / "half").write_text("x")
    with whole_folder(tmp_path / "model") as fresh:
        (fresh / "a").write_text("a")
    assert names(tmp_path / "model") == ["a"]
    assert names(tmp_path) == ["model"]


def test_only_a_name_on_the_hub_is_worth_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert hub_name("hfl/rbt3", made_here=["new"]) == "hfl/rbt3"
    assert hub_name("bert-base-chinese", made_here=["new"]) == "bert-base-chinese"
    for private in ("new", "mine", str(tmp_path / "mine"), "/home/me/gone", "a/b/c"):
        assert hub_name(private, made_here=["new"]) is None
