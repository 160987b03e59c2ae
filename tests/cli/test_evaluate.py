import json

import pytest
from typer.testing import CliRunner

from kexue.cli import app
from kexue.tasks.ner import EntityRecognizer


def call(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


@pytest.fixture
def labelled(trained_folder, tmp_path):
    """A file whose labels are what the model finds, and one entity more."""
    texts = ["王小明在北京工作。", "He works in Beijing."]
    found = EntityRecognizer.from_pretrained(trained_folder)(texts, flat=True)
    path = tmp_path / "data.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for text, entities in zip(texts, found, strict=True):
            spans = [{"start": e.start, "end": e.end, "label": e.label} for e in entities]
            out.write(json.dumps({"text": text, "entities": spans}) + "\n")
        last = {"text": "ab", "entities": [{"start": 0, "end": 2, "label": "colour"}]}
        out.write(json.dumps(last) + "\n")
    return path, sum(map(len, found))


def test_scores_are_those_of_the_file(trained_folder, labelled):
    path, count = labelled
    result = call(trained_folder, path, "--flat", "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert scores["recall"] == pytest.approx(count / (count + 1))
    assert "does not know colour" in result.stderr


def test_a_table_for_people(trained_folder, labelled):
    result = call(trained_folder, labelled[0])
    assert result.exit_code == 0, result.output
    for word in ("precision", "recall", "place", "person", "macro F1"):
        assert word in result.output


def test_mistakes_are_messages(trained_folder, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    for words in ((trained_folder, tmp_path / "empty.jsonl"), (trained_folder, tmp_path / "no")):
        result = call(*words)
        assert result.exit_code == 1
        assert "error: " in result.output
