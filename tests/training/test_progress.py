"""What a person sees on a terminal and what a pipe receives during a real, tiny training."""

import io
import json
import re
import sys

import pytest
from rich.console import Console
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from kexue.training.progress import PlainProgress, RichProgress, progress_callback

FIGURES = [
    {"f1": 0.5, "precision": 0.25, "recall": 0.75, "macro_f1": 0.4, "f1_地址": 0.1},
    {"f1": 0.75, "precision": 0.5, "recall": 0.75, "macro_f1": 0.4, "f1_地址": 0.2},
    {"f1": 0.625, "precision": 0.5, "recall": 0.75, "macro_f1": 0.4, "f1_地址": 0.3},
]


def run(make_trainer, callback, *, during=lambda: None, figures=FIGURES, **options):
    waiting = iter(figures)

    def score(model):
        during()
        return next(waiting)

    trainer = make_trainer(
        options={"score": score, "callbacks": [callback]},
        **{"logging_steps": 4, "eval_strategy": "epoch", "num_train_epochs": 3, **options},
    )
    for stock in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(stock)
    trainer.train()
    return trainer


class Terminal:
    """A terminal that keeps what was printed: applies the few control codes that rich sends."""

    def __init__(self, text):
        self.lines, row = [""], 0
        for part in re.findall(r"\x1b\[\??[\d;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", text):
            if part == "\n":
                row += 1
                self.lines += [""] * (row + 1 - len(self.lines))
            elif part == "\x1b[2K":
                self.lines[row] = ""
            elif re.fullmatch(r"\x1b\[\d*A", part):
                row -= int(part[2:-1] or 1)
            elif not part.startswith("\x1b") and part != "\r":
                self.lines[row] += part
        self.lines = [line.rstrip() for line in self.lines if line.strip()]


def terminal(width=100):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def test_a_terminal_keeps_the_table_of_results_and_loses_the_bar(make_trainer):
    console = terminal()
    run(make_trainer, RichProgress(console=console))
    lines = Terminal(console.file.getvalue()).lines
    assert lines[0].split() == [
        "epoch",
        "step",
        "train",
        "loss",
        "f1",
        "precision",
        "recall",
        "macro_f1",
        "runtime",
    ]
    rows = [line.split() for line in lines[1:4]]
    assert [row[:2] for row in rows] == [["1.0", "8"], ["2.0", "16"], ["3.0", "24"]]
    assert [row[3:7] for row in rows] == [
        ["0.5000", "0.2500", "0.7500", "0.4000"],
        ["0.7500", "0.5000", "0.7500", "0.4000"],
        ["0.6250", "0.5000", "0.7500", "0.4000"],
    ]
    assert [row[-1] for row in rows] == ["best", "best", rows[2][-1]]
    assert rows[2][-1] != "best"
    assert re.fullmatch(r"trained 24 steps in 0:00:\d\d, best f1 0\.7500", lines[4])
    assert len(lines) == 5


def test_columns_stand_below_their_names(make_trainer):
    console = terminal()
    run(make_trainer, RichProgress(console=console))
    head, row = Terminal(console.file.getvalue()).lines[:2]
    ends = [found.end() for found in re.finditer(r"train loss|\S+", head)]
    assert [found.end() for found in re.finditer(r"\S+", row.removesuffix("  best"))] == ends


def shown(make_trainer, width=100, **options):
    """Give what the live display shows during the last evaluation."""
    console, views = terminal(width), []
    callback = RichProgress(console=console)

    def look():
        screen = terminal(width)
        screen.print(callback._live.get_renderable())
        views.append(screen.file.getvalue().splitlines())

    run(make_trainer, callback, during=look, **options)
    return views[-1]


