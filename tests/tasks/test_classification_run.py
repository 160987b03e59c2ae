import importlib.util
import json
from pathlib import Path

import pytest
from transformers import TrainerCallback

from kexue.data.records import Corpus, DataError, Record
from kexue.tasks.classification import TextClassifier
from kexue.tasks.classification_model import ClassifierSettings
from kexue.tasks.classification_run import run_classification
from kexue.training.log import read_metrics

_SPEC = importlib.util.spec_from_file_location(
    "classifying", Path(__file__).parents[1] / "tasks" / "classifying.py"
)
classifying = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(classifying)
make_texts = classifying.make_texts


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return classifying.write_encoder(tmp_path_factory.mktemp("encoder"))


def corpus(count, seed, name="train.tsv"):
    records = [Record(text=text, label=label) for text, label in make_texts(count, seed)]
    return Corpus(records, list(range(1, count + 1)), Path("folder", name), "tsv")


def run(encoder, out, *, options=None, dev=None, resume=False, callbacks=(), **changes):
    given = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 16,
        "learning_rate": 2e-3,
        **(options or {}),
    }
    settings = ClassifierSettings(encoder=encoder, **changes)
    return run_classification(
        corpus(100, 0),
        dev,
        out,
        settings=settings,
        options=given,
        resume=resume,
        callbacks=callbacks,
    )


def test_a_folder_holds_all_that_is_known(encoder, tmp_path):
    out = tmp_path / "mine"
    finished = run(encoder, out, dev=corpus(40, 1, "dev.tsv"))
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("run.json", "metrics.jsonl", "checkpoints", "model"),
        *("scores.json", "report.html"),
    }
    scores = json.loads((out / "scores.json").read_text("utf-8"))
    assert scores["accuracy"] == finished.scores.accuracy
    assert sum(count for *_, count in scores["confusion"]) == 40
    plan = json.loads((out / "run.json").read_text("utf-8"))
    assert plan["data"]["dev"]["texts"] == 40
    assert [
        line["eval_accuracy"]
        for line in read_metrics(out / "metrics.jsonl")
        if "eval_loss" in line or "eval_accuracy" in line
    ][-1] <= 1
    texts = [text for text, _ in make_texts(10, 5)]
    assert TextClassifier.from_pretrained(out)(texts) == finished.classifier(texts)


def test_the_card_and_the_report_tell_what_was_done(encoder, tmp_path):
    out = tmp_path / "mine"
    dev = corpus(40, 1, "dev.tsv")
    # Labels that are wrong make mistakes that are certain.
    for k in (3, 4, 8):
        dev.records[k] = Record(text=dev.records[k].text, label=dev.records[k + 1].label)
    finished = run(encoder, out, dev=dev, options={"num_train_epochs": 1})
    accuracy = f"{100 * finished.scores.accuracy:.2f}"
    card = (out / "model" / "README.md").read_text("utf-8")
    assert "# Classification: mine" in card
    assert f"**Accuracy {accuracy}**" in card
    assert "measured on dev." in card
    assert "TextClassifier.from_pretrained" in card
    report = (out / "report.html").read_text("utf-8")
    assert f"<strong>{accuracy}</strong>" in report
    for words in ("macro F1", "Accuracy on the development set", "Confusion", "high predicted as"):
        assert words in report
    labels = [record.label for record in dev.records]
    wrong = sum(p.label != label for p, label in zip(finished.predicted, labels, strict=True))
    assert report.count("<article>") == min(wrong, 30) > 0
    assert "wrong label" in report
    # A text is never without a label.
    assert "<em>" not in report


def test_a_closed_form_is_a_run_too(encoder, tmp_path):
    out = tmp_path / "mine"
    finished = run(encoder, out, head="analytic", ridge=0.05)
    (line,) = read_metrics(out / "metrics.jsonl")
    assert line["eval_accuracy"] == finished.scores.accuracy
    assert "a held-out part of train" in (out / "model" / "README.md").read_text("utf-8")
    assert "0.05" in (out / "report.html").read_text("utf-8")
    with pytest.raises(ValueError, match="Add --resume"):
        run(encoder, out, head="analytic", ridge=0.05)
    again = run(encoder, out, head="analytic", ridge=0.05, resume=True)
    assert again.scores == finished.scores
    with pytest.raises(ValueError, match="other settings"):
        run(encoder, out, head="analytic", ridge=0.1, resume=True)


class Stop(TrainerCallback):
    """Fails in the second epoch, as a machine that loses power."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 9:
            raise RuntimeError("power")


@pytest.mark.parametrize("initial_head", ["random", "analytic"])
def test_a_broken_run_goes_on_to_the_same_model(initial_head, encoder, tmp_path):
    options = {"initial_head": initial_head}
    whole = run(encoder, tmp_path / "whole", **options)
    with pytest.raises(RuntimeError, match="power"):
        run(encoder, tmp_path / "broken", callbacks=[Stop()], **options)
    assert not (tmp_path / "broken" / "model").exists()
    resumed = run(encoder, tmp_path / "broken", resume=True, **options)
    assert resumed.predicted == whole.predicted
    logs = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "broken")]
    shown = [[(line["step"], line.get("eval_accuracy")) for line in log] for log in logs]
    assert shown[0] == shown[1]


def test_a_folder_of_another_run_is_refused(encoder, tmp_path):
    once = {"num_train_epochs": 1}
    run(encoder, tmp_path / "r", options=once)
    with pytest.raises(ValueError, match="Add --resume"):
        run(encoder, tmp_path / "r", options=once)
    with pytest.raises(ValueError, match="other options"):
        run(encoder, tmp_path / "r", resume=True)


def test_a_label_of_the_development_file_alone_is_named_with_its_line(encoder, tmp_path):
    dev = corpus(4, 1, "dev.tsv")
    dev.records[2] = Record(text="a", label="new")
    with pytest.raises(DataError, match=r"dev\.tsv:3: the label 'new' is nowhere in .*train"):
        run(encoder, tmp_path / "r", dev=dev)
    assert not (tmp_path / "r").exists()
