import math

import pytest
import torch

from kexue.models import KexueConfig, KexueModel
from kexue.positions import rope_angles, rotate


def make(**options):
    torch.manual_seed(0)
    config = KexueConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, **options
    )
    return KexueModel(config).double().eval()


def loop(model, ids):
    """The encoder for one text without padding, head by head and token by token."""
    config = model.config
    width = config.hidden_size // config.num_attention_heads
    angles = rope_angles(torch.arange(len(ids), dtype=torch.float64), width)
    hidden = model.embeddings.tokens.weight[ids]
    if model.embeddings.convolution is not None:
        weight, bias = model.embeddings.convolution.weight, model.embeddings.convolution.bias
        near = []
        for i in range(len(ids)):
            total = bias
            for offset in (-1, 0, 1):
                if 0 <= i + offset < len(ids):
                    total = total + weight[:, :, offset + 1] @ hidden[i + offset]
            near.append(total)
        hidden = hidden + torch.nn.functional.gelu(torch.stack(near))
    for layer in model.layers:
        mixed = layer.query_key_value(layer.attention_norm(hidden))
        query, key, value = mixed.chunk(3, -1)
        heads = []
        for h in range(config.num_attention_heads):
            part = slice(h * width, (h + 1) * width)
            q, k = rotate(query[:, part], angles), rotate(key[:, part], angles)
            rows = []
            for i in range(len(ids)):
                weights = torch.stack(
                    [(q[i] @ k[j] / math.sqrt(width)).exp() for j in range(len(ids))]
                )
                rows.append((weights / weights.sum()) @ value[:, part])
            heads.append(torch.stack(rows))
        hidden = hidden + layer.attention_output(torch.cat(heads, -1))
        raised = torch.nn.functional.gelu(layer.feed_forward_input(layer.feed_forward_norm(hidden)))
        hidden = hidden + layer.feed_forward_output(raised)
    return model.norm(hidden)


@pytest.mark.parametrize("convolution", [0, 3])
def test_equals_the_loop(convolution):
    model = make(convolution=convolution)
    ids = torch.tensor([4, 9, 9, 23, 7])
    torch.testing.assert_close(model(ids[None]).last_hidden_state[0], loop(model, ids))


@pytest.mark.parametrize("convolution", [0, 3])
def test_padding_changes_nothing(convolution):
    model = make(convolution=convolution)
    ids = torch.tensor([[4, 9, 9, 23, 7, 0, 0]])
    attention = torch.tensor([[1, 1, 1, 1, 1, 0, 0]])
    padded = model(ids, attention).last_hidden_state[:, :5]
    torch.testing.assert_close(padded, model(ids[:, :5]).last_hidden_state)


@pytest.mark.parametrize("convolution", [0, 5])
def test_only_distances_between_tokens_matter(convolution):
    """Padding in front shifts all positions alike, and no state moves."""
    model = make(convolution=convolution)
    ids = torch.tensor([[0, 0, 0, 4, 9, 23]])
    attention = torch.tensor([[0, 0, 0, 1, 1, 1]])
    shifted = model(ids, attention).last_hidden_state[:, 3:]
    torch.testing.assert_close(shifted, model(ids[:, 3:]).last_hidden_state)
    turned = model(ids[:, [5, 4, 3]]).last_hidden_state.flip(1)
    assert not torch.allclose(turned, shifted)


def test_half_precision_takes_the_plain_kernel_and_agrees():
    model = make().float()
    ids = torch.randint(1, 50, (2, 30))
    exact = model(ids).last_hidden_state
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close = model(ids, torch.ones(2, 30)).last_hidden_state
    torch.testing.assert_close(close.float(), exact, rtol=0.05, atol=0.05)


def test_embeddings_can_be_given():
    model = make()
    ids = torch.tensor([[4, 9, 23]])
    given = model(inputs_embeds=model.get_input_embeddings()(ids)).last_hidden_state
    torch.testing.assert_close(given, model(ids).last_hidden_state)


def test_a_saved_encoder_loads_with_auto_model(tmp_path):
    from transformers import AutoModel

    model = make().float()
    model.save_pretrained(tmp_path)
    ids = torch.tensor([[4, 9, 23]])
    again = AutoModel.from_pretrained(tmp_path)
    torch.testing.assert_close(again(ids).last_hidden_state, model(ids).last_hidden_state)


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match="a multiple of 8"):
        KexueConfig(hidden_size=20, num_attention_heads=4)
    with pytest.raises(ValueError, match="an odd number of tokens"):
        KexueConfig(convolution=4)
