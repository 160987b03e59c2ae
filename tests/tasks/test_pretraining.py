"""A tiny model learns, the same way each time, also where it is interrupted."""

import dataclasses
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, TrainerCallback

from kexue.models import KexueForMaskedLM
from kexue.tasks.pretraining import (
    PretrainingSettings,
    default_learning_rate,
    make_model,
    masked_scores,
    pretrain,
)
from kexue.tasks.pretraining_corpus import TokenStream, encode_corpus
from kexue.tasks.pretraining_rows import HidingCollator
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.checkpoints import latest_checkpoint

SETTINGS = PretrainingSettings(layers=1, width=64, length=64, tokens=12_288, tokens_per_step=1024)


def settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.fixture(scope="module")
def streams(plain_file, small_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return encode_corpus([plain_file], small_tokenizer, folder, held_out=10)


def arguments(folder, **options):
    usual = {
        "learning_rate": 3e-3,
        "warmup_steps": 0.1,
        "weight_decay": 0.1,
        "logging_steps": 1,
        "save_steps": 4,
        "save_strategy": "steps",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return TaskTrainingArguments(str(folder), **{**usual, **options})


class Crash(Exception):  # noqa: N818
    """What happens to a run in the middle."""


class Record(TrainerCallback):
    """Keep losses, learning rates and batches; fail at a step if asked to."""

    def __init__(self, fail_at=None):
        self.losses, self.rates, self.fail_at = {}, {}, fail_at

    def on_log(self, args, state, control, logs=None, **rest):
        if "loss" in logs:
            self.losses[state.global_step] = logs["loss"]
            self.rates[state.global_step] = logs["learning_rate"]

    def on_step_end(self, args, state, control, **rest):
        if state.global_step == self.fail_at:
            raise Crash


@pytest.fixture
def train(streams, small_tokenizer, tmp_path):
    def run(folder="run", *, fail_at=None, checkpoint=None, changes=None, **options):
        record = Record(fail_at)
        model = pretrain(
            *streams,
            small_tokenizer,
            settings=settings(**(changes or {})),
            args=arguments(tmp_path / folder, **options),
            callbacks=[record],
            checkpoint=checkpoint,
        )
        return model, record

    return run


def assert_same(one, other):
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize(
    "options",
    [{}, {"bf16": True}, {"average_decay": 0.9}, {"changes": {"optimizer": "adamw"}}],
    ids=str,
)
def test_a_run_that_was_interrupted_ends_as_an_unbroken_one(train, tmp_path, options):
    whole, record = train("whole", **options)
    assert sorted(record.losses) == list(range(1, 13))
    with pytest.raises(Crash):
        train("broken", fail_at=7, **options)
    checkpoint = latest_checkpoint(tmp_path / "broken")
    assert checkpoint.name == "checkpoint-4"
    resumed, rest = train("broken", checkpoint=checkpoint, **options)
    assert sorted(rest.losses) == list(range(5, 13))
    assert rest.losses == {step: record.losses[step] for step in rest.losses}
    assert rest.rates == {step: record.rates[step] for step in rest.rates}
    assert_same(whole, resumed)


def test_a_trained_encoder_with_dropout_resumes_as_well(train, small_tokenizer, tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(small_tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    changes = {"encoder": str(tmp_path / "bert")}
    whole, record = train("whole", changes=changes)
    with pytest.raises(Crash):
        train("broken", fail_at=6, changes=changes)
    resumed, rest = train(
        "broken", checkpoint=latest_checkpoint(tmp_path / "broken"), changes=changes
    )
    assert isinstance(resumed, BertForMaskedLM)
    assert rest.losses == {step: record.losses[step] for step in rest.losses}
    assert_same(whole, resumed)


def test_one_seed_is_one_run(train):
    first, record = train("a")
    second, again = train("b")
    assert record.losses == again.losses
    assert_same(first, second)
    assert train("c", seed=7)[1].losses != record.losses


@pytest.mark.slow
def test_it_learns_and_says_how_well(streams, small_tokenizer, train):
    begin = masked_scores(
        make_model(SETTINGS, small_tokenizer).eval(), streams[1], small_tokenizer, settings=SETTINGS
    )
    model, record = train(changes={"tokens": 250_000, "decay": 0.5})
    end = masked_scores(model, streams[1], small_tokenizer, settings=SETTINGS)
    assert begin["accuracy"] < 0.03
    assert begin["loss"] == pytest.approx(np.log(len(small_tokenizer)), rel=0.1)
    assert end["accuracy"] > 0.12
    assert end["loss"] < begin["loss"] - 2
    assert np.mean([record.losses[step] for step in range(200, 241)]) < 4


def test_warm_up_height_and_decay_are_those_of_the_settings(train):
    rates = list(train(changes={"decay": 0.5}, warmup_steps=0.25)[1].rates.values())
    # The rate of a step is that after the steps before it: 3 of 12 warm up, 6 of 12 decay.
    assert rates[:3] == pytest.approx([0, 1e-3, 2e-3])
    assert rates[3:7] == pytest.approx([3e-3] * 4)
    assert all(late < early for early, late in pairwise(rates[6:]))
    assert rates[-1] < 0.3e-3


@pytest.mark.parametrize(("accumulated", "pieces"), [(1, 16), (4, 4)])
def test_accumulated_batches_share_the_tokens_of_a_step(train, monkeypatch, accumulated, pieces):
    seen = []
    original = HidingCollator.__call__

    def call(self, given):
        seen.append([place for place, _, _ in given])
        return original(self, given)

    monkeypatch.setattr(HidingCollator, "__call__", call)
    _, record = train(gradient_accumulation_steps=accumulated)
    assert {len(places) for places in seen} == {pieces}
    assert list(chain.from_iterable(seen)) == list(range(12 * 16))
    assert sorted(record.losses) == list(range(1, 13))


def test_a_step_must_be_shared_evenly(train):
    with pytest.raises(ValueError, match="tokens_per_step is 1024; allowed: a multiple of 192"):
        train(gradient_accumulation_steps=3)


def test_the_average_of_the_weights_is_handed_over(train):
    plain, _ = train("plain")
    averaged, _ = train("averaged", average_decay=0.99)
    assert any(
        not torch.equal(p, q)
        for p, q in zip(plain.parameters(), averaged.parameters(), strict=True)
    )


def test_rates_by_part_are_refused_where_they_would_be_ignored(train):
    with pytest.raises(ValueError, match=r"learning_rate_multipliers .* Use the optimizer 'adamw'"):
        train(learning_rate_multipliers={"bias": 2.0})
    train(learning_rate_multipliers={"bias": 2.0}, changes={"optimizer": "adamw"}, max_steps=2)


def test_texts_shorter_than_a_row_are_refused(streams, small_tokenizer, tmp_path):
    short = TokenStream(streams[0].ids[:63], streams[0].starts[:63])
    with pytest.raises(ValueError, match="texts is '63 tokens'; allowed: at least a row of 64"):
        pretrain(short, streams[1], small_tokenizer, settings=SETTINGS, args=arguments(tmp_path))


# Measuring.


class Oracle(torch.nn.Module):
    """Knows a stream and names each hidden token with a given probability by its first place."""

    device = torch.device("cpu")

    def __init__(self, answers, entries):
        super().__init__()
        self.answers, self.entries = answers, entries

    def forward(self, input_ids, labels):
        answer = self.answers.pop(0).clamp(min=0)
        logits = torch.nn.functional.one_hot(answer, self.entries) * 9.0
        return type("Output", (), {"logits": logits})


def test_accuracy_and_loss_are_counted_over_all_hidden_tokens(
    streams, small_tokenizer, monkeypatch
):
    answers = []
    original = HidingCollator.__call__

    def call(self, given):
        batch = original(self, given)
        labels = batch["labels"].clone()
        # Wrong in every row but the first of each batch.
        labels[1:] = 0
        answers.append(labels)
        batches.append(batch)
        return batch

    batches = []
    monkeypatch.setattr(HidingCollator, "__call__", call)
    entries = len(small_tokenizer)
    found = masked_scores(Oracle(answers, entries), streams[1], small_tokenizer, settings=SETTINGS)
    assert {batch["input_ids"].shape[1] for batch in batches} == {64}
    hidden = [int((batch["labels"] >= 0).sum()) for batch in batches]
    right = [int((batch["labels"][0] >= 0).sum()) for batch in batches]
    assert found["accuracy"] == pytest.approx(sum(right) / sum(hidden))
    norm = np.log(np.exp(9) + entries - 1)
    expected = (sum(right) * (norm - 9) + (sum(hidden) - sum(right)) * norm) / sum(hidden)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_measurement_is_the_same_each_time_and_keeps_no_graph(streams, small_tokenizer):
    model = make_model(SETTINGS, small_tokenizer).eval()
    found = [masked_scores(model, streams[1], small_tokenizer, settings=SETTINGS) for _ in range(2)]
    assert found[0] == found[1]
    assert 0 <= found[0]["accuracy"] <= 1


def test_a_few_held_out_tokens_are_enough_to_measure(streams, small_tokenizer):
    model = make_model(SETTINGS, small_tokenizer).eval()
    few = TokenStream(streams[1].ids[:7], streams[1].starts[:7])
    assert np.isfinite(masked_scores(model, few, small_tokenizer, settings=SETTINGS)["loss"])


# Settings.


def test_a_new_model_has_the_asked_size(small_tokenizer):
    model = make_model(settings(layers=3, width=128), small_tokenizer)
    assert isinstance(model, KexueForMaskedLM)
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 128, 2)
    assert config.vocab_size == len(small_tokenizer)


def test_steps_follow_from_tokens():
    assert SETTINGS.steps == 12
    assert settings(tokens=12_287).steps == 11


def test_learning_rates_by_encoder_and_optimiser():
    rates = [
        default_learning_rate(settings(encoder=encoder, optimizer=optimizer))
        for encoder in ("new", "runs/first")
        for optimizer in ("muon", "adamw")
    ]
    assert rates == pytest.approx([3e-3, 1e-3, 3e-4, 1e-4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 48}, "length is 48; allowed: 32, 64, 128"),
        ({"length": 16}, "length is 16"),
        ({"share": 0.9}, "share is 0.9; allowed: above 0 and at most 0.714"),
        ({"run": 1}, "run is 1; allowed: above 1"),
        ({"decay": 1.5}, "decay is 1.5; allowed: from 0 to 1"),
        ({"optimizer": "sgd"}, "'muon' or 'adamw'"),
        ({"tokens_per_step": 1000}, "tokens_per_step is 1000; allowed: rows of 64 tokens"),
        ({"tokens_per_step": 0}, "tokens_per_step is 0"),
        ({"tokens": 1023}, "tokens is 1023; allowed: a step of 1024 or more"),
        ({"layers": 0}, "layers is 0; allowed: 1 or more"),
        ({"width": 100}, "width is 100; allowed: a multiple of 64"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
