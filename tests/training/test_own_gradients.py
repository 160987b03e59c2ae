"""What a Trainer does where something else adds the gradients."""

import pytest
import torch

from kexue.training.arguments import TaskTrainingArguments
from kexue.training.trainer import TaskTrainer


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        return {"loss": (self.weight * x).mean()}


def train(folder, **options):
    model = Line()
    args = TaskTrainingArguments(
        str(folder),
        max_steps=2,
        learning_rate=0.1,
        warmup_steps=0,
        max_grad_norm=0.0,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        save_strategy="no",
    )
    data = [torch.tensor([float(i)]) for i in range(8)]
    trainer = TaskTrainer(
        model,
        args,
        train_dataset=data,
        data_collator=lambda rows: {"x": torch.stack(rows)},
        **options,
    )
    return trainer, model


def test_gradients_come_from_elsewhere(tmp_path):
    seen = []

    def add(trainer, model, inputs):
        seen.append((trainer, model.training, inputs["x"].shape))
        model.weight.grad = torch.tensor([-2.0])
        return torch.tensor(5.0)

    trainer, model = train(tmp_path, add_gradients=add)
    trainer.train()
    assert [(who is trainer, *rest) for who, *rest in seen] == [(True, True, (8, 1))] * 2
    assert model.weight.item() > 1.1
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert losses == pytest.approx([5.0, 5.0])
    assert trainer.floating_point_ops({"x": torch.ones(1)}) == 0


def test_without_it_the_backward_pass_is_taken(tmp_path):
    trainer, model = train(tmp_path)
    trainer._texts = lambda batch: len(batch["x"])
    trainer.train()
    assert model.weight.item() < 1
