import json

import pytest

from kexue.tasks.model_folder import model_type


def test_the_kind_of_a_folder_is_that_of_its_configuration(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "kexue-entities"}))
    assert model_type(tmp_path) == "kexue-entities"
    # A run folder holds its model inside.
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert model_type(str(tmp_path)) == "bert"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"model_type": 3}', "{}"])
def test_what_is_no_model_has_no_kind(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    assert model_type(tmp_path) is None
    assert model_type(tmp_path / "none") is None
