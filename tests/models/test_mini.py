"""The encoder that comes with the library knows both languages, and loads as any other."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from kexue.models import encoder_place, load_encoder, load_tokenizer, mini

SENTENCES = [
    "中国的首都是北京，最大的城市是上海。",
    "本法自公布之日起施行。",
    "公民的合法的私有财产不受侵犯。",
    "打开终端，输入下面的命令来安装这个软件。",
    "他于一九四九年出生在一个农民家庭，后来成为著名的作家。",
    "The city is located in the north of the country.",
    "He was born in London and studied at the University of Cambridge.",
]


@pytest.fixture(scope="module")
def loaded():
    return mini()


@torch.no_grad()
def share_named_right(model, tokenizer):
    """Hide each token of the sentences in turn."""
    right = total = 0
    for sentence in SENTENCES:
        ids = torch.tensor(tokenizer(sentence)["input_ids"])
        inner = torch.arange(1, len(ids) - 1)
        rows = ids.repeat(len(inner), 1)
        rows[torch.arange(len(inner)), inner] = tokenizer.mask_token_id
        logits = model(rows).logits[torch.arange(len(inner)), inner]
        right += int((logits.argmax(-1) == ids[inner]).sum())
        total += len(inner)
    return right / total


def test_it_names_hidden_words_of_both_languages(loaded):
    assert share_named_right(*loaded) > 0.35


def test_its_position_in_the_sentence_counts(loaded):
    """Words in another order tell less."""
    model, tokenizer = loaded
    ordered = share_named_right(model, tokenizer)

    def shuffled(text):
        encoded = tokenizer(text)
        inner = torch.tensor(encoded["input_ids"][1:-1])
        turned = inner[torch.randperm(len(inner), generator=torch.Generator().manual_seed(0))]
        ends = encoded["input_ids"][0], encoded["input_ids"][-1]
        return {"input_ids": [ends[0], *turned.tolist(), ends[1]]}

    shuffled.mask_token_id = tokenizer.mask_token_id
    assert share_named_right(model, shuffled) < ordered - 0.15


def test_it_is_small_on_disk_and_single_in_memory(loaded):
    model, tokenizer = loaded
    assert Path(encoder_place("mini"), "model.safetensors").stat().st_size < 20e6
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert len(tokenizer) == model.config.vocab_size
    assert Path(encoder_place("mini"), "README.md").is_file()


def test_the_encoder_alone_is_that_of_the_whole(loaded):
    model, tokenizer = loaded
    ids = tokenizer(SENTENCES[0], return_tensors="pt")["input_ids"]
    alone = AutoModel.from_pretrained(encoder_place("mini")).eval()
    torch.testing.assert_close(alone(ids)[0], model.model(ids)[0])


def test_dropout_is_for_training_on_a_task_alone(loaded):
    assert loaded[0].config.hidden_dropout == 0
    encoder = load_encoder(encoder_place("mini"), dropout=0.2)
    assert {m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)} == {0.2}


def test_other_names_stand_for_themselves():
    assert encoder_place("org/base") == "org/base"
    assert encoder_place("./mini") == "./mini"


def test_a_run_folder_stands_for_the_model_in_it(tmp_path):
    assert encoder_place(str(tmp_path)) == str(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert encoder_place(str(tmp_path)) == str(tmp_path / "model")


@pytest.mark.parametrize("text", ["北京是中国的首都", "Hello 世界 2026", "𠮷野家 ☕"])
def test_tokens_say_where_they_stand(text):
    tokenizer = load_tokenizer(encoder_place("mini"), local=True)
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.unk_token_id not in encoded["input_ids"]
    covered = {i for a, b in encoded["offset_mapping"] for i in range(a, b)}
    assert covered >= {i for i, c in enumerate(text) if not c.isspace()}
