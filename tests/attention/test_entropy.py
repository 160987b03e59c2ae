import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.attention import attend
from kexue.attention.entropy import count_keys, log_n_scale, post_hoc_log_n_scale


def scaled(q, k, v, mask):
    """Attend with every query multiplied by the factor of its own number of keys."""
    return attend(q * log_n_scale(count_keys(mask)).to(q.dtype), k, v, mask=mask)


def row_by_row(q, k, v, mask):
    """The definition: one query at a time, with the keys that are hidden cut away."""
    out = torch.zeros(*q.shape[:3], v.shape[-1], dtype=q.dtype)
    mask = mask.expand(*q.shape[:3], k.shape[2])
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                keep = mask[b, h, i]
                n = int(keep.sum())
                scores = math.log(n) / math.log(512) * (k[b, h, keep] @ q[b, h, i])
                out[b, h, i] = (scores / math.sqrt(q.shape[-1])).softmax(0) @ v[b, h, keep]
    return out


def draw(length, *, seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, 2, length, 4, generator=generator, dtype=torch.float64) for _ in range(3)
    ]


def ragged(length):
    """Two texts, the second one shorter: a mask of keys."""
    return (torch.arange(length) < torch.tensor([[length], [length - 3]]))[:, None, None]


def causal(length):
    return torch.ones(1, 1, length, length, dtype=torch.bool).tril()


def band(length):
    return causal(length).triu(-2)


@pytest.mark.parametrize("mask", [ragged(9), causal(9), band(9)], ids=["ragged", "causal", "band"])
def test_equals_the_definition_row_by_row(mask):
    q, k, v = draw(9)
    torch.testing.assert_close(scaled(q, k, v, mask), row_by_row(q, k, v, mask), atol=1e-6, rtol=0)


def test_gradients_equal_those_of_the_definition():
    leaves = [x.requires_grad_() for x in draw(6)]
    ours = torch.autograd.grad(scaled(*leaves, causal(6)).square().sum(), leaves)
    theirs = torch.autograd.grad(row_by_row(*leaves, causal(6)).square().sum(), leaves)
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=0)


def test_padding_changes_nothing():
    q, k, v = draw(9)
    mask = ragged(9)
    padded = scaled(q, k, v, mask)[1:, :, :6]
    alone = scaled(q[1:, :, :6], k[1:, :, :6], v[1:, :, :6], mask[1:, :, :, :6])
    torch.testing.assert_close(padded, alone)


def test_at_the_base_length_nothing_changes():
    assert log_n_scale(torch.tensor(512)).item() == 1
    assert log_n_scale(torch.tensor(64), base_length=64).item() == 1
    q, k, v = draw(512, batch=1)
    mask = torch.ones(1, 1, 1, 512, dtype=torch.bool)
    assert torch.equal(scaled(q, k, v, mask), attend(q, k, v))


@given(st.integers(2, 10**6), st.integers(2, 10**5), st.integers(1, 64))
def test_factors_are_logarithms_in_the_base(n, base_length, min_n):
    factor = log_n_scale(torch.tensor([n]), base_length=base_length, min_n=min_n)
    assert factor.dtype == torch.float32
    assert factor.item() == pytest.approx(math.log(max(n, min_n)) / math.log(base_length), rel=1e-6)


def test_short_texts_take_the_least_count():
    # bert4keras begins at 16, bert4torch at 1: their factors differ below.
    counts = torch.tensor([1, 2, 15, 16, 17])
    clamped = log_n_scale(counts, min_n=16)
    assert clamped[0] == clamped[3] == pytest.approx(math.log(16) / math.log(512))
    assert clamped[4] > clamped[3]
    assert log_n_scale(counts)[0] == 0


@given(st.integers(1, 10**6))
def test_the_post_hoc_factor_begins_at_the_training_length(n):
    factor = post_hoc_log_n_scale(torch.tensor([n]), training_length=2048).item()
    expected = max(1.0, math.log(n) / math.log(2048))
    assert factor == pytest.approx(expected, rel=1e-6)


def test_an_empty_text_has_a_factor():
    assert log_n_scale(torch.tensor([0])).item() == 0
    assert post_hoc_log_n_scale(torch.tensor([0]), training_length=64).item() == 1


def test_it_slows_the_growth_of_entropy():
    # The article promises less growth, not none.
    generator = torch.Generator().manual_seed(0)

    def entropy(n, factor):
        weights = (factor * torch.randn(200, n, generator=generator)).softmax(-1)
        return -(weights * weights.log()).sum(-1).mean().item()

    plain = entropy(4096, 1.0) - entropy(64, 1.0)
    ours = entropy(4096, log_n_scale(torch.tensor(4096))) - entropy(
        64, log_n_scale(torch.tensor(64))
    )
    assert 0 < ours < 0.9 * plain


def test_counts_of_keys():
    mask = torch.tensor([[[True, True, False, True]]])
    assert count_keys(mask).tolist() == [[[3]]]
    assert count_keys(mask, causal=True).flatten().tolist() == [1, 2, 2, 3]
    pairs = torch.tensor([[True, False, True], [True, True, True]])
    assert count_keys(pairs).flatten().tolist() == [2, 3]
    # The last of two queries belongs to the last of three keys.
    assert count_keys(pairs, causal=True).flatten().tolist() == [1, 3]


@pytest.mark.parametrize("rows", [1, 7])
def test_causal_counts_equal_those_of_a_triangle(rows):
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 1, rows, 7, generator=generator) < 0.6
    expected = (mask & torch.ones(7, 7, dtype=torch.bool).tril()).sum(-1, keepdim=True)
    assert torch.equal(count_keys(mask, causal=True), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: log_n_scale(n, base_length=1), "base_length is 1; allowed: above 1"),
        (lambda n: log_n_scale(n, min_n=0), "min_n is 0; allowed: 1 or more"),
        (lambda n: post_hoc_log_n_scale(n, training_length=1), "training_length is 1"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.tensor([5]))
