import importlib
import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer

from kexue.sentences.dense import append_dense, save_dense
from kexue.sentences.whitening import Whitening

TEXTS = [f"{a} {b}" for a in "abcdefgh" for b in "ijklmnop"]
WIDTH = 8


def layer(width=WIDTH, kept=3, *, dtype=torch.float32, bias=True):
    torch.manual_seed(0)
    return nn.Linear(width, kept, dtype=dtype, bias=bias)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The folder of a tiny model of sentence-transformers."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    models = sentence_transformers.sentence_transformer.modules
    folder = tmp_path_factory.mktemp("source")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnop"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    bert = models.Transformer(str(folder / "bert"))
    modules = [bert, models.Pooling(WIDTH), models.Normalize()]
    model = sentence_transformers.SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


def load(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def encode(folder):
    return load(folder).encode(TEXTS)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_folder_gives_the_vectors_of_transform(source, tmp_path, normalize):
    raw = encode(source)
    whitening = Whitening(3).fit(raw)
    append_dense(whitening.as_linear(), source, tmp_path / "new", normalize=normalize)
    expected = whitening.transform(raw)
    assert expected.std() > 0.9
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encode(tmp_path / "new"), expected, atol=1e-3, rtol=1e-3)


def test_the_folder_loads_without_this_package(source, tmp_path, monkeypatch):
    append_dense(layer(), source, tmp_path / "new", normalize=True)
    for name in [name for name in sys.modules if name.split(".")[0] == "kexue"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        importlib.import_module("kexue.sentences.dense")
    model = load(tmp_path / "new")
    names = [type(module).__name__ for module in model]
    assert names == ["Transformer", "Pooling", "Normalize", "Dense", "Normalize"]
    assert {type(module).__module__.split(".")[0] for module in model} == {"sentence_transformers"}
    assert model.encode("a b").shape == (3,)


def test_the_source_stays_and_the_copy_stands_alone(source, tmp_path):
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    append_dense(layer(), source, tmp_path / "new")
    after = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert before == after
    copied = [path.relative_to(source) for path in before if path.name != "modules.json"]
    for path in copied:
        assert (tmp_path / "new" / path).read_bytes() == before[source / path]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_second_layer_goes_after_the_first(source, tmp_path):
    append_dense(layer(kept=5), source, tmp_path / "one")
    append_dense(layer(5, 2), tmp_path / "one", tmp_path / "two")
    listing = json.loads((tmp_path / "two" / "modules.json").read_text("utf-8"))
    assert [module["path"] for module in listing][-2:] == ["3_Dense", "4_Dense"]
    assert [module["idx"] for module in listing] == [0, 1, 2, 3, 4]
    with torch.no_grad():
        expected = layer(5, 2)(layer(kept=5)(torch.from_numpy(encode(source)))).numpy()
    np.testing.assert_allclose(encode(tmp_path / "two"), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_a_dense_module_can_be_loaded_alone(tmp_path, dtype, bias):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    made = layer(dtype=dtype, bias=bias)
    save_dense(made, tmp_path / "a" / "dense")
    dense = sentence_transformers.sentence_transformer.modules.Dense.load(
        str(tmp_path / "a" / "dense")
    )
    x = torch.randn(5, WIDTH)
    with torch.no_grad():
        found = dense({"sentence_embedding": x})["sentence_embedding"]
        torch.testing.assert_close(found, made.float()(x))


def test_the_files_are_what_sentence_transformers_writes(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    made = layer()
    save_dense(made, tmp_path / "ours")
    theirs = sentence_transformers.sentence_transformer.modules.Dense(
        WIDTH, 3, activation_function=nn.Identity(), init_weight=made.weight, init_bias=made.bias
    )
    (tmp_path / "theirs").mkdir()
    theirs.save(str(tmp_path / "theirs"))
    names = [sorted(path.name for path in (tmp_path / who).iterdir()) for who in ("ours", "theirs")]
    assert names[0] == names[1]
    configs = [
        json.loads((tmp_path / who / "config.json").read_text("utf-8"))
        for who in ("ours", "theirs")
    ]
    assert configs[0].items() <= configs[1].items()
    left, right = (load_file(tmp_path / who / "model.safetensors") for who in ("ours", "theirs"))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_source_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a folder with modules.json\. Write the model by"):
        append_dense(layer(), tmp_path, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "modules.json").write_text("[]", "utf-8")
    with pytest.raises(ValueError, match="allowed: a folder that does not exist"):
        append_dense(layer(), tmp_path / "source", tmp_path / "source")


def test_a_crash_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "modules.json").write_text("[]", "utf-8")

    def crash(*given):
        raise OSError("power cut")

    monkeypatch.setattr("kexue.sentences.dense.save_dense", crash)
    with pytest.raises(OSError, match="power cut"):
        append_dense(layer(), tmp_path / "source", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
