"""Speed, time left and the best score of a run."""

import time

import pytest

from kexue.training.standing import FollowTraining, Standing, short_count


def standing(**options):
    options = {"name": "f1", "greater": True, "began": 0, "started": time.perf_counter(), **options}
    return Standing(options.pop("step", 0), options.pop("steps", 100), 4, **options)


def test_before_the_first_step_nothing_is_known():
    at_start = standing()
    assert at_start.speed is None
    assert at_start.left == "?"
    assert at_start.figures() == [("ETA", "?")]


def test_a_resumed_run_does_not_count_the_steps_of_its_forerunner():
    resumed = standing(step=60, began=50, started=time.perf_counter() - 20)
    assert resumed.speed == pytest.approx(0.5, rel=0.01)
    assert resumed.left in ("0:01:20", "0:01:19")
    assert resumed.elapsed == "0:00:20"


def test_figures_appear_as_they_become_known():
    run = standing(step=10, started=time.perf_counter() - 5, loss=0.5, learning_rate=3e-5)
    assert run.figures()[:2] == [("loss", "0.5000"), ("lr", "3.00e-05")]
    run.scored({"f1": 0.25})
    assert run.figures()[2:4] == [("f1", "0.2500"), ("best", "0.2500")]
    assert [name for name, _ in run.figures()] == ["loss", "lr", "f1", "best", "steps/s", "ETA"]


def test_a_run_is_measured_by_epochs():
    run = standing(step=10, epoch=0.456)
    assert (run.measure, run.reached(1), run.reached(2), run.whole) == ("epoch", "0.5", "0.46", "4")


def test_a_run_can_be_measured_by_tokens():
    run = standing(step=10, steps=7324, tokens_per_step=8192, started=time.perf_counter() - 5)
    assert (run.measure, run.reached(1), run.whole) == ("tokens", "81.9k", "60M")
    names = [name for name, _ in run.figures()]
    assert names == ["tokens/s", "ETA"]
    assert run.figures()[0][1] == "16.4k"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.6, "1k"),
        (1000, "1k"),
        (8192, "8.19k"),
        (999_499, "999k"),
        (999_501, "1M"),
        (60_000_000, "60M"),
        (123_456_789, "123M"),
        (999_600_000, "1B"),
        (1_500_000_000, "1.5B"),
        (2.5e12, "2.5e+03B"),
    ],
)
def test_large_numbers_are_shown_in_three_digits(count, shown):
    assert short_count(count) == shown


@pytest.mark.parametrize(
    ("greater", "scores", "best"),
    [
        (True, [0.3, 0.5, 0.4, 0.5], [True, True, False, False]),
        (False, [0.3, 0.5, 0.2, 0.2], [True, False, True, False]),
    ],
)
def test_the_best_score_goes_the_way_that_is_better(greater, scores, best):
    run = standing(greater=greater)
    assert [run.scored({"f1": score}) for score in scores] == best
    assert run.best == (max(scores) if greater else min(scores))
    assert run.score == scores[-1]


def test_the_best_of_a_resumed_run_has_to_be_beaten():
    run = standing(best=0.8)
    assert not run.scored({"f1": 0.7})
    assert run.best == 0.8


def test_an_evaluation_without_the_score_is_never_the_best():
    run = standing(evaluating=True)
    assert not run.scored({"loss": 0.1})
    assert run.score is None
    assert run.best is None
    assert not run.evaluating


class Recorder(FollowTraining):
    """Write down what it is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def _begin(self, standing):
        self.told.append(("begin", standing.step, standing.steps, standing.epochs))

    def _logged(self, standing):
        self.told.append(("log", standing.step, standing.loss, standing.learning_rate))

    def _evaluated(self, standing, figures, best):
        self.told.append(("evaluation", standing.step, figures["f1"], best))

    def _end(self, standing):
        self.told.append(("end", standing.step))


def run(make_trainer, scores, **options):
    recorder, scores = Recorder(), iter(scores)
    trainer = make_trainer(
        options={"score": lambda model: {"f1": next(scores)}, "callbacks": [recorder]},
        **{"logging_steps": 4, "eval_strategy": "epoch", "num_train_epochs": 3, **options},
    )
    return recorder, trainer


def test_a_training_is_told_in_order(make_trainer):
    recorder, trainer = run(make_trainer, [0.5, 0.75, 0.25])
    trainer.train()
    logs = [e for e in trainer.state.log_history if "loss" in e]
    expected = [("log", e["step"], e["loss"], e["learning_rate"]) for e in logs]
    assert [t for t in recorder.told if t[0] == "log"] == expected
    assert recorder.told[0] == ("begin", 0, 24, 3)
    assert recorder.told[-1] == ("end", 24)
    evaluations = [t for t in recorder.told if t[0] == "evaluation"]
    assert evaluations == [
        ("evaluation", 8, 0.5, True),
        ("evaluation", 16, 0.75, True),
        ("evaluation", 24, 0.25, False),
    ]


def test_the_figure_that_chooses_the_best_model_is_followed(make_trainer):
    recorder, trainer = run(make_trainer, [0.5, 0.75, 0.25], metric_for_best_model="eval_f1")
    trainer.args.greater_is_better = False
    trainer.train()
    best = [t[3] for t in recorder.told if t[0] == "evaluation"]
    assert best == [True, False, True]


def test_a_run_that_goes_on_has_to_beat_its_best(make_trainer):
    recorder, trainer = run(make_trainer, [], metric_for_best_model="f1")
    trainer.state.best_metric = 0.75
    recorder.on_train_begin(trainer.args, trainer.state, trainer.control)
    for f1 in (0.5, 0.8):
        recorder.on_evaluate(trainer.args, trainer.state, trainer.control, metrics={"eval_f1": f1})
    assert [told[3] for told in recorder.told if told[0] == "evaluation"] == [False, True]


def test_nothing_is_told_outside_training_or_to_other_processes(make_trainer):
    recorder, trainer = run(make_trainer, [0.5] * 5, num_train_epochs=1)
    trainer.evaluate()
    assert recorder.told == []
    trainer.train()
    told = len(recorder.told)
    trainer.evaluate()
    assert len(recorder.told) == told
    recorder.told.clear()
    trainer.state.is_world_process_zero = False
    recorder.on_train_begin(trainer.args, trainer.state, trainer.control)
    recorder.on_log(trainer.args, trainer.state, trainer.control, logs={"loss": 1.0})
    recorder.on_train_end(trainer.args, trainer.state, trainer.control)
    assert recorder.told == []


def test_figures_of_another_prefix_are_no_evaluation_of_the_run(make_trainer):
    recorder, trainer = run(make_trainer, [0.5], num_train_epochs=1)
    recorder.on_train_begin(trainer.args, trainer.state, trainer.control)
    recorder.on_evaluate(trainer.args, trainer.state, trainer.control, metrics={"test_f1": 1.0})
    assert [t[0] for t in recorder.told] == ["begin"]


def test_it_knows_when_an_evaluation_runs(make_trainer):
    seen = []
    recorder = Recorder()
    recorder._logged = lambda standing: seen.append(standing.evaluating)

    def score(model):
        seen.append(recorder._standing.evaluating)
        return {"f1": 0.5}

    make_trainer(
        options={"score": score, "callbacks": [recorder]},
        eval_strategy="steps",
        eval_steps=3,
        logging_steps=7,
        num_train_epochs=1,
    ).train()
    assert seen == [True, True, False, True]
