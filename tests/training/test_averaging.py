import pytest
import torch
from torch import nn
from transformers import TrainerCallback

from kexue.training.averaging import AVERAGE_NAME, WeightAverage


def test_equals_the_recursion(tmp_path):
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    average = WeightAverage(model, decay=0.9)
    expected = model.weight.detach().clone()
    for step in range(1, 40):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3, dtype=torch.float64))
        average.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    own = model.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(model.weight.detach(), expected)
    assert torch.equal(model.weight.detach(), own)
    average.save(tmp_path / AVERAGE_NAME)
    other = WeightAverage(model, decay=0.9)
    other.load(tmp_path / AVERAGE_NAME)
    assert other.steps == 39
    with other.applied():
        torch.testing.assert_close(model.weight.detach(), expected)


def test_the_weights_come_back_after_an_error():
    model = nn.Linear(1, 1)
    before = model.weight.detach().clone()
    average = WeightAverage(model, decay=0.5)
    with torch.no_grad():
        model.weight.add_(1)
    inside = []

    def fail():
        with average.applied():
            inside.append(model.weight.detach().clone())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert torch.equal(inside[0], before)
    assert torch.equal(model.weight.detach(), before + 1)


class Stop(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.step


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_resuming_goes_on_with_the_same_average(make_trainer, make_model):
    options = {"average_decay": 0.99, "num_train_epochs": 3, "save_strategy": "steps"}
    options |= {"save_steps": 3, "learning_rate": 1e-2}
    whole = make_trainer("whole", model=make_model(), **options)
    whole.train()
    part = make_trainer("part", model=make_model(), **options)
    part.add_callback(Stop(6))
    part.train()
    again = make_trainer("part", model=make_model(1), **options)
    again.train(resume_from_checkpoint=True)
    assert torch.equal(weights(again.model), weights(whole.model))


def test_scores_are_of_the_average_and_the_best_average_is_handed_over(make_trainer, make_model):
    seen = []

    def score(model):
        seen.append(weights(model))
        return {"f1": -abs(len(seen) - 2)}  # the second evaluation is the best

    trainer = make_trainer(
        model=make_model(),
        options={"score": score},
        average_decay=0.9,
        learning_rate=1e-2,
        num_train_epochs=4,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="f1",
    )
    trainer.train()
    assert torch.equal(weights(trainer.model), seen[1])
    assert not torch.equal(seen[1], seen[2])
