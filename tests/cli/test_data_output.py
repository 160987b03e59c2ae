import json
from pathlib import Path

import pytest

from kexue.cli import data_output
from kexue.cli.data_output import (
    echo,
    show_findings,
    show_repair,
    show_stats,
    showable,
    table,
)
from kexue.data import Corpus, Entity, Finding, Record, repair, stats


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(data_output, "_is_terminal", lambda: True)


CORPUS = Corpus(
    [Record(text="北京 ", entities=[Entity(start=0, end=3, label="[red]place")])],
    [1],
    Path("a.jsonl"),
    "jsonl",
)


def findings(count):
    return [Finding("a", n, "crossing", "x", "Look.", "warning") for n in range(1, count + 1)]


def test_what_no_stream_can_encode_is_escaped(capsys):
    assert showable("北京") == "北京"
    assert showable("a\udcff").encode() == b"a\\udcff"
    echo("a\udcff")
    echo({"text": "北京", "n": 1})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a\\udcff"
    assert json.loads(lines[1]) == {"text": "北京", "n": 1}


def test_a_pipe_gets_tab_separated_lines(capsys):
    table("labels", ["label", "count"], [["a", "1"], ["b", "2"]])
    assert capsys.readouterr().out == "label\tcount\na\t1\nb\t2\n"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_a_drawn_table_and_no_markup_from_the_data(capsys):
    table("labels", ["label", "count"], [["[red]a", "1"]])
    output = capsys.readouterr().out
    assert "[red]a" in output
    assert "│" in output


def test_a_pipe_gets_every_finding(capsys):
    show_findings([CORPUS], findings(200))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 records: 0 errors, 200 warnings"
    assert lines[:-1] == [str(finding) for finding in findings(200)]


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_the_first_findings_and_their_number(capsys):
    show_findings([CORPUS], findings(200))
    output = capsys.readouterr().out
    assert "... and 170 more" in output
    assert output.count("crossing: x") == 30
    show_findings([CORPUS], findings(3))
    assert "more" not in capsys.readouterr().out


def test_repairs_and_stats(capsys):
    show_repair(repair(CORPUS), Path("b"), Path("c"))
    assert capsys.readouterr().out == "b: 1 changes, 0 findings left; see c\n"
    show_stats(stats(CORPUS))
    lines = capsys.readouterr().out.splitlines()
    assert "longest\t[red]place, 3 characters, line 1" in lines
    assert "[red]place\t1\t3.0\t3" in lines
    show_stats(stats(Corpus([], [], Path("a"), "jsonl")))
    assert "longest\tnone" in capsys.readouterr().out
