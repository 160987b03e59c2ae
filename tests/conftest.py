"""Fixtures that more than one folder of tests uses. No test may reach a network."""

import json
import os
import sys

# Read once, when transformers is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from hypothesis import settings
from typer.testing import CliRunner

from kexue.cli import app
from kexue.data.synthetic import sample_records
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_model import EntitySettings, build

# A test that fails by chance tells nothing; new examples are drawn where people develop.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory):
    """Write my.jsonl (300 sample records) and dev.jsonl (100 others); give their folder."""
    folder = tmp_path_factory.mktemp("samples")
    for name, count, seed in (("my.jsonl", 300, 0), ("dev.jsonl", 100, 1)):
        lines = [json.dumps(r, ensure_ascii=False) for r in sample_records(count, seed=seed)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory):
    """The run folder of `kexue demo ner`, which the READMEs show at work."""
    folder = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(app, ["demo", "ner", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    """A model folder that finds plenty of entities, none of them learnt."""
    texts = [record["text"] for record in sample_records(200)]
    torch.manual_seed(0)
    settings = EntitySettings(encoder="scratch", layers=1, width=64, window=64)
    model, tokenizer = build(settings, texts, ["person", "place"])
    folder = tmp_path_factory.mktemp("trained")
    EntityRecognizer(model, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _ray_is_stopped():
    """Stop Ray where a module has started it: it would print into the tests that follow."""
    yield
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        sys.modules["ray"].shutdown()
