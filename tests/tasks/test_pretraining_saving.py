"""Weights in half the space, tied ones once, and the figures of a run."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from kexue.tasks.pretraining_saving import PretrainingRun, round_weights, save_run

PLAN = {
    "settings": {
        "encoder": "new",
        "length": 64,
        "share": 0.3,
        "run": 2.5,
        "tokens": 10_000,
        "tokens_per_step": 1024,
        "decay": 0.3,
        "optimizer": "muon",
    },
    "options": {"weight_decay": 0.1, "learning_rate": 3e-3, "bf16": True, "seed": 5},
    "data": {"files": []},
}


def bert(entries=50):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=entries,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    return BertForMaskedLM(config).eval()


@pytest.fixture
def save(small_tokenizer, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")

    def write(model, *, float16, settings=None, **run):
        figures = {"accuracy": 0.5, "loss": 2.0, "rounds": 1.5, "seconds": 3.0, "skipped": ()}
        save_run(
            tmp_path,
            PretrainingRun(model, small_tokenizer, **{**figures, **run}),
            plan={**PLAN, "settings": {**PLAN["settings"], **(settings or {})}},
            sizes={"tokens of the texts": 12345},
            float16=float16,
        )
        return tmp_path / "model"

    return write


@pytest.mark.parametrize("float16", [False, True])
def test_tied_weights_are_saved_once(save, float16):
    model = bert()
    folder = save(model, float16=float16)
    weights = load_file(folder / "model.safetensors")
    assert sum(weight.numel() for weight in weights.values()) == model.num_parameters()
    again = AutoModelForMaskedLM.from_pretrained(folder)
    assert again.dtype == torch.float32
    assert again.get_input_embeddings().weight is again.get_output_embeddings().weight
    ids = torch.tensor([[2, 7, 9, 3]])
    if float16:
        round_weights(model)
    assert torch.equal(again.eval()(ids).logits, model(ids).logits)


def test_saving_leaves_the_model_as_it_is(save):
    model = bert()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    save(model, float16=True)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
        assert weight.dtype == before[name].dtype


def test_rounded_weights_are_those_that_half_precision_holds():
    model = bert()
    before = model.state_dict()["bert.embeddings.word_embeddings.weight"].clone()
    round_weights(model)
    after = model.state_dict()["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(after, before.half().float())
    assert not torch.equal(after, before)
    assert all(p.requires_grad for p in model.parameters())


def test_the_card_names_a_hub_encoder_and_no_folder(save, tmp_path):
    folder = save(bert(), float16=False, settings={"encoder": "hfl/rbt3"})
    card = (folder / "README.md").read_text("utf-8")
    assert "base_model: hfl/rbt3" in card
    assert "| precision in training | bfloat16 |" in card
    assert "| tokens of the texts | 12,345 |" in card
    assert "| tokens seen | 9,216 (1.50 rounds) |" in card
    folder = save(bert(), float16=False, settings={"encoder": str(tmp_path)})
    card = (folder / "README.md").read_text("utf-8")
    assert "base_model" not in card
    assert str(tmp_path) not in card
    assert str(tmp_path) not in (folder / "config.json").read_text("utf-8")


def test_figures_are_a_json_object(small_tokenizer):
    run = PretrainingRun(bert(), small_tokenizer, 0.5, 2.0, 1.5, 3.0, ("a.txt:1: broken",))
    assert run.to_dict() == {
        "accuracy": 0.5,
        "loss": 2.0,
        "parameters": run.model.num_parameters(),
        "rounds": 1.5,
        "seconds": 3.0,
        "skipped": 1,
    }
