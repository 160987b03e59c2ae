import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, LlamaConfig, LlamaForCausalLM
from transformers import logging as transformers_logging

from kexue.models.ntk import KINDS, register_ntk
from kexue.positions import ntk_frequencies

register_ntk()

SMALL = {
    "vocab_size": 50,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
    "head_dim": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


def llama(**rope) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(**SMALL, initializer_range=0.3, rope_parameters=rope or None)
    return LlamaForCausalLM(config).eval()


def logits(model) -> torch.Tensor:
    ids = torch.randint(0, 50, (2, 80), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(ids).logits


class Heard(logging.Handler):
    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


@pytest.fixture
def heard():
    handler = Heard()
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_warning()
    logging.getLogger("transformers").addHandler(handler)
    yield handler.said
    logging.getLogger("transformers").removeHandler(handler)
    transformers_logging.set_verbosity(before)


def test_old_equals_a_stock_model_with_the_base_multiplied():
    stretched = logits(llama(rope_type="ntk_old", factor=8.0, rope_theta=500.0))
    stock = logits(llama(rope_type="default", rope_theta=4000.0))
    torch.testing.assert_close(stretched, stock, rtol=0, atol=1e-3)
    plain = logits(llama(rope_type="default", rope_theta=500.0))
    assert not torch.allclose(stretched, plain, rtol=0, atol=1)


def test_mixed_with_exponent_zero_equals_the_linear_type_of_transformers():
    stretched = llama(rope_type="ntk_mixed", factor=4.0, rope_theta=500.0, exponent=0.0)
    stock = llama(rope_type="linear", factor=4.0, rope_theta=500.0)
    torch.testing.assert_close(logits(stretched), logits(stock), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_a_stock_model_whose_frequencies_are_replaced(kind):
    stretched = llama(rope_type=f"ntk_{kind}", factor=8.0, rope_theta=500.0)
    stock = llama(rope_type="default", rope_theta=500.0)
    plain = logits(stock)
    stock.model.rotary_emb.inv_freq = ntk_frequencies(32, 8.0, kind=kind, base=500.0)
    assert torch.equal(logits(stretched), logits(stock))
    assert not torch.allclose(plain, logits(stretched), atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("family", "partial", "turned"), [("qwen3", 1.0, 32), ("glm", 0.5, 16), ("phi", 0.25, 8)]
)
def test_other_families_and_partly_turned_heads(kind, family, partial, turned):
    rope = {"rope_type": f"ntk_{kind}", "factor": 3.0, "rope_theta": 1e6}
    rope["partial_rotary_factor"] = partial
    config = AutoConfig.for_model(family, **SMALL, rope_parameters=rope)
    found = AutoModel.from_config(config).rotary_emb.inv_freq
    assert torch.equal(found, ntk_frequencies(turned, 3.0, kind=kind, base=1e6))


def test_types_that_differ_between_layers(tmp_path):
    rope = {
        "full_attention": {"rope_type": "ntk_mixed", "factor": 4.0, "rope_theta": 160000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    }
    config = AutoConfig.for_model("modernbert", **SMALL, rope_parameters=rope)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    rotary = AutoModel.from_pretrained(tmp_path).rotary_emb
    expected = ntk_frequencies(32, 4.0, kind="mixed", base=160000.0)
    assert torch.equal(rotary.full_attention_inv_freq, expected)
    expected = ntk_frequencies(32, 1.0, kind="old", base=100.0)
    torch.testing.assert_close(rotary.sliding_attention_inv_freq, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_without_a_word(kind, tmp_path, heard):
    model = llama(rope_type=f"ntk_{kind}", factor=8.0, rope_theta=500.0)
    model.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(again), logits(model))
    assert again.config.rope_parameters["rope_type"] == f"ntk_{kind}"
    assert heard == []


def test_a_trained_model_is_stretched_and_put_back_by_its_configuration(tmp_path):
    trained = llama(rope_type="default", rope_theta=500.0)
    trained.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    config.rope_parameters.update(rope_type="ntk_mixed", factor=8.0)
    stretched = LlamaForCausalLM.from_pretrained(tmp_path, config=config).eval()
    expected = llama(rope_type="ntk_mixed", factor=8.0, rope_theta=500.0)
    assert torch.equal(logits(stretched), logits(expected))

    stretched.save_pretrained(tmp_path / "stretched")
    config = AutoConfig.from_pretrained(tmp_path / "stretched")
    config.rope_parameters = {"rope_type": "default", "rope_theta": 500.0}
    back = LlamaForCausalLM.from_pretrained(tmp_path / "stretched", config=config).eval()
    assert torch.equal(logits(back), logits(trained))


def test_registering_twice_changes_nothing():
    register_ntk()
    model = llama(rope_type="ntk_fixed", factor=2.0)
    assert torch.equal(model.model.rotary_emb.inv_freq, ntk_frequencies(32, 2.0, kind="fixed"))


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"factor": 0.5}, r"factor is 0\.5; allowed: 1 or more"),
        ({"factor": "8"}, "factor is '8'; allowed: 1 or more"),
        ({"factor": 8.0, "exponent": 2}, "exponent is 2; allowed: between 0"),
    ],
)
def test_bad_parameters_are_refused_with_help(rope, message):
    # transformers wraps what a check says into an error of its own
    with pytest.raises(Exception, match=message):
        LlamaConfig(**SMALL, rope_parameters={"rope_type": "ntk_mixed", **rope})


def test_a_missing_factor_is_named():
    with pytest.raises(Exception, match=r"Missing required keys.*ntk_old.*factor"):
        LlamaConfig(**SMALL, rope_parameters={"rope_type": "ntk_old"})


def test_a_lost_base_is_not_replaced_in_silence():
    config = LlamaConfig(**SMALL)
    config.rope_parameters = {"rope_type": "ntk_old", "factor": 8.0}
    with pytest.raises(ValueError, match=r"rope_theta is None.*by update\(\), which keeps it"):
        LlamaForCausalLM(config)


def test_a_key_of_another_kind_is_not_passed_over(heard):
    LlamaConfig(**SMALL, rope_parameters={"rope_type": "ntk_fixed", "factor": 8.0, "exponent": 0.6})
    assert any("Unrecognized keys" in said and "exponent" in said for said in heard)


ORDERS = {
    "kexue first": "import kexue\nfrom transformers import AutoModelForCausalLM\n",
    "the class itself": "import kexue\nfrom transformers import LlamaForCausalLM as "
    "AutoModelForCausalLM\n",
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_saved_folder_loads_in_a_fresh_process_once_the_package_is_imported(order, tmp_path):
    model = llama(rope_type="ntk_mixed", factor=8.0, rope_theta=500.0)
    model.save_pretrained(tmp_path)
    code = ORDERS[order] + (
        f"model = AutoModelForCausalLM.from_pretrained({str(tmp_path)!r})\n"
        "print(model.model.rotary_emb.inv_freq.tolist())"
    )
    source = str(Path(__file__).parents[2] / "src")
    code = f"import sys; sys.path.insert(0, {source!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(model.model.rotary_emb.inv_freq.tolist())
    assert "validation" not in done.stderr
