import io
import re
import sys

import pytest
from rich.console import Console

from kexue.cli import counting as module
from kexue.cli.counting import counting


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_pipe_sees_a_line_now_and_then(clock, capsys):
    with counting("embedding", "texts", 5000, done=1000) as count:
        for _ in range(40):
            clock.now += 1
            count(100)
    assert capsys.readouterr().out.splitlines() == [
        "embedding: 2,000 of 5,000 texts, 100 a second, 30 s left",
        "embedding: 3,000 of 5,000 texts, 100 a second, 20 s left",
        "embedding: 4,000 of 5,000 texts, 100 a second, 10 s left",
        "embedding: 5,000 of 5,000 texts, 100 a second",
    ]


def test_the_end_is_always_told(clock, capsys):
    with counting("embedding", "texts", 3) as count:
        clock.now += 1
        count(2)
        count(1)
    assert capsys.readouterr().out == "embedding: 3 of 3 texts, 3 a second\n"


def test_json_keeps_standard_output_free(clock, capsys):
    with counting("embedding", "texts", 3, as_json=True) as count:
        clock.now += 1
        count(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("embedding: 3 of 3 texts")


def test_nothing_to_do_says_nothing(capsys):
    with counting("embedding", "texts", 3, done=3):
        pass
    assert capsys.readouterr().out == ""


def test_a_terminal_sees_a_bar(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich.progress.get_console", lambda: Console(file=screen, width=100))
    with counting("embedding", "texts", 30, done=10) as count:
        count(20)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "embedding" in shown
    assert "10/30 texts" in shown
    assert "30/30 texts" in shown
