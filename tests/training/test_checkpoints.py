import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification

from kexue.training.checkpoints import checkpoint_fault, latest_checkpoint

PARTS = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


@pytest.fixture
def run(make_trainer):
    """A run folder with checkpoints 3, 9 and 12."""
    trainer = make_trainer(
        num_train_epochs=2, max_steps=12, save_strategy="steps", save_steps=3, save_total_limit=None
    )
    trainer.train()
    folder = Path(trainer.args.output_dir)
    shutil.rmtree(folder / "checkpoint-6")
    return folder


def test_the_newest_whole_checkpoint_is_found_by_number(run, caplog):
    (run / "checkpoint-100-notes").mkdir()
    (run / "checkpoint-200").write_text("a file")
    assert latest_checkpoint(run) == run / "checkpoint-12"
    assert latest_checkpoint(str(run)) == run / "checkpoint-12"
    assert caplog.records == []


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named_and_the_one_before_taken(run, caplog, part):
    (run / "checkpoint-12" / part).unlink()
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(run) == run / "checkpoint-9"
    assert "checkpoint-12 is incomplete and passed over: there is no" in caplog.text
    assert part.split(".")[0] in caplog.text


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_a_truncated_part_is_named_and_the_one_before_taken(run, caplog, part, keep):
    path = run / "checkpoint-12" / part
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(run) == run / "checkpoint-9"
    assert f"{part} cannot be read" in caplog.text


def test_without_a_whole_checkpoint_there_is_none(run, caplog):
    for path in run.glob("checkpoint-*/trainer_state.json"):
        path.write_text('{"epoch": 1.')
    assert latest_checkpoint(run) is None
    assert len(caplog.records) == 3
    assert latest_checkpoint(run / "nowhere") is None


def test_a_missing_shard_is_named(run, tmp_path):
    checkpoint = run / "checkpoint-12"
    model = BertForSequenceClassification.from_pretrained(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    model.save_pretrained(checkpoint, max_shard_size="5KB")
    shards = sorted(checkpoint.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert checkpoint_fault(checkpoint) is None
    shards[-1].unlink()
    assert checkpoint_fault(checkpoint) == (
        f"model.safetensors.index.json names {shards[-1].name}, which is missing"
    )


def test_a_model_saved_without_its_optimizer_cannot_be_resumed_from(tmp_path):
    config = BertConfig(hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "checkpoint-1")
    assert checkpoint_fault(tmp_path / "checkpoint-1") == "there is no optimizer (optimizer.pt)"


PROGRAM = """
import sys, torch
from transformers import BertConfig, BertForSequenceClassification
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.checkpoints import latest_checkpoint
from kexue.training.trainer import TaskTrainer

folder, steps = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
model = BertForSequenceClassification(BertConfig(vocab_size=30, hidden_size=16,
    num_hidden_layers=2, num_attention_heads=2, intermediate_size=24))
texts = [[1 + (i * j) % 29 for j in range(1, 3 + i % 17)] for i in range(40)]
def collate(batch):
    ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
    for row, text in zip(ids, batch):
        row[: len(text)] = torch.tensor(text)
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": ids[:, 0] % 2}
trainer = TaskTrainer(model, TaskTrainingArguments(folder, use_cpu=True, report_to="none",
    disable_tqdm=True, max_steps=steps, save_strategy="steps", save_steps=1, logging_steps=1,
    lr_scheduler_type="constant", per_device_train_batch_size=8),
    lengths=[len(text) for text in texts], train_dataset=texts, data_collator=collate)
trainer.train(resume_from_checkpoint=latest_checkpoint(folder))
model.save_pretrained(folder + "/final")
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(tmp_path):
    """Kill -9 while checkpoints are being written at every step, then run the same command."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    source = Path(__file__).parents[2] / "src"
    path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    quiet = {
        "env": {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }

    def command(name):
        return [sys.executable, str(program), str(tmp_path / name), "40"]

    subprocess.run(command("whole"), check=True, timeout=120, **quiet)
    with subprocess.Popen(command("killed"), **quiet) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "killed/checkpoint-7").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed/final").exists()
    found = latest_checkpoint(tmp_path / "killed")
    assert found is not None
    subprocess.run(command("killed"), check=True, timeout=120, **quiet)
    whole, again = (
        (tmp_path / name / "final/model.safetensors").read_bytes() for name in ("whole", "killed")
    )
    assert whole == again
