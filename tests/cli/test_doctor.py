import io
import json
import re
from importlib import metadata
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from kexue import __version__
from kexue.cli import doctor as module
from kexue.cli.installation import Check

ROOT = Path(__file__).parents[2]


def run(*arguments):
    app = typer.Typer()
    app.command()(module.doctor)
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def _one_problem(monkeypatch):
    monkeypatch.setattr(
        module,
        "_looks",
        lambda: [lambda: [Check("torch", "missing", "problem", "pip install torch")]],
    )


def test_a_healthy_machine_ends_with_0():
    done = run()
    assert done.exit_code == 0, done.output
    assert f"kexue: {__version__}" in done.output
    assert f"torch: {metadata.version('torch')}" in done.output
    assert "import kexue.models: works" in done.output
    assert "self-check: loss" in done.output


def test_a_pipe_gets_one_plain_line_for_each_check():
    lines = run().output.splitlines()
    assert len(lines) > 15
    assert all(line.split()[0] in ("ok", "note", "problem") for line in lines)


def test_json_is_one_object_with_the_same_checks():
    done = run("--json")
    report = json.loads(done.output)
    assert report["ok"] is True
    assert {"name", "value", "state", "fix"} == set(report["checks"][0])
    assert len(report["checks"]) == len(run().output.splitlines())


@pytest.mark.usefixtures("_one_problem")
def test_a_problem_ends_with_1_and_says_what_to_type():
    done = run()
    assert done.exit_code == 1
    assert done.output == "problem torch: missing -> pip install torch\n"


@pytest.mark.usefixtures("_one_problem")
def test_json_says_that_there_is_a_problem():
    done = run("--json")
    assert done.exit_code == 1
    assert json.loads(done.output)["ok"] is False


def test_a_look_that_fails_is_a_problem_and_the_others_go_on(monkeypatch):
    def broken():
        raise OSError("no such device")

    monkeypatch.setattr(module, "_looks", lambda: [broken, lambda: [Check("torch", "2.13.0")]])
    done = run()
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "problem doctor: OSError: no such device",
        "ok      torch: 2.13.0",
    ]


def test_a_terminal_gets_a_table_with_brackets_as_they_are(monkeypatch):
    shown = []
    monkeypatch.setattr(Console, "print", lambda self, table: shown.append(table))
    module._show_table([Check("extra plot", "without [x]", "note", 'pip install "kexue[plot]"')])
    console = Console(width=120, record=True, file=io.StringIO())
    monkeypatch.undo()
    console.print(shown[0])
    text = console.export_text()
    assert "without [x]" in text
    assert 'pip install "kexue[plot]"' in text


def test_a_wheel_is_told_to_install_from_the_index(monkeypatch):
    asked = ["torch>=2.4", 'absent-package; extra == "plot"']
    monkeypatch.setattr(module, "_checkout", lambda: None)
    monkeypatch.setattr(module.metadata, "requires", lambda name: asked)
    (extra,) = module._requirements()
    assert extra.fix == 'pip install "kexue[plot]"'
    assert module._constraints() == []


def test_a_checkout_is_told_to_install_itself(monkeypatch):
    monkeypatch.setattr(module.metadata, "requires", lambda name: ['absent; extra == "plot"'])
    (extra,) = module._requirements()
    assert extra.fix == f'pip install -e "{ROOT}[plot]"'
    (constraints,) = module._constraints()
    assert constraints.name == "constraints"


def test_without_metadata_the_requirements_are_a_note(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "requires", absent)
    (found,) = module._requirements()
    assert found.state == "note"
    assert found.fix.startswith("pip install")


def test_every_shown_package_is_one_that_the_project_asks_for():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, flags=re.MULTILINE | re.DOTALL)[1]
    asked = set(re.findall(r'"([a-z]+)', listed))
    assert set(module._SHOWN) - {"kexue", "tokenizers"} <= asked
