import json

from typer.testing import CliRunner

from kexue.cli import app


def test_the_demo_trains_and_tells(tmp_path):
    words = ["demo", "ner", "--out", tmp_path / "d", "--texts", "60", "--epochs", "1"]
    for _ in range(2):  # a second time it begins anew
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    assert "Texts it was not trained on" in result.output
    assert f"kexue predict {tmp_path / 'd' / 'run'}" in result.output
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert 0 <= json.loads(result.stdout)["scores"]["f1"] <= 1
