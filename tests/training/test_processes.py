"""The Trainer in two processes, as torchrun and accelerate launch start them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys, torch
from torch import nn
from transformers import TrainerCallback
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.trainer import TaskTrainer

class Mean(nn.Module):
    main_input_name = "x"
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(40))
    def forward(self, x):
        used.extend(int(row[0]) for row in x)
        widths.append(x.shape[1])
        return {"loss": (x[:, 0] * self.w[: x.shape[1]].sum()).mean()}

class Keep(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model, **rest):
        steps.append([len(used), float(model.w.grad[0])])

used, steps, widths = [], [], []
lengths = [2 + i % 30 for i in range(50)]
args = TaskTrainingArguments(
    sys.argv[1], use_cpu=True, report_to="none", disable_tqdm=True, num_train_epochs=2,
    tokens_per_batch=64, save_strategy="steps", save_steps=3, save_total_limit=9, max_grad_norm=0.0,
    gradient_accumulation_steps=2, ddp_find_unused_parameters=False, log_level="error")
trainer = TaskTrainer(Mean(), args, lengths=lengths,
    train_dataset=[(i, n) for i, n in enumerate(lengths)],
    data_collator=lambda batch: {"x": torch.tensor(
        [[float(i)] * max(n for _, n in batch) for i, _ in batch])},
    score=lambda model: {"f1": 0.25}, callbacks=[Keep()])
result = trainer.train(resume_from_checkpoint=sys.argv[2] if len(sys.argv) > 2 else None)
print("RANK" + json.dumps([args.process_index, used, steps, result.global_step,
                           trainer.evaluate()["eval_f1"], widths]), flush=True)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def first_value(text):
    return json.JSONDecoder().raw_decode(text)[0]


def launch(tmp_path, processes, *arguments):
    """Run the program under torchrun.

    Gives for each rank the texts in the order used, for each step how many had been used by then
    and the gradient, the number of steps, the score and the padded length of each batch.
    """
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    source = Path(__file__).parents[2] / "src"
    path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), str(program), *map(str, arguments)),
        ],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # Two processes, and what else writes there, may write into the same line.
    parts = done.stdout.split("RANK")[1:]
    # Not the exit status: gloo at times aborts while its threads end, after all is done.
    assert len(parts) == processes, done.stderr[-3000:]
    return [ranked[1:] for ranked in sorted(map(first_value, parts))]


@pytest.mark.slow
def test_two_processes_share_the_texts_and_resume(tmp_path):
    one, two = launch(tmp_path, 2, tmp_path / "run")
    assert one[2] == two[2] == 8
    assert one[3] == two[3] == 0.25
    # Two epochs; one group may be filled up with batches from the beginning of its epoch.
    assert set(one[0]) | set(two[0]) == set(range(50))
    assert 100 <= len(one[0]) + len(two[0]) <= 120
    # Batches computed at the same time are nearly equally long: nobody waits.
    pairs = list(zip(one[4], two[4], strict=True))
    assert sum(map(max, pairs)) < 1.1 * sum(map(sum, pairs)) / 2
    # One of the two has more texts in nearly every step: all of them weigh alike.
    before = 0, 0
    for (end_one, gradient), (end_two, same_gradient) in zip(one[1], two[1], strict=True):
        texts = one[0][before[0] : end_one] + two[0][before[1] : end_two]
        assert gradient == same_gradient == pytest.approx(sum(texts) / len(texts), rel=1e-5)
        before = end_one, end_two
    assert any(a != b for (a, _), (b, _) in zip(one[1], two[1], strict=True))
    # In the second epoch, whose number has to reach the sampler through accelerate's wrappers.
    again = launch(tmp_path, 2, tmp_path / "run", tmp_path / "run/checkpoint-6")
    for rank, resumed in zip((one, two), again, strict=True):
        assert [gradient for _, gradient in resumed[1]] == [gradient for _, gradient in rank[1][6:]]
        assert resumed[0] == rank[0][rank[1][5][0] :]
