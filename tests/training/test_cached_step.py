"""A Trainer that takes gradients chunk by chunk, against plain autograd on the whole batch."""

import copy

import pytest
import torch
from torch import nn
from transformers import BertConfig

from kexue.losses import info_nce
from kexue.models import SentenceConfig, SentenceModel
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.cached_step import CachedStep
from kexue.training.checkpoints import latest_checkpoint
from kexue.training.trainer import TaskTrainer


class Objective(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(-1.0))
        self.seen = []

    def forward(self, vectors, batch):
        self.seen.append(batch)
        return info_nce(*vectors, temperature=self.log_temperature.exp())


def make(dropout=0.0):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    model = SentenceModel(SentenceConfig(config))
    model.objective = Objective()
    return model


def column(rows):
    longest = max(map(len, rows))
    padded = [row + [0] * (longest - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return {"input_ids": torch.tensor(padded), "attention_mask": torch.tensor(mask)}


def collate(pairs):
    return {
        "columns": [column([pair[place] for pair in pairs]) for place in (0, 1)],
        "ids": torch.tensor([[pair[0][0], pair[1][0]] for pair in pairs]),
    }


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(2, 20, (24, 2), generator=generator).tolist()
    return [
        [torch.randint(5, 40, (length,), generator=generator).tolist() for length in both]
        for both in lengths
    ]


def arguments(folder, **options):
    options = {"per_device_train_batch_size": 12, "max_steps": 4, **options}
    return TaskTrainingArguments(
        str(folder),
        **options,
        learning_rate=1e-2,
        weight_decay=0.0,
        max_grad_norm=0.0,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        length_buckets=False,
    )


def trainer(model, pairs, folder, *, tokens_per_chunk=30, momentum=False, **options):
    return TaskTrainer(
        model,
        arguments(folder, **options),
        add_gradients=CachedStep(
            model.objective, tokens_per_chunk=tokens_per_chunk, momentum=momentum
        ),
        train_dataset=pairs,
        data_collator=collate,
    )


def test_a_step_adds_the_gradients_of_the_whole_batch(pairs, tmp_path):
    model = make()
    plain = copy.deepcopy(model).train()
    batch = collate(pairs)
    vectors = [plain(**one).vectors for one in batch["columns"]]
    expected = plain.objective(vectors, {})
    expected.backward()
    value = trainer(model, pairs, tmp_path).training_step(model, collate(pairs))
    torch.testing.assert_close(value, expected.detach())
    assert not value.requires_grad
    for (name, parameter), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        if "pooler" not in name:
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("tokens", [25, 100])
def test_the_chunks_change_nothing_but_the_memory(pairs, tmp_path, tokens):
    weights = []
    for tokens_per_chunk in (10_000, tokens):
        model = make()
        trainer(model, pairs, tmp_path, tokens_per_chunk=tokens_per_chunk).train()
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=2e-4)


def test_it_learns_and_the_temperature_with_it(pairs, tmp_path):
    model = make(dropout=0.1)
    before = model.objective.log_temperature.item()
    run = trainer(model, pairs, tmp_path, max_steps=30)
    run.train()
    losses = [line["loss"] for line in run.state.log_history if "loss" in line]
    assert losses[-1] < losses[0] / 2
    assert model.objective.log_temperature.item() != before


def test_the_objective_sees_what_the_collator_adds(pairs, tmp_path):
    model = make()
    trainer(model, pairs, tmp_path, max_steps=1).train()
    (batch,) = model.objective.seen
    assert set(batch) == {"ids"}
    assert batch["ids"].shape == (12, 2)


def test_targets_are_vectors_of_the_average_without_gradient(pairs, tmp_path):
    model = make()
    begun = copy.deepcopy(model).eval()
    run = trainer(model, pairs[:12], tmp_path, momentum=True, average_decay=0.999, max_steps=3)
    run.train()
    targets = [batch["targets"] for batch in model.objective.seen]
    assert len(targets) == 3
    assert [target.shape for target in targets[0]] == [(12, 16), (12, 16)]
    assert not any(target.requires_grad for both in targets for target in both)
    # At first the average is what training begins with; of few steps it remembers the beginning.
    start = begun(**column([pair[0] for pair in pairs[:12]])).vectors.sum(0)
    torch.testing.assert_close(targets[0][0].sum(0), start.detach(), rtol=1e-4, atol=1e-4)
    moved = [(both[0].sum(0) - start).norm().item() for both in targets]
    assert moved[0] < moved[1] < moved[2]


def test_targets_are_in_the_order_of_the_rows(pairs, tmp_path):
    model = make()
    run = trainer(model, pairs, tmp_path, momentum=True, average_decay=0.5)
    run.create_optimizer()
    batch = collate(pairs)
    model.eval()
    found = run.add_gradients.targets(run, batch["columns"][0])
    expected = model(**batch["columns"][0]).vectors
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_broken_run_goes_on_as_if_it_had_not_been_broken(pairs, tmp_path):
    whole = make(dropout=0.1)
    saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    trainer(whole, pairs, tmp_path / "a", **saving).train()
    checkpoint = tmp_path / "a" / "checkpoint-2"
    assert latest_checkpoint(tmp_path / "a").name == "checkpoint-4"
    resumed = make(dropout=0.1)
    trainer(resumed, pairs, tmp_path / "b", **saving).train(resume_from_checkpoint=str(checkpoint))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_bfloat16_stays_near(pairs, tmp_path):
    weights = []
    for bf16 in (False, True):
        model = make()
        trainer(model, pairs, tmp_path, max_steps=1, bf16=bf16).train()
        weights.append(model.objective.log_temperature.item())
    assert weights[0] == pytest.approx(weights[1], abs=1e-2)


def test_what_makes_no_sense_is_refused(pairs, tmp_path):
    with pytest.raises(ValueError, match="it costs no memory here"):
        trainer(make(), pairs, tmp_path, gradient_accumulation_steps=2).train()
    with pytest.raises(ValueError, match="average_decay is None"):
        trainer(make(), pairs, tmp_path, momentum=True).train()
