import itertools
import json
from functools import partial

import pytest
import torch
from torch import nn
from transformers import EarlyStoppingCallback, TrainerCallback

from kexue.training.checkpoints import latest_checkpoint
from kexue.training.sampler import padding_ratio

BUDGET = {"tokens_per_batch": 96}


class Recorder(TrainerCallback):
    """Keep what happens at each step."""

    def __init__(self, stop_at=None):
        self.rates, self.figures, self.stop_at = [], [], stop_at

    def on_step_end(self, args, state, control, **rest):
        self.rates.append([group["lr"] for group in rest["optimizer"].param_groups])
        if state.global_step == self.stop_at:
            control.should_training_stop = True

    def on_evaluate(self, args, state, control, metrics, **rest):
        self.figures.append(metrics)


def ids_of(loader):
    return [sorted(map(tuple, batch["input_ids"].tolist())) for batch in loader]


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


# Batches


@pytest.mark.parametrize("rule", [{}, BUDGET])
def test_batches_are_buckets_of_lengths(make_trainer, texts, rule):
    trainer = make_trainer(**rule)
    loader = trainer.get_train_dataloader()
    batches = list(loader.batch_sampler)
    assert sorted(itertools.chain(*batches)) == list(range(len(texts)))
    assert len(loader) == len(batches)
    assert padding_ratio(trainer.lengths, batches) < 1.5
    plain = make_trainer(length_buckets=False).get_train_dataloader()
    assert padding_ratio(trainer.lengths, list(plain.batch_sampler)) > 1.6
    for batch in loader:
        assert rule == {} or batch["input_ids"].numel() <= 96


@pytest.mark.parametrize("lengths", [None, "known"])
def test_without_buckets_sampling_is_the_stock_one(make_trainer, texts, lengths):
    strategies = {}
    for strategy in ("random", "sequential", "group_by_length"):
        trainer = make_trainer(
            lengths=lengths,
            length_buckets=lengths is None,
            per_device_train_batch_size=2,
            train_sampling_strategy=strategy,
        )
        batches = list(trainer.get_train_dataloader().batch_sampler)
        assert sorted(itertools.chain(*batches)) == list(range(len(texts)))
        strategies[strategy] = batches
    assert strategies["sequential"][:2] == [[0, 1], [2, 3]]
    lengths = [len(text["input_ids"]) for text in texts]
    assert padding_ratio(lengths, strategies["random"]) > 1.25
    assert padding_ratio(lengths, strategies["group_by_length"]) < 1.15


def test_group_by_length_needs_no_input_ids_where_lengths_are_given(make_trainer, texts):
    trainer = make_trainer(
        length_buckets=False,
        per_device_train_batch_size=2,
        train_sampling_strategy="group_by_length",
    )
    trainer.train_dataset = [object()] * len(texts)
    batches = list(trainer.get_train_dataloader().batch_sampler)
    assert padding_ratio(trainer.lengths, batches) < 1.15


@pytest.mark.parametrize("rule", [{}, BUDGET])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_steps_epochs_and_schedule_agree(make_trainer, rule, accumulation):
    recorder = Recorder()
    trainer = make_trainer(
        num_train_epochs=3,
        gradient_accumulation_steps=accumulation,
        warmup_steps=0,
        options={"callbacks": [recorder]},
        **rule,
    )
    batches = len(trainer.get_train_dataloader())
    steps = 3 * -(-batches // accumulation)
    assert trainer.train().global_step == trainer.state.max_steps == steps
    assert trainer.state.epoch == 3.0
    rates = [rate for rate, *_ in recorder.rates]
    expected = [1e-3 * (1 - step / steps) for step in range(1, steps + 1)]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_workers_make_the_same_batches(make_trainer):
    alone = ids_of(make_trainer().get_train_dataloader())
    helped = make_trainer(dataloader_num_workers=1, dataloader_persistent_workers=True)
    assert ids_of(helped.get_train_dataloader()) == alone


def test_a_smaller_batch_size_found_by_the_trainer_lowers_the_budget(make_trainer):
    trainer = make_trainer(tokens_per_batch=160)
    full = len(trainer.get_train_dataloader())
    trainer._train_batch_size = 4
    halved = trainer.get_train_dataloader()
    assert len(halved) > 1.7 * full
    assert all(batch["input_ids"].numel() <= 80 for batch in halved)


@pytest.mark.parametrize("rule", [{}, BUDGET])
def test_a_step_is_the_mean_over_its_texts(make_trainer, make_model, texts, collate, rule):
    """Accumulating unequal batches gives the gradient of one batch of all texts."""
    model = make_model(dropout=0.0)
    batch = collate(texts)
    model.train()
    model(**batch).loss.backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    found = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model, **rest):
            found.extend(p.grad.clone() for p in model.parameters() if p.grad is not None)

    model = make_model(dropout=0.0)
    trainer = make_trainer(
        model=model,
        gradient_accumulation_steps=1000,
        num_train_epochs=1,
        max_grad_norm=0.0,
        options={"callbacks": [Keep()]},
        **rule,
    )
    result = trainer.train()
    assert result.global_step == 1
    found, expected = (
        torch.cat([*map(torch.ravel, found)]),
        torch.cat([*map(torch.ravel, expected)]),
    )
    assert (found - expected).norm() < 1e-3 * expected.norm()


