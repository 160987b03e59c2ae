import json
import warnings

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from kexue.cli import explain as module
from kexue.cli.explain import coloured_tokens, show_explanation
from kexue.tasks.explanation import ExplainedText, Explanation, TokenAttribution

TEXT = "中国的首[MASK]是北京。"


@pytest.fixture(scope="module")
def run():
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(module.explain)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def explanation():
    tokens = (
        TokenAttribution("很", 0, 1, 0.02, 1.0),
        TokenAttribution("差", 1, 2, -2.0, 3.0),
        TokenAttribution("片", 2, 3, 1.5, 2.0),
    )
    text = ExplainedText("很差片", tokens, -1.0, 1e-4, 11, converged=False)
    return Explanation("negative", "log-odds", -1.48, (text,), (1, 2), "zero")


def test_a_pipe_gets_one_json_object(run):
    result = run("mini", TEXT, "--label", "都", "--tolerance", "0.01")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["label"] == "都"
    assert found["span"] == [4, 10]
    (text,) = found["texts"]
    total = sum(token["value"] for token in text["tokens"])
    assert total == pytest.approx(found["score"] - text["baseline_score"], rel=0.011)


def test_two_texts_a_page_and_a_picture(run, tmp_path):
    pytest.importorskip("matplotlib")
    page, picture = tmp_path / "a.html", tmp_path / "a.png"
    result = run("mini", "我喜欢北京", "--other", "首都很好", "--html", page, "--png", picture)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["texts"]) == 2
    assert "similarity" in page.read_text("utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_entities_of_a_folder(run, trained_folder):
    result = run(trained_folder, "Anna lives in Rome", "--label", "place", "--tolerance", "0.1")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["label"] == "place"


def test_a_terminal_sees_text(run, monkeypatch):
    monkeypatch.setattr(module.sys.stdout.__class__, "isatty", lambda _: True, raising=False)
    shown = []
    monkeypatch.setattr(module, "show_explanation", shown.append)
    monkeypatch.setattr(module.sys, "stdout", _Terminal())
    module.explain("mini", TEXT, **_defaults(tolerance=0.1))
    assert shown[0].span == (4, 10)


class _Terminal:
    def isatty(self):
        return True

    def write(self, text):
        return len(text)

    def flush(self):
        pass


def _defaults(**changes):
    names = ("label", "other", "span", "html", "png")
    options = dict.fromkeys(names) | {"baseline": "zero", "target": "log-odds", "as_json": False}
    return {**options, **changes}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("runs/none", "x"), "model is 'runs/none'; allowed: a folder with the config.json"),
        (("mini", "没有"), "allowed: a text with [MASK] for a token"),
        (("mini", TEXT, "--span", "3"), "--span is '3'; allowed: START-END"),
        (("mini", TEXT, "--span", "3-3"), "--span is '3-3'; allowed: START-END"),
        (("mini", TEXT, "--label", "北京城"), "label is '北京城'; allowed: one token"),
        (("mini", TEXT, "--baseline", "x"), "baseline is 'x'; allowed: 'zero', 'pad', 'mask'"),
        (("mini", TEXT, "--tolerance", "0"), "tolerance is 0.0; allowed: a positive number"),
        (("mini", TEXT, "--target", "x"), "target is 'x'; allowed: 'log-odds'"),
    ],
)
def test_a_mistake_is_one_readable_line(run, words, message):
    result = run(*words)
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_a_missing_matplotlib_is_a_readable_line(run, monkeypatch, tmp_path):
    def fail(*_):
        raise ImportError('A picture needs matplotlib: pip install "kexue[plot]"')

    monkeypatch.setattr(Explanation, "write_png", fail)
    result = run("mini", TEXT, "--tolerance", "0.1", "--png", tmp_path / "a.png")
    assert result.exit_code == 1
    assert "kexue[plot]" in result.stderr


def test_missing_the_tolerance_prints_no_python_warning(run, monkeypatch, explanation):
    def explain(*_, **options):
        warnings.warn("1 of 1 attributions miss their sum", RuntimeWarning, stacklevel=2)
        return explanation

    monkeypatch.setattr("kexue.tasks.explaining.explain", explain)
    result = run("mini", TEXT)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["texts"][0]["converged"] is False


def test_backgrounds_tell_sign_and_size(explanation):
    found = coloured_tokens(explanation.texts[0], 2.0, (1, 2))
    styles = {
        (span.start, span.end): str(span.style) for span in found.spans if "on" in str(span.style)
    }
    assert styles == {(1, 2): "white on rgb(190,62,48)", (2, 3): "white on rgb(92,130,188)"}
    assert [(s.start, s.end) for s in found.spans if str(s.style) == "underline"] == [(1, 2)]


def test_few_colours_will_do(explanation):
    found = coloured_tokens(explanation.texts[0], 2.0, None, shades=False)
    assert [(s.start, str(s.style)) for s in found.spans] == [(1, "bold red"), (2, "bold blue")]


def test_what_is_shown(explanation, monkeypatch):
    out = Console(
        width=200, record=True, file=_Terminal(), color_system="truecolor", force_terminal=True
    )
    monkeypatch.setattr(module, "console", lambda: out)
    show_explanation(explanation)
    text = out.export_text()
    assert "negative: log-odds -1.4800" in text
    assert "-1.0000 with its tokens replaced: zero; 11 gradients, gap 1.0e-04" in text
    assert "do not add up" in text
    lines = [line.split() for line in text.splitlines() if "-" in line][-3:]
    assert lines == [["1-2", "-2.0000", "差"], ["2-3", "+1.5000", "片"], ["0-1", "+0.0200", "很"]]
