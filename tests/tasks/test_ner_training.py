import pytest

from kexue.data.synthetic import sample_records
from kexue.tasks.ner_model import EntitySettings
from kexue.tasks.ner_training import train_entities
from kexue.training.arguments import TaskTrainingArguments


def labelled(count, seed):
    return [
        (r["text"], [(e["start"], e["end"], e["label"]) for e in r["entities"]])
        for r in sample_records(count, seed=seed, sentences=1)
    ]


def arguments(folder, **options):
    usual = {
        "num_train_epochs": 1,
        "per_device_train_batch_size": 32,
        "learning_rate": 2e-3,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "f1",
        "report_to": "none",
        "disable_tqdm": True,
    }
    return TaskTrainingArguments(str(folder), **{**usual, **options})


@pytest.mark.slow
def test_it_learns_to_find_entities_it_has_not_seen(tmp_path):
    """A dictionary of the training entities scores below 0.3 on these texts."""
    run = train_entities(
        labelled(1000, 0),
        labelled(100, 1),
        settings=EntitySettings(encoder="scratch", layers=2, width=128, window=64),
        args=arguments(tmp_path, num_train_epochs=6),
    )
    assert run.scores.f1 > 0.6
    assert run.scores.nested.recall > 0.2
    assert run.unlearnable == {"train": [], "dev": []}
    assert run.calibrated.f1 > 0.6


@pytest.mark.parametrize(
    "options",
    [
        {"bf16": True, "use_cpu": True},
        {"activation_checkpointing": True},
        {"train_sampling_strategy": "group_by_length", "length_buckets": False},
        {"gradient_accumulation_steps": 2},
        {"tokens_per_batch": 400},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_trainers_options_work(options, tmp_path):
    run = train_entities(
        labelled(60, 0),
        labelled(20, 1),
        settings=EntitySettings(encoder="scratch", layers=1, width=64, window=64),
        args=arguments(tmp_path, **options),
    )
    assert 0 <= run.scores.f1 <= 1
    assert run.windows == 60


def test_it_stops_when_nothing_gets_better(tmp_path):
    run = train_entities(
        labelled(40, 0),
        labelled(10, 1),
        settings=EntitySettings(encoder="scratch", layers=1, width=64, window=64, patience=1),
        args=arguments(tmp_path, num_train_epochs=30, learning_rate=0.0),
    )
    assert len(list(tmp_path.glob("checkpoint-*"))) <= 3
    assert run.scores.f1 < 0.2


def test_entities_longer_than_a_window_are_counted(tmp_path):
    text = "甲" * 100
    train = [(text, [(0, 90, "long"), (3, 5, "short")])] * 8
    run = train_entities(
        train,
        train[:2],
        settings=EntitySettings(encoder="scratch", layers=1, width=64, window=32),
        args=arguments(tmp_path),
    )
    assert {entity.label for entity in run.unlearnable["train"]} == {"long"}
    assert len(run.unlearnable["dev"]) == 2
    assert run.scores.micro.gold == 4
    assert run.windows > 8


@pytest.mark.parametrize(
    ("nested", "flat", "want"), [(0, None, True), (1, None, False), (1, True, True)]
)
def test_what_the_training_texts_are_like_decides_whether_entities_may_overlap(
    nested, flat, want, tmp_path
):
    text = "北京大学在北京市"
    spans = [(0, 4, "school"), (5, 8, "place"), *[(0, 2, "place")] * nested]
    run = train_entities(
        [(text, spans)] * 8,
        [(text, spans)],
        settings=EntitySettings(
            encoder="scratch", layers=1, width=64, window=16, flat=flat, calibrate=False
        ),
        args=arguments(tmp_path),
    )
    assert run.recognizer.model.config.flat is want
