import importlib.util
from pathlib import Path

import pytest

from kexue.tasks.classification_data import LabelledText
from kexue.tasks.classification_model import ClassifierSettings
from kexue.tasks.classification_training import train_classifier
from kexue.training.arguments import TaskTrainingArguments

_SPEC = importlib.util.spec_from_file_location(
    "classifying", Path(__file__).parents[1] / "tasks" / "classifying.py"
)
classifying = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(classifying)
make_texts = classifying.make_texts


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return classifying.write_encoder(tmp_path_factory.mktemp("encoder"))


def train(encoder, folder, *, texts=None, dev=None, options=None, **changes):
    usual = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 16,
        "learning_rate": 3e-3,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return train_classifier(
        make_texts(120, 0) if texts is None else texts,
        make_texts(60, 1) if dev is None else dev,
        settings=ClassifierSettings(encoder=encoder, **changes),
        args=TaskTrainingArguments(str(folder), **{**usual, **(options or {})}),
    )


def test_it_learns_by_gradient_and_in_closed_form(encoder, tmp_path):
    by_gradient = train(encoder, tmp_path / "a", options={"num_train_epochs": 4})
    assert by_gradient.scores.accuracy > 0.8
    closed = train(encoder, tmp_path / "b", head="analytic")
    assert closed.scores.accuracy > 0.8
    assert not list(tmp_path.glob("b/checkpoint-*"))
    assert [p.label for p in closed.predicted] == [
        p.label for p in closed.classifier([text for text, _ in make_texts(60, 1)])
    ]


def test_a_closed_form_is_where_training_begins(encoder, tmp_path):
    still = {"learning_rate": 0.0, "num_train_epochs": 1}
    begun = train(encoder, tmp_path / "a", initial_head="analytic", options=still, head_dropout=0)
    closed = train(encoder, tmp_path / "b", head="analytic")
    random = train(encoder, tmp_path / "c", options=still)
    for one, other in zip(begun.predicted, closed.predicted, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    assert random.scores.accuracy < begun.scores.accuracy


def test_pairs_are_learnt(encoder, tmp_path):
    # Untrained attention compares little; the closed form on its vectors still beats chance.
    run = train(
        encoder,
        tmp_path,
        texts=make_texts(200, 0, pairs=True),
        dev=make_texts(60, 1, pairs=True),
        head="analytic",
    )
    assert run.scores.accuracy > 0.7
    assert run.classifier.model.config.pairs


def test_texts_longer_than_the_window_are_learnt_from_their_pieces(encoder, tmp_path):
    # What tells is at the end, which the first window does not see.
    def long(count, seed):
        return [LabelledText("m " * 9 + text, label) for text, label in make_texts(count, seed)]

    changes = {"texts": long(90, 0), "dev": long(30, 1), "options": {"num_train_epochs": 4}}
    run = train(encoder, tmp_path / "a", window=10, **changes)
    assert run.shortened == 0
    assert run.scores.accuracy > 0.6
    cut = train(encoder, tmp_path / "b", window=10, training_pieces=1, **changes)
    assert cut.shortened == 90
    assert cut.scores.accuracy < run.scores.accuracy


@pytest.mark.parametrize(
    "options",
    [
        {"bf16": True},
        {"activation_checkpointing": True},
        {"gradient_accumulation_steps": 2},
        {"tokens_per_batch": 200},
        {"average_decay": 0.9},
        {"metric_for_best_model": "macro_f1"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_trainers_options_work(options, encoder, tmp_path):
    given = {"num_train_epochs": 1, **options}
    run = train(encoder, tmp_path, texts=make_texts(40, 0), dev=make_texts(12, 1), options=given)
    assert 0 <= run.scores.accuracy <= 1
    assert len(run.predicted) == 12


def test_it_stops_when_nothing_gets_better(encoder, tmp_path):
    options = {"num_train_epochs": 30, "learning_rate": 0.0}
    train(encoder, tmp_path, texts=make_texts(30, 0), options=options, patience=1)
    steps = [int(path.name.rpartition("-")[2]) for path in tmp_path.glob("checkpoint-*")]
    assert max(steps) <= 3 * 2


def test_what_cannot_be_learnt_is_refused_before_anything_is_written(encoder, tmp_path):
    for texts, dev, message in (
        ([], None, "0 texts"),
        ([LabelledText("a", "x")] * 3, None, "texts of two labels"),
        (None, [], "labelled texts to measure on"),
        (None, [LabelledText("a", "new")], "texts of 'new'"),
    ):
        with pytest.raises(ValueError, match=message):
            train(encoder, tmp_path / "run", texts=texts, dev=dev)
    assert not (tmp_path / "run").exists()
