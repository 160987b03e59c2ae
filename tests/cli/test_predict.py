import io
import json

import pytest
from typer.testing import CliRunner

from kexue.cli import app
from kexue.tasks.ner import EntityRecognizer

TEXTS = ["王小明在北京工作。", "", "He works in Beijing."]


def call(*words, **options):
    return CliRunner().invoke(app, ["predict", *map(str, words)], **options)


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def expected(trained_folder):
    found = EntityRecognizer.from_pretrained(trained_folder)(TEXTS)
    return [[entity.to_dict() for entity in entities] for entities in found]


def test_texts_as_arguments(trained_folder, expected):
    found = lines(call(trained_folder, *TEXTS))
    assert found == [
        {"text": text, "entities": entities} for text, entities in zip(TEXTS, expected, strict=True)
    ]


def test_a_file_of_texts_keeps_every_line(trained_folder, expected, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    found = lines(call(trained_folder, "--file", path))
    assert [record["text"] for record in found] == TEXTS
    assert [record["entities"] for record in found] == expected


def test_jsonl_keeps_what_else_a_record_says(trained_folder, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"id": 7, "text": "北京"}\n', encoding="utf-8")
    (found,) = lines(call(trained_folder, "--file", path))
    assert (found["id"], found["text"]) == (7, "北京")


def test_standard_input_and_an_output_file(trained_folder, expected, tmp_path):
    out = tmp_path / "found.jsonl"
    result = call(trained_folder, "--out", out, input="\n".join(TEXTS) + "\n")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    written = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [record["entities"] for record in written] == expected
    assert [path.name for path in tmp_path.iterdir()] == ["found.jsonl"]


def test_threshold_and_flat(trained_folder):
    (all_of_them,) = lines(call(trained_folder, TEXTS[0]))
    (sure,) = lines(call(trained_folder, TEXTS[0], "--threshold", "0.999999"))
    (flat,) = lines(call(trained_folder, TEXTS[0], "--flat"))
    assert len(sure["entities"]) <= len(flat["entities"]) <= len(all_of_them["entities"])


def test_a_long_text_is_read_to_its_end(trained_folder):
    text = "王小明在北京工作。" * 400
    (found,) = lines(call(trained_folder, text))
    assert max(entity["end"] for entity in found["entities"]) > len(text) - 60


MISTAKES = {
    "no model": (["nowhere", "a"], "kexue train ner"),
    "threshold": (["MODEL", "a", "--threshold", "2"], "between 0 and 1"),
    "no file": (["MODEL", "--file", "none.txt"], "there is no such file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message(mistake, trained_folder):
    words, expected = MISTAKES[mistake]
    result = call(*[trained_folder if word == "MODEL" else word for word in words])
    assert result.exit_code == 1
    assert expected in result.output
    assert "Traceback" not in result.output


def test_broken_input_names_the_line(trained_folder, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "a"}\n\xff\xfe\n')
    result = call(trained_folder, "--file", path)
    assert result.exit_code == 1
    assert "texts.jsonl:2: not UTF-8" in result.output
    path.write_text('{"text": "a"}\n{"txt": "a"}\n', encoding="utf-8")
    result = call(trained_folder, "--file", path)
    assert "texts.jsonl:2: a JSON object without a text" in result.output


def test_a_terminal_sees_coloured_entities(trained_folder, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    from kexue.cli.predict import predict

    predict(
        trained_folder,
        texts=[TEXTS[0]],
        file=None,
        out=None,
        threshold=None,
        flat=False,
        batch_size=8,
        as_json=False,
    )
    assert TEXTS[0] in screen.getvalue().replace("\x1b", "") or "\x1b[" in screen.getvalue()
    assert "place" in screen.getvalue()