def test_batches_of_one_size_train_as_with_the_stock_class(make_trainer, make_model, texts):
    """The weighting changes no bit where every batch has as many texts."""
    models = []
    for weighted in (True, False):
        model = make_model()
        trainer = make_trainer(model=model, dataloader_drop_last=True, num_train_epochs=1)
        if not weighted:
            stock = super(type(trainer), trainer)
            trainer.get_batch_samples, trainer.compute_loss = (
                stock.get_batch_samples,
                stock.compute_loss,
            )
        trainer.train()
        models.append(model)
    assert same(*models)
    assert not same(models[0], make_model())


# Resuming


@pytest.mark.parametrize("rule", [{}, BUDGET, {"length_buckets": False}])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("stop_at", [3, 6])
def test_resuming_is_exact(make_trainer, make_model, rule, accumulation, stop_at):
    """A run that is broken off and resumed ends with the bits of one that is not."""

    def trainer(folder, stop=None):
        model = make_model()
        return model, make_trainer(
            folder,
            model=model,
            num_train_epochs=4 if accumulation == 2 else 2,
            gradient_accumulation_steps=accumulation,
            save_strategy="steps",
            save_steps=3,
            logging_steps=1,
            options={"callbacks": [Recorder(stop)]},
            **rule,
        )

    whole, unbroken = trainer("whole")
    unbroken.train()
    _, broken = trainer("broken", stop=stop_at + 1)
    broken.train()
    checkpoint = latest_checkpoint(broken.args.output_dir)
    assert checkpoint.name == f"checkpoint-{stop_at}"
    # Nothing may depend on the random state that a new process happens to have.
    torch.manual_seed(99)
    rest, resumed = trainer("broken")
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.state.global_step == unbroken.state.global_step
    assert same(rest, whole)

    def losses(trainer):
        return [(log["step"], log["loss"]) for log in trainer.state.log_history if "loss" in log]

    assert losses(resumed) == losses(unbroken)


# Score


def test_evaluate_scores_and_restores_the_mode(make_trainer):
    seen = {}

    def score(model):
        seen.update(training=model.training, grad=torch.is_grad_enabled(), model=model)
        return {"f1": torch.tensor(0.5), "eval_recall": 1}

    recorder = Recorder()
    trainer = make_trainer(options={"score": score, "callbacks": [recorder]})
    trainer.model.train()
    metrics = trainer.evaluate()
    assert seen == {"training": False, "grad": False, "model": trainer.model}
    assert trainer.model.training
    assert torch.is_grad_enabled()
    assert metrics["eval_f1"] == 0.5
    assert metrics["eval_recall"] == 1.0
    assert metrics["eval_runtime"] >= 0
    assert recorder.figures == [metrics]
    assert trainer.state.log_history[-1]["eval_f1"] == 0.5
    json.dumps(trainer.state.log_history)
    trainer.model.eval()
    assert trainer.evaluate(metric_key_prefix="test")["test_f1"] == 0.5
    assert not trainer.model.training


def test_a_failing_score_restores_the_mode(make_trainer):
    def score(model):
        raise KeyError("f1")

    trainer = make_trainer(options={"score": score})
    trainer.model.train()
    with pytest.raises(KeyError):
        trainer.evaluate()
    assert trainer.model.training
    assert torch.is_grad_enabled()


def test_without_score_or_with_a_dataset_the_stock_loop_runs(make_trainer, texts):
    trainer = make_trainer(options={"eval_dataset": texts[:9]})
    assert trainer.evaluate()["eval_loss"] > 0
    scored = make_trainer(options={"score": lambda model: {"f1": 1.0}})
    metrics = scored.evaluate(texts[:9])
    assert metrics["eval_loss"] > 0
    assert "eval_f1" not in metrics


def test_the_best_model_is_kept_and_training_stops_early(make_trainer):
    figures = iter([0.1, 0.7, 0.6, 0.5, 0.9])
    kept = []

    def score(model):
        kept.append({name: p.clone() for name, p in model.state_dict().items()})
        return {"f1": next(figures)}

    trainer = make_trainer(
        num_train_epochs=5,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="f1",
        options={"score": score, "callbacks": [EarlyStoppingCallback(2)]},
    )
    trainer.train()
    assert len(kept) == 4
    assert trainer.state.best_metric == 0.7
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-16")
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, kept[1][name])


def test_training_learns_and_the_score_sees_it(make_trainer, texts, collate):
    def score(model):
        batch = collate(texts)
        labels = batch.pop("labels")
        return {"accuracy": (model(**batch).logits.argmax(1) == labels).float().mean()}

    trainer = make_trainer(
        num_train_epochs=30, learning_rate=5e-3, eval_strategy="epoch", options={"score": score}
    )
    trainer.train()
    accuracies = [
        log["eval_accuracy"] for log in trainer.state.log_history if "eval_accuracy" in log
    ]
    assert len(accuracies) == 30
    assert accuracies[0] < 0.8
    assert accuracies[-1] > 0.95


