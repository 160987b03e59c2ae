import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    RoFormerConfig,
    RoFormerForMaskedLM,
    RoFormerModel,
)

from kexue.models import KexueConfig, KexueForMaskedLM, KexueModel, convert, from_tensorflow

SMALL = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def shaken(model):
    """Random weights everywhere, also in biases and norms, which begin as zeros and ones."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:  # RoFormer's sines do not
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.double().eval()


def inputs(types=2):
    ids = torch.randint(1, 40, (3, 11))
    mask = torch.ones(3, 11, dtype=torch.long)
    mask[1, 7:] = 0
    return ids, mask, torch.randint(0, types, (3, 11))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (BertConfig(**SMALL), BertModel),
        (BertConfig(**SMALL, hidden_act="relu", layer_norm_eps=1e-3), BertModel),
        (RoFormerConfig(**SMALL), RoFormerModel),
        (RoFormerConfig(**SMALL, embedding_size=12), RoFormerModel),
    ],
)
def test_states_equal_those_of_transformers(config, kind):
    theirs = shaken(kind(config))
    ours = convert(theirs)
    assert isinstance(ours, KexueModel)
    ids, mask, types = inputs()
    want = theirs(ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True)
    got = ours(ids, mask, types, output_hidden_states=True)
    torch.testing.assert_close(
        got.last_hidden_state[mask.bool()], want.last_hidden_state[mask.bool()], rtol=0, atol=1e-6
    )
    # RoFormer reports its embeddings before they are projected.
    for mine, other in zip(got.hidden_states[1:], want.hidden_states[1:], strict=True):
        torch.testing.assert_close(mine[mask.bool()], other[mask.bool()], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (BertConfig(**SMALL), BertForMaskedLM),
        (RoFormerConfig(**SMALL, embedding_size=12), RoFormerForMaskedLM),
    ],
)
def test_scores_of_hidden_tokens_equal_those_of_transformers(config, kind):
    theirs = shaken(kind(config))
    ours = convert(theirs)
    assert isinstance(ours, KexueForMaskedLM)
    ids, mask, types = inputs()
    want = theirs(ids, attention_mask=mask, token_type_ids=types).logits[mask.bool()]
    got = ours(ids, mask, types).logits[mask.bool()]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_gradients_equal_those_of_transformers():
    theirs = shaken(BertModel(BertConfig(**SMALL)))
    ours = convert(theirs)
    ids, _, _ = inputs()
    weights = torch.randn(3, 11, 24, dtype=torch.float64)
    (theirs(ids).last_hidden_state * weights).sum().backward()
    (ours(ids).last_hidden_state * weights).sum().backward()
    torch.testing.assert_close(
        ours.embeddings.tokens.weight.grad[1:],
        theirs.embeddings.word_embeddings.weight.grad[1:],
    )


def test_roformer_has_no_end_here():
    theirs = shaken(RoFormerModel(RoFormerConfig(**SMALL)))
    ours = convert(theirs)
    assert ours.config.max_position_embeddings is None
    ids = torch.randint(1, 40, (1, 50))
    assert ours(ids).last_hidden_state.isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        theirs(ids)


def test_options_change_the_converted_model():
    theirs = shaken(BertModel(BertConfig(**SMALL)))
    ids, _, _ = inputs()
    longer = convert(theirs, positions="hierarchical")
    assert longer(torch.randint(1, 40, (1, 50))).last_hidden_state.shape == (1, 50, 24)
    torch.testing.assert_close(
        longer(ids).last_hidden_state, convert(theirs)(ids).last_hidden_state
    )
    residual = convert(theirs, residual_attention=True)(ids).last_hidden_state
    assert not torch.allclose(residual, longer(ids).last_hidden_state)


def test_what_cannot_be_converted_is_named():
    with pytest.raises(ValueError, match="Load it with is_decoder=False"):
        convert(BertModel(BertConfig(**SMALL, is_decoder=True)))
    with pytest.raises(ValueError, match="rotary_value is True"):
        convert(RoFormerModel(RoFormerConfig(**SMALL, rotary_value=True)))
    with pytest.raises(ValueError, match="a BERT or RoFormer model"):
        convert(KexueModel(KexueConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)))
    with pytest.raises(ValueError, match=r"none for layers\.3\."):
        convert(BertModel(BertConfig(**SMALL)), num_hidden_layers=4)
    with pytest.raises(ValueError, match=r"embeddings\.tokens\.weight is \(40, 24\)"):
        convert(BertModel(BertConfig(**SMALL)), vocab_size=41)


def test_variables_of_tensorflow_give_the_same_model():
    """RoFormer-V2's layout: no biases, no parameters in norms, rotary positions."""
    config = KexueConfig(
        vocab_size=40,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=40,
        type_vocab_size=2,
        norm="post",
        rms_norm=True,
        use_bias=False,
        hidden_act="relu",
    )
    ours = KexueModel(config).eval()
    arrays = {
        "bert/embeddings/word_embeddings": ours.embeddings.tokens.weight,
        "bert/embeddings/token_type_embeddings": ours.embeddings.segments.weight,
    }
    for number, layer in enumerate(ours.layers):
        begin = f"bert/encoder/layer_{number}"
        parts = layer.query_key_value.weight.chunk(3)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            arrays[f"{begin}/attention/self/{name}/kernel"] = part.T
        arrays[f"{begin}/attention/output/dense/kernel"] = layer.attention_output.weight.T
        arrays[f"{begin}/intermediate/dense/kernel"] = layer.feed_forward_input.weight.T
        arrays[f"{begin}/output/dense/kernel"] = layer.feed_forward_output.weight.T
    again = from_tensorflow({k: v.detach().numpy() for k, v in arrays.items()}, config)
    ids, mask, types = inputs()
    torch.testing.assert_close(
        again(ids, mask, types).last_hidden_state, ours(ids, mask, types).last_hidden_state
    )
    del arrays["bert/encoder/layer_1/output/dense/kernel"]
    with pytest.raises(ValueError, match=r"none for layers\.1\.feed_forward_output\.weight"):
        from_tensorflow({k: v.detach().numpy() for k, v in arrays.items()}, config)
