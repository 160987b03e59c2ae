"""Fixtures that more than one folder of tests uses. No test may reach a network."""

import json
import os

import pytest

from kexue.data.synthetic import sample_records

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory):
    """Write my.jsonl (300 sample records) and dev.jsonl (100 others); give their folder."""
    folder = tmp_path_factory.mktemp("samples")
    for name, count, seed in (("my.jsonl", 300, 0), ("dev.jsonl", 100, 1)):
        lines = [json.dumps(r, ensure_ascii=False) for r in sample_records(count, seed=seed)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    from kexue.tasks.ner import EntityRecognizer
    from kexue.tasks.ner_model import EntitySettings, build
    texts = [r["text"] for r in sample_records(200)]
    model, tok = build(EntitySettings(layers=1, width=64, window=64), texts, ["person", "place"])
    folder = tmp_path_factory.mktemp("t")
    import torch
    with torch.no_grad():
        for p in model.head.parameters(): p.mul_(0.1)
    EntityRecognizer(model, tok).save_pretrained(folder)
    return folder