def test_the_bar_shows_where_the_run_stands(make_trainer):
    bar, figures = shown(make_trainer)
    assert bar.startswith("epoch 3.0/3 ━━━━━")
    assert re.search(r"━ 24/24 0:00:\d\d *$", bar)
    assert re.fullmatch(
        r"  loss \d\.\d{4}  lr \d\.\d\de-\d\d  f1 0\.7500  best 0\.7500  steps/s [\d.]+  "
        r"ETA 0:00:00  evaluating \.\.\. *",
        figures,
    )


def test_a_narrow_terminal_gets_lines_that_fit(make_trainer):
    lines = shown(make_trainer, width=44)
    assert len(lines) == 2
    assert all(len(line) <= 44 for line in lines)
    console = terminal(50)
    run(make_trainer, RichProgress(console=console))
    head, row = Terminal(console.file.getvalue()).lines[:2]
    assert head.split() == ["epoch", "step", "train", "loss", "f1"]
    assert row.endswith("0.5000  best")


def test_other_output_does_not_break_the_bar(make_trainer):
    console = terminal()
    run(make_trainer, RichProgress(console=console), during=lambda: console.print("a warning"))
    lines = Terminal(console.file.getvalue()).lines
    assert lines.count("a warning") == 3
    assert len(lines) == 8
    assert not any("━" in line for line in lines)


def test_the_cursor_comes_back(make_trainer):
    console = terminal()
    run(make_trainer, RichProgress(console=console))
    output = console.file.getvalue()
    assert output.count("\x1b[?25l") == output.count("\x1b[?25h") == 1


def test_the_cursor_comes_back_after_a_failure(make_trainer, monkeypatch):
    stops = []
    monkeypatch.setattr("atexit.register", stops.append)
    console = terminal()

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_trainer, RichProgress(console=console), during=fail)
    assert "\x1b[?25h" not in console.file.getvalue()
    for stop in stops:
        stop()
    assert "\x1b[?25h" in console.file.getvalue()


def test_a_second_training_begins_a_second_table(make_trainer):
    console = terminal()
    callback = RichProgress(console=console)
    for _ in range(2):
        run(make_trainer, callback, num_train_epochs=1)
    lines = Terminal(console.file.getvalue()).lines
    assert sum("precision" in line for line in lines) == 2


def test_nested_recall_is_shown_where_something_nests(make_trainer):
    nested = [{"f1": 0.5, "nested_recall": 0.25, "nested_gold": gold} for gold in (4.0, 0.0)]
    for figures, there in zip(nested, (True, False), strict=True):
        stream = io.StringIO()
        run(make_trainer, PlainProgress(stream=stream), figures=[figures], num_train_epochs=1)
        assert ("nested_recall 0.2500" in stream.getvalue()) is there


def test_a_pipe_gets_plain_lines(make_trainer):
    stream = io.StringIO()
    trainer = run(make_trainer, PlainProgress(stream=stream))
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert lines[0] == "training: 24 steps, 3 epochs"
    losses = [e for e in trainer.state.log_history if "loss" in e]
    logs = [line for line in lines if line.startswith("step ")]
    assert len(logs) == len(losses) == 6
    for line, entry in zip(logs, losses, strict=True):
        assert line.startswith(f"step {entry['step']}/24  epoch {entry['epoch']:.2f}  ")
        assert f"loss {entry['loss']:.4f}  lr {entry['learning_rate']:.2e}" in line
        assert re.search(r"steps/s [\d.]+  ETA 0:\d\d:\d\d$", line)
    evaluations = [line for line in lines if line.startswith("evaluation ")]
    assert re.fullmatch(
        r"evaluation at step 8, epoch 1\.00:  f1 0\.5000  precision 0\.2500  recall 0\.7500  "
        r"macro_f1 0\.4000  runtime \d+\.\ds  best so far",
        evaluations[0],
    )
    assert [line.endswith("best so far") for line in evaluations] == [True, True, False]
    assert lines[-1].endswith("best f1 0.7500")
    assert len(lines) == 1 + 6 + 3 + 1


