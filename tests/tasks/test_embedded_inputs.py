import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from kexue.data.windows import cut_windows
from kexue.models import mini
from kexue.tasks.embedded_inputs import EmbeddedInputs, encode_texts, encoded_window

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def tokenizer():
    return mini()[1]


@pytest.fixture
def bert(tokenizer):
    torch.manual_seed(0)
    return BertModel(BertConfig(vocab_size=len(tokenizer), intermediate_size=32, **SMALL)).eval()


@pytest.mark.parametrize("text", ["科学空间 is a blog.", "naïve 😀 text", "  a\n\nb  ", "", "   "])
def test_places_are_those_of_the_characters(tokenizer, text):
    encoded = encode_texts(tokenizer, (text,), limit=99)
    assert len(encoded.places) == encoded.inputs["input_ids"].shape[1]
    assert encoded.places[0] is encoded.places[-1] is None
    places = [place for place in encoded.places if place is not None]
    assert all(part == 0 and text[s:e].strip() == text[s:e] != "" for part, s, e in places)
    covered = {k for _, s, e in places for k in range(s, e)}
    assert covered == {k for k, character in enumerate(text) if not character.isspace()}


def test_a_pair_has_places_in_both_texts(tokenizer):
    encoded = encode_texts(tokenizer, ("北京", "a"), limit=99)
    assert encoded.places == (None, (0, 0, 1), (0, 1, 2), None, (1, 0, 1), None)


def test_a_window_is_the_same_as_the_text(tokenizer):
    text = "科学空间 is a blog."
    (window,) = cut_windows([text], tokenizer, window=99, overlap=0)
    found, expected = encoded_window(window), encode_texts(tokenizer, (text,), limit=99)
    assert found.places == expected.places
    assert all(torch.equal(found.inputs[name], v) for name, v in expected.inputs.items())


def test_segments_of_a_window_are_kept(tokenizer):
    (window,) = cut_windows(["a b"], tokenizer, window=99, overlap=0)
    kinds = [7] * len(window.input_ids)
    changed = type(window)(*list(vars(window).values())[:-1], kinds)
    assert encoded_window(changed).inputs["token_type_ids"].tolist() == [kinds]


def test_a_text_that_is_too_long_is_refused(tokenizer):
    with pytest.raises(ValueError, match="text is '12 tokens'; allowed: at most 8"):
        encode_texts(tokenizer, ("一二三四五六七八九十",), limit=8)


def test_a_slow_tokenizer_is_refused(tokenizer):
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="tokenizer is 'Slow'; allowed: a fast one"):
        encode_texts(Slow(), ("a",), limit=8)


def test_the_embeddings_of_the_text_change_nothing(tokenizer, bert):
    inputs = tokenizer("科学空间 is a blog.", return_tensors="pt")
    embedded = EmbeddedInputs(bert, inputs)
    with torch.no_grad():
        expected = bert(**inputs).last_hidden_state
        found = embedded(embedded.embeddings.expand(3, -1, -1)).last_hidden_state
    torch.testing.assert_close(found, expected.expand(3, -1, -1))
    torch.testing.assert_close(embedded.outputs.last_hidden_state, expected)


def test_other_embeddings_are_what_the_model_gets(tokenizer, bert):
    inputs = tokenizer("科学空间", return_tensors="pt")
    points = torch.randn(2, inputs["input_ids"].shape[1], 16)
    with torch.no_grad():
        found = EmbeddedInputs(bert, inputs)(points).last_hidden_state
        expected = bert(inputs_embeds=points).last_hidden_state
    torch.testing.assert_close(found, expected)


def test_the_hook_is_taken_off(tokenizer, bert):
    embedded = EmbeddedInputs(bert, tokenizer("a", return_tensors="pt"))
    embedded(embedded.embeddings)
    assert not embedded.table._forward_hooks
    with pytest.raises(RuntimeError):
        embedded(torch.randn(1, 3, 5))
    assert not embedded.table._forward_hooks


def test_a_decoder_is_asked_for_its_last_token_alone():
    config = LlamaConfig(vocab_size=40, intermediate_size=32, **SMALL)
    model = LlamaForCausalLM(config).eval()
    ids = torch.tensor([[1, 5, 9]])
    embedded = EmbeddedInputs(model, {"input_ids": ids})
    assert embedded.outputs.logits.shape == (1, 1, 40)
    with torch.no_grad():
        torch.testing.assert_close(embedded.outputs.logits[:, 0], model(ids).logits[:, -1])


def test_a_token_is_looked_up(tokenizer, bert):
    embedded = EmbeddedInputs(bert, tokenizer("a", return_tensors="pt"))
    assert torch.equal(embedded.look_up(7), bert.get_input_embeddings().weight[7])


class Twice(nn.Module):
    def __init__(self, times):
        super().__init__()
        self.table, self.times = nn.Embedding(9, 4), times

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids):
        return sum(self.table(input_ids) for _ in range(self.times))


@pytest.mark.parametrize("times", [0, 2])
def test_a_model_that_looks_up_in_other_ways_is_refused(times):
    with pytest.raises(ValueError, match=f"a Twice, which looks up tokens {times} times"):
        EmbeddedInputs(Twice(times), {"input_ids": torch.tensor([[1]])})
