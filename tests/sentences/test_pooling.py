import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from kexue.sentences.pooling import pool

WAYS = ("P1", "P2", "P3", "P4")


@pytest.fixture
def states():
    """Embeddings and three blocks of two texts of four and two tokens."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 4, 3, generator=generator, dtype=torch.float64) for _ in range(4))


@pytest.fixture
def mask():
    return torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def linear(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Linear(3, 5, dtype=dtype)


def written_out(states, mask, how, pooler):
    """One text and one token at a time."""
    rows = []
    for text, keep in enumerate(mask.tolist()):
        tokens = [i for i, kept in enumerate(keep) if kept]

        def mean(layer, text=text, tokens=tokens):
            total = torch.zeros(3, dtype=torch.float64)
            for i in tokens:
                total = total + states[layer][text, i]
            return total / len(tokens)

        first = states[len(states) - 1][text, tokens[0]]
        rows.append(
            {
                "P1": lambda first=first: first,
                "P2": lambda first=first: pooler.weight @ first + pooler.bias,
                "P3": lambda mean=mean: mean(len(states) - 1),
                "P4": lambda mean=mean: (mean(1) + mean(len(states) - 1)) / 2,
            }[how]()
        )
    return torch.stack(rows)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.float32])
def test_equals_the_definition_with_its_gradients(states, mask, how, kind):
    pooler = linear()
    leaves = [state.requires_grad_() for state in states]
    ours = pool(leaves, mask.to(kind), how=how, pooler=pooler)
    theirs = written_out(leaves, mask, how, pooler)
    torch.testing.assert_close(ours, theirs, atol=1e-14, rtol=1e-14)
    seeds = torch.randn_like(ours)
    for left, right in zip(
        torch.autograd.grad(ours, leaves, seeds, allow_unused=True),
        torch.autograd.grad(theirs, leaves, seeds, allow_unused=True),
        strict=True,
    ):
        assert (left is None) == (right is None)
        if left is not None:
            torch.testing.assert_close(left, right, atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("how", WAYS)
def test_padding_has_no_part_on_either_side_nor_with_any_content(states, how):
    pooler = linear()
    alone = pool([s[1:, :2] for s in states], torch.ones(1, 2), how=how, pooler=pooler)
    for before, after in ((0, 2), (2, 0), (1, 1)):
        padded = [
            nn.functional.pad(s[1:, :2], (0, 0, before, after), value=torch.nan) for s in states
        ]
        mask = torch.tensor([[0] * before + [1, 1] + [0] * after])
        ours = pool(padded, mask, how=how, pooler=pooler)
        torch.testing.assert_close(ours, alone, atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("how", WAYS)
def test_a_text_that_is_all_padding_gives_0_and_no_gradient(states, how):
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])
    leaves = [state.requires_grad_() for state in states]
    ours = pool(leaves, mask, how=how, pooler=linear())
    assert torch.equal(ours[1], torch.zeros_like(ours[1]))
    assert ours[0].abs().min() > 0
    grads = torch.autograd.grad(ours.sum(), leaves, allow_unused=True)
    for grad in filter(lambda grad: grad is not None, grads):
        assert torch.isfinite(grad).all()
        assert torch.equal(grad[1], torch.zeros_like(grad[1]))


def test_the_first_layer_is_a_block_and_not_the_embeddings(states, mask):
    changed = [states[0] + 1, *states[1:]]
    assert torch.equal(pool(changed, mask, how="P4"), pool(states, mask, how="P4"))
    changed = [states[0], states[1] + 1, *states[2:]]
    apart = pool(changed, mask, how="P4") - pool(states, mask, how="P4")
    torch.testing.assert_close(apart, torch.full_like(apart, 0.5))


def test_one_block_is_the_first_and_the_last(states, mask):
    two = states[:2]
    assert torch.equal(pool(two, mask, how="P4"), pool(two, mask, how="P3"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("how", WAYS)
def test_keeps_the_dtype_and_inputs(states, mask, how, dtype):
    low = [state.to(dtype) for state in states]
    copies = [state.clone() for state in low]
    pooled = pool(low, mask, how=how, pooler=linear(dtype))
    assert pooled.dtype == dtype
    assert torch.isfinite(pooled).all()
    assert all(torch.equal(a, b) for a, b in zip(low, copies, strict=True))


@pytest.mark.parametrize("how", ["P3", "P4"])
def test_means_of_half_precision_are_summed_in_single(how):
    # Summed in half precision, 3000 tokens of 100 are infinite and those of 1 stop at 2048.
    hidden = torch.full((1, 3000, 2), 100.0, dtype=torch.float16)
    hidden[..., 1] = 1
    pooled = pool([hidden, hidden], torch.ones(1, 3000), how=how)
    assert pooled.tolist() == [[100.0, 1.0]]


def test_a_bert_of_transformers_pads_as_it_likes():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
    )
    model = BertModel(config).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        both = model(ids, attention_mask=mask, output_hidden_states=True)
        short = model(ids[1:, :3], output_hidden_states=True)
    for how in WAYS:
        one = pool(both.hidden_states, mask, how=how, pooler=model.pooler.dense)[1:]
        other = pool(short.hidden_states, torch.ones(1, 3), how=how, pooler=model.pooler.dense)
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    linear_pooled = pool(both.hidden_states, mask, how="P2", pooler=model.pooler.dense)
    torch.testing.assert_close(linear_pooled.tanh(), both.pooler_output)


def test_the_pooler_has_no_part_in_other_ways(states, mask):
    for how in ("P1", "P3", "P4"):
        with_one = pool(states, mask, how=how, pooler=linear())
        assert torch.equal(with_one, pool(states, mask, how=how))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"how": "cls"}, "how is 'cls'; allowed: 'P1', 'P2', 'P3' or 'P4'"),
        ({"how": "P2"}, "pooler is None; .* pooler=model.pooler.dense"),
        ({"mask": torch.ones(2, 3)}, r"mask is \(2, 3\); allowed: .* \(2, 4\)"),
        ({"hidden_states": torch.ones(2, 4, 3)}, "hidden_states is 'one tensor'"),
        ({"hidden_states": ()}, "hidden_states is 'empty'"),
        ({"hidden_states": (torch.ones(2, 3),)}, r"hidden_states\[-1\] is \(2, 3\)"),
        ({"hidden_states": (torch.ones(2, 4, 3),), "how": "P4"}, "take how='P3'"),
    ],
)
def test_a_mistake_is_explained(states, mask, change, message):
    given = {"hidden_states": states, "mask": mask, "how": "P1"} | change
    with pytest.raises(ValueError, match=message):
        pool(given["hidden_states"], given["mask"], how=given["how"])


def test_one_state_is_enough_where_only_the_last_is_read(states, mask):
    assert torch.equal(pool(states[-1:], mask, how="P3"), pool(states, mask, how="P3"))
