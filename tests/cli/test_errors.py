import pytest
import typer
from typer.testing import CliRunner

from kexue._check import invalid
from kexue.cli.errors import readable
from kexue.data import DataError

ERRORS = {
    "value": (invalid("head", "x", "'a' or 'b'"), "error: head is 'x'; allowed: 'a' or 'b'."),
    "data": (DataError("a.jsonl", 3, "it is not JSON", "Mend it."), "error: a.jsonl:3: it is not"),
    "file": (FileNotFoundError(2, "No such file", "a.txt"), "error: [Errno 2] No such file"),
}


def command(error):
    app = typer.Typer()

    @app.command()
    @readable
    def run(as_json: bool = typer.Option(False, "--json")) -> None:
        raise error

    return app


@pytest.mark.parametrize("kind", ERRORS)
def test_a_mistake_is_one_message(kind):
    error, expected = ERRORS[kind]
    result = CliRunner().invoke(command(error), [])
    assert result.exit_code == 1
    assert expected in result.output
    assert "Traceback" not in result.output


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    assert isinstance(CliRunner().invoke(command(KeyError("x")), []).exception, KeyError)
    monkeypatch.setenv("KEXUE_TRACEBACK", "1")
    assert isinstance(CliRunner().invoke(command(ValueError("x")), []).exception, ValueError)


def test_json_says_where():
    result = CliRunner().invoke(command(ERRORS["data"][0]), ["--json"])
    assert '"line": 3' in result.stdout.replace("\n", "")