def test_model_init_is_called_for_each_run(make_trainer, make_model):
    trainer = make_trainer(
        num_train_epochs=1,
        options={"model_init": partial(make_model, 3, 0.1), "score": lambda model: {"f1": 0.0}},
    )
    trainer.train()
    first = trainer.model
    trainer.train()
    assert trainer.model is not first
    assert same(trainer.model, first)


# Precision and memory


def test_bf16_trains_and_scores_in_bf16(make_trainer, texts, collate):
    kinds = []

    def score(model):
        kinds.append((torch.ones(1, 1) @ torch.ones(1, 1)).dtype)
        return {"f1": 0.0}

    trainer = make_trainer(
        bf16=True, num_train_epochs=1, eval_strategy="epoch", options={"score": score}
    )
    before = [p.clone() for p in trainer.model.parameters()]
    result = trainer.train()
    assert torch.isfinite(torch.tensor(result.training_loss))
    assert kinds == [torch.bfloat16]
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert any(
        not torch.equal(p, q) for p, q in zip(trainer.model.parameters(), before, strict=True)
    )


def test_activation_checkpointing_changes_no_bit_of_the_result(make_trainer, make_model):
    models = []
    for checkpointing in (False, True):
        model = make_model(dropout=0.0)
        make_trainer(
            model=model, num_train_epochs=1, activation_checkpointing=checkpointing
        ).train()
        models.append(model)
    assert same(*models)


# Optimiser


class Tagger(nn.Module):
    """Something like an encoder with a fresh head and transitions."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.head = nn.ModuleDict({"dense": nn.Linear(2, 2)})
        self.head.transitions = nn.Parameter(torch.zeros(2, 2))
        self.header = nn.Linear(2, 2)


def test_each_part_has_its_learning_rate_and_decay(make_trainer):
    model = Tagger()
    model.encoder[0].bias.requires_grad_(False)
    trainer = make_trainer(
        model=model,
        weight_decay=0.3,
        learning_rate_multipliers={"head": 10, "head.transitions": 100},
    )
    optimizer = trainer.create_optimizer()
    found = {
        name: (round(group["lr"] / 1e-3, 6), group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
        for name, q in model.named_parameters()
        if p is q
    }
    assert found == {
        "encoder.0.weight": (1, 0.3),
        "encoder.1.weight": (1, 0.0),
        "encoder.1.bias": (1, 0.0),
        "head.dense.weight": (10, 0.3),
        "head.dense.bias": (10, 0.0),
        "head.transitions": (100, 0.3),
        "header.weight": (1, 0.3),
        "header.bias": (1, 0.0),
    }
    assert trainer.create_optimizer() is optimizer
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(found)
    scheduler = trainer.create_scheduler(num_training_steps=10)
    assert scheduler.get_last_lr()[0] <= 1e-3


def test_multipliers_hold_through_the_schedule_and_resuming(make_trainer, make_model):
    def trainer(folder, stop=None):
        recorder = Recorder(stop)
        model = make_model()
        return (
            model,
            recorder,
            make_trainer(
                folder,
                model=model,
                num_train_epochs=2,
                lr_scheduler_type="cosine",
                save_strategy="steps",
                save_steps=4,
                learning_rate_multipliers={"classifier": 10},
                options={"callbacks": [recorder]},
            ),
        )

    whole, recorder, unbroken = trainer("whole")
    unbroken.train()
    for base, _, fast, _ in recorder.rates:
        assert fast == pytest.approx(10 * base)
    assert len({base for base, *_ in recorder.rates}) > 10
    _, _, broken = trainer("broken", stop=5)
    broken.train()
    rest, _, resumed = trainer("broken")
    resumed.train(resume_from_checkpoint=str(latest_checkpoint(broken.args.output_dir)))
    assert same(rest, whole)


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lengths": [3]}, r"lengths is \[3\]; allowed: one per training example \(61\)"),
        ({"lengths": None, **BUDGET}, "lengths is None"),
        ({"tokens_per_batch": 0}, "tokens_per_batch is 0"),
        ({"tokens_per_batch": 90, "length_buckets": False}, "length_buckets is False"),
        ({"learning_rate_multipliers": {"head": -1}}, r"learning_rate_multipliers\['head'\] is -1"),
        ({"learning_rate_multipliers": {"head": "x"}}, r"\['head'\] is 'x'"),
        ({"learning_rate_multipliers": "head=10"}, "learning_rate_multipliers is 'head=10'"),
    ],
)
def test_mistakes_are_named(make_trainer, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(**arguments)


def test_a_budget_below_the_longest_text_is_named_before_training(make_trainer):
    with pytest.raises(ValueError, match="tokens_per_batch is 30"):
        make_trainer(tokens_per_batch=30).train()