def test_a_pipe_is_told_tokens_where_a_run_is_measured_by_them(make_trainer):
    stream = io.StringIO()
    run(make_trainer, PlainProgress(stream=stream, tokens_per_step=1500))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training: 24 steps, 36k tokens"
    steps = [line for line in lines if line.startswith("step ")]
    assert steps[0].startswith("step 4/24  tokens 6k  loss ")
    assert re.search(r"tokens/s [\d.]+k?  ETA 0:\d\d:\d\d$", steps[0])
    assert not any("steps/s" in line or "epoch" in line for line in lines)
    assert sum(line.startswith("evaluation at step 8, tokens 12k:  f1 ") for line in lines) == 1


def test_a_terminal_shows_tokens_where_a_run_is_measured_by_them(make_trainer):
    console, views = terminal(), []
    callback = RichProgress(console=console, tokens_per_step=1500)

    def look():
        screen = terminal()
        screen.print(callback._live.get_renderable())
        views.append(screen.file.getvalue().splitlines())

    run(make_trainer, callback, during=look)
    assert views[-1][0].startswith("tokens 36k/36k ━━━━━")
    assert "tokens/s" in views[-1][1]
    head, row = Terminal(console.file.getvalue()).lines[:2]
    assert head.split()[:2] == ["tokens", "step"]
    assert row.split()[:2] == ["12k", "8"]
    ends = [found.end() for found in re.finditer(r"train loss|\S+", head)]
    assert [found.end() for found in re.finditer(r"\S+", row.removesuffix("  best"))] == ends


def test_a_resumed_run_says_where_it_goes_on(make_trainer, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 8}
    run(make_trainer, PlainProgress(stream=io.StringIO()), **options)
    stream = io.StringIO()
    trainer = make_trainer(
        options={"callbacks": [PlainProgress(stream=stream)]}, num_train_epochs=3, **options
    )
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-16"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training: 24 steps, 3 epochs, from step 16"
    assert lines[-1].startswith("trained 8 steps in ")


def test_a_stock_trainer_will_do(make_model, texts, collate, tmp_path):
    stream = io.StringIO()
    arguments = TrainingArguments(
        str(tmp_path),
        num_train_epochs=1,
        eval_strategy="epoch",
        logging_steps=4,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        metric_for_best_model="loss",
    )
    trainer = Trainer(
        make_model(),
        arguments,
        train_dataset=texts,
        eval_dataset=texts[:8],
        data_collator=collate,
        callbacks=[PlainProgress(stream=stream)],
    )
    for stock in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(stock)
    trainer.train()
    assert re.search(r"evaluation at step 8, .*  loss \d\.\d{4}  .*best so far", stream.getvalue())


class Tty(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def bare(monkeypatch):
    """Take away what makes rich believe in, or doubt, a terminal."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.usefixtures("bare")
def test_a_terminal_gets_the_bar_and_a_pipe_the_lines(monkeypatch):
    assert isinstance(progress_callback(stream=Tty()), RichProgress)
    assert isinstance(progress_callback(stream=io.StringIO()), PlainProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_callback(stream=Tty()), PlainProgress)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("stream", [Tty(), io.StringIO()], ids=["terminal", "pipe"])
def test_both_are_told_the_tokens_of_a_step(stream):
    assert progress_callback(stream=stream, tokens_per_step=7)._tokens_per_step == 7


@pytest.mark.usefixtures("bare")
def test_json_keeps_the_standard_output_clean(make_trainer, capsys):
    run(make_trainer, progress_callback(json=True))
    sys.stdout.write(json.dumps({"f1": 0.75}))
    out, err = capsys.readouterr()
    assert json.loads(out) == {"f1": 0.75}
    assert "evaluation at step 8" in err


@pytest.mark.usefixtures("bare")
def test_without_json_the_lines_go_to_the_standard_output(make_trainer, capsys):
    run(make_trainer, progress_callback())
    out, err = capsys.readouterr()
    assert "evaluation at step 8" in out
    assert "evaluation" not in err
