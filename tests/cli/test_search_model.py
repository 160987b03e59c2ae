import numpy as np
import pytest

from kexue.cli.search_model import (
    model_facts,
    refuse_other_model,
    refuse_other_weights,
    weights_hash,
)


def encoder(seed=0, noise=0.0, width=8):
    def encode(texts, *, batch_size):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(len(texts), width))
        return (rows + noise * rng.normal(size=rows.shape)).astype(np.float32)

    return encode


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model" / "1_Dense").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "model" / "1_Dense" / "model.safetensors").write_bytes(b"more")
    return tmp_path


def test_the_hash_is_of_the_weights_alone(folder):
    first = weights_hash(str(folder / "model"))
    assert len(first) == 64
    assert weights_hash(str(folder)) == first
    (folder / "model" / "README.md").write_text("notes")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "model.safetensors").write_bytes(b"older")
    assert weights_hash(str(folder)) == first
    (folder / "model" / "1_Dense" / "model.safetensors").write_bytes(b"else")
    assert weights_hash(str(folder)) != first


def test_weights_that_change_places_change_the_hash(folder):
    first = weights_hash(str(folder))
    (folder / "model" / "1_Dense" / "model.safetensors").rename(folder / "model" / "a.safetensors")
    assert weights_hash(str(folder)) != first


def test_names_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert weights_hash("org/name") is None
    assert len(weights_hash("mini")) == 64
    assert model_facts("mini", encoder())["model"] == "mini"
    assert model_facts("org/name", encoder())["model"] == "org/name"


def test_a_folder_is_remembered_wherever_one_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    facts = model_facts("model", encoder())
    assert facts["model"] == str(folder / "model")
    assert facts["weights"] == weights_hash(str(folder / "model"))
    assert np.shape(facts["probes"]) == (3, 8)


def test_other_weights_are_refused(folder):
    facts = model_facts(str(folder), encoder())
    refuse_other_weights(facts, str(folder))
    refuse_other_weights(facts, "org/name")
    refuse_other_weights({}, str(folder))
    (folder / "model" / "model.safetensors").write_bytes(b"trained on")
    with pytest.raises(ValueError, match="its weights are not those the index was built with"):
        refuse_other_weights(facts, str(folder))


def test_other_vectors_are_refused():
    facts = model_facts("org/name", encoder())
    refuse_other_model(facts, "elsewhere", encoder())
    refuse_other_model(facts, "elsewhere", encoder(noise=1e-5))
    refuse_other_model({}, "elsewhere", encoder(seed=1))
    for other in (encoder(seed=1), encoder(noise=0.1), encoder(width=9)):
        with pytest.raises(ValueError, match=r"other vectors .* Use that one \(org/name\)"):
            refuse_other_model(facts, "elsewhere", other)
