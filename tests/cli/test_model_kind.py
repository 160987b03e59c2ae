import json
from pathlib import Path

import pytest

from kexue.cli.model_kind import refuse_entity_options, task_of


@pytest.mark.parametrize(
    ("kind", "task"), [("kexue-entities", "ner"), ("kexue-classifier", "classification")]
)
def test_the_model_type_says_the_task(kind, task, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    assert task_of(tmp_path) == task


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"It holds no model\. Train one with `kexue train ner`"):
        task_of(Path("nowhere"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "kexue-sentences"}))
    with pytest.raises(ValueError, match="It holds 'kexue-sentences'"):
        task_of(tmp_path)


def test_options_of_entities_are_refused():
    refuse_entity_options(None, None)
    with pytest.raises(ValueError, match=r"threshold is 0\.5"):
        refuse_entity_options(0.5, None)
    with pytest.raises(ValueError, match="flat is False"):
        refuse_entity_options(None, False)
