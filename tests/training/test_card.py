"""The model card as the Hub and as a person reads it."""

import ast
import re

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load

from kexue.metrics import span_scores
from kexue.training.card import EntityCard, write_card

GOLD = [[(0, 7, "机构"), (0, 2, "place"), (20, 40, "机构")], [(0, 3, "place")]]
SCORES = span_scores(GOLD, [[(0, 7, "机构"), (0, 2, "place")], [(0, 2, "place")]])


def card(**options):
    return EntityCard(
        **{
            "title": "ner-zh",
            "labels": ["place", "机构", "never seen"],
            "head": "efficient",
            "window": 512,
            "overlap": 128,
            "scores": SCORES,
            "thresholds": {"place": -0.375},
            "facts": {"encoder": "bert-base", "records": "9,748"},
            **options,
        }
    )


def text_of(tmp_path, **options):
    return write_card(tmp_path, card(**options)).read_text("utf-8")


def test_the_hub_reads_its_metadata(tmp_path):
    options = {"language": ["zh", "en"], "base_model": "bert-base-chinese", "license": "apache-2.0"}
    path = write_card(tmp_path, card(dataset="CLUENER", **options))
    assert path == tmp_path / "README.md"
    loaded = ModelCard.load(path)
    assert loaded.data.to_dict() == metadata_load(path) | {
        "model-index": loaded.data.to_dict()["model-index"]
    }
    data = loaded.data
    assert data.library_name == "kexue"
    assert data.pipeline_tag == "token-classification"
    assert (data.language, data.base_model, data.license) == tuple(options.values())
    assert data.model_name == "ner-zh"
    assert "global-pointer" in data.tags
    results = {r.metric_type: r.metric_value for r in data.eval_results}
    assert results == {
        "f1": round(SCORES.f1, 4),
        "precision": round(SCORES.precision, 4),
        "recall": round(SCORES.recall, 4),
    }
    assert {r.dataset_name for r in data.eval_results} == {"CLUENER"}


def test_what_is_not_known_is_not_in_the_metadata(tmp_path):
    known = metadata_load(write_card(tmp_path, card(scores=None)))
    assert set(known) == {"library_name", "pipeline_tag", "tags"}


def test_a_crf_is_no_global_pointer(tmp_path):
    text = text_of(tmp_path, head="crf")
    assert "crf" in ModelCard(text).data.tags
    assert "global-pointer" not in text
    assert "nested ones" not in text
    assert "least certain tag" in text
    assert "nested ones too" in text_of(tmp_path)


@pytest.mark.parametrize("example", ["Paris", "他说\"你好\"，'好'。", "line\nbreak\\", "a\u202eb"])
def test_the_snippet_is_python_with_the_example_in_it(tmp_path, example):
    code = re.search(r"```python\n(.*?)```", text_of(tmp_path, example=example), re.DOTALL)[1]
    tree = ast.parse(code)
    assert example in [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    assert isinstance(tree.body[0], ast.ImportFrom)
    assert tree.body[0].module == "kexue"
    names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert names == {"from_pretrained", "label", "text", "start", "end", "score"}


def rows(text):
    """Give the cells of all table rows."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_table_of_labels(tmp_path):
    found = rows(text_of(tmp_path))
    assert found[2:5] == [
        ["place", "2", "2", "50.00", "50.00", "50.00", "-0.375"],
        ["机构", "2", "1", "100.00", "50.00", "66.67", "0.000"],
        ["never seen", "0", "0", "-", "-", "-", "0.000"],
    ]
    assert found[5][1:6] == ["4", "3", "**66.67**", "**50.00**", "**57.14**"]
    assert len({len(row) for row in found[:6]}) == 1


def test_without_scores_the_table_holds_the_thresholds(tmp_path):
    text = text_of(tmp_path, scores=None)
    assert rows(text)[2:5] == [["place", "-0.375"], ["机构", "0.000"], ["never seen", "0.000"]]
    assert "Measured" not in text


def test_facts_head_and_window(tmp_path):
    found = rows(text_of(tmp_path))
    assert ["head", "efficient"] in found
    assert ["window", "512 tokens, 128 shared"] in found
    assert ["encoder", "bert-base"] in found
    assert ["records", "9,748"] in found


def test_what_was_found_of_nested_and_long_ones(tmp_path):
    text = text_of(tmp_path)
    assert "Of 2 nested entities 100.00 % were found." in text
    assert "Of 1 long entities 0.00 % were found." in text
    flat = text_of(tmp_path, scores=span_scores([[(0, 1, "place")]], [[]]))
    assert "nested entities" not in flat
    assert "long entities" not in flat


def test_it_says_how_offsets_are_meant(tmp_path):
    text = text_of(tmp_path)
    assert "`end` is exclusive" in text
    assert "`text[entity.start:entity.end]`" in text


EVIL = "a|b\n---\n# *x* `y` <script>alert(1)</script> [z](http://example.org)"


def test_labels_and_facts_cannot_break_the_card(tmp_path):
    text = text_of(tmp_path, labels=["place", EVIL], facts={EVIL: EVIL}, title=EVIL, dataset=EVIL)
    metadata = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert metadata["model-index"][0]["name"] == EVIL
    body = text.split("\n---\n", 1)[1]
    assert "<script>" not in body
    assert "\n# *x*" not in body
    assert "](http://example.org)" not in body.replace("\\](", "")
    assert len({len(row) for row in rows(body)[:5]}) == 1
    assert body.count("\n# ") == 1


def test_an_old_card_is_replaced(tmp_path):
    (tmp_path / "README.md").write_text("old")
    assert "old" not in text_of(tmp_path).split("---")[0]
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
