import itertools
import math

import pytest
import torch
from torchcrf import CRF

from kexue.heads.chain_likelihood import crf_log_likelihood, crf_marginals


def random_scores(texts, length, tags, *, scale=1.0, seed=0):
    torch.manual_seed(seed)
    shapes = ((texts, length, tags), (tags, tags), (tags,), (tags,))
    return [scale * torch.randn(shape, dtype=torch.float64) for shape in shapes]


def enumerate_paths(emissions, move, start, end):
    """Every tag sequence of one text with its score."""
    for tags in itertools.product(range(len(start)), repeat=len(emissions)):
        total = start[tags[0]] + end[tags[-1]]
        for place, tag in enumerate(tags):
            total = total + emissions[place, tag]
        for a, b in itertools.pairwise(tags):
            total = total + move[a, b]
        yield tags, total


def ragged_mask(texts, length, seed=0):
    torch.manual_seed(seed)
    mask = torch.arange(length) < torch.randint(1, length + 1, (texts, 1))
    mask[0] = True
    return mask


# The widest scale has ranges that only the sums of logarithms can take.
@pytest.mark.parametrize("scale", [1.0, 10.0, 300.0])
def test_likelihood_and_marginals_equal_enumeration(scale):
    emissions, move, start, end = random_scores(1, 4, 3, scale=scale)
    paths = list(enumerate_paths(emissions[0], move, start, end))
    log_z = torch.stack([score for _, score in paths]).logsumexp(0)
    mask = torch.ones(1, 4, dtype=torch.bool)
    marginals = torch.zeros(4, 3, dtype=torch.float64)
    for tags, score in paths:
        found = crf_log_likelihood(emissions, torch.tensor([tags]), mask, move, start, end)
        torch.testing.assert_close(found[0], score - log_z, rtol=1e-12, atol=1e-10)
        for place, tag in enumerate(tags):
            marginals[place, tag] += (score - log_z).exp()
    found = crf_marginals(emissions, mask, move, start, end)[0]
    torch.testing.assert_close(found, marginals, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_gradients_equal_those_of_the_enumeration(scale):
    ours = [x.requires_grad_() for x in random_scores(1, 4, 3, scale=scale)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    tags = (2, 0, 0, 1)
    paths = dict(enumerate_paths(theirs[0][0], *theirs[1:]))
    (2 * (paths[tags] - torch.stack(list(paths.values())).logsumexp(0))).backward()
    mask = torch.ones(1, 4, dtype=torch.bool)
    value = crf_log_likelihood(ours[0], torch.tensor([tags]), mask, *ours[1:])
    (2 * value.sum()).backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 120.0])
def test_gradcheck_on_ragged_texts(scale):
    inputs = [x.requires_grad_() for x in random_scores(3, 5, 3, scale=scale)]
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    tags = torch.randint(0, 3, (3, 5))

    def value(emissions, move, start, end):
        return crf_log_likelihood(emissions, tags, mask, move, start, end)

    assert torch.autograd.gradcheck(value, inputs, eps=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(3, 2, 2), (4, 9, 5), (8, 70, 21), (2, 200, 3)])
def test_equals_pytorch_crf(size, dtype):
    texts, length, tag_count = size
    torch.manual_seed(length)
    theirs = CRF(tag_count, batch_first=True).to(dtype)
    emissions = torch.randn(*size, dtype=dtype)
    mask = ragged_mask(texts, length)
    tags = torch.randint(0, tag_count, (texts, length))
    names = "transitions", "start_transitions", "end_transitions"
    parts = [getattr(theirs, name).detach().clone().requires_grad_() for name in names]
    ours, other = emissions.clone().requires_grad_(), emissions.clone().requires_grad_()
    expected = theirs(other, tags, mask, reduction="none")
    found = crf_log_likelihood(ours, tags, mask, *parts)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(found.to(dtype), expected, **close)
    weight = torch.rand(texts, dtype=torch.float64)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, other.grad, **close)
    assert ours.grad.dtype == dtype
    for part, name in zip(parts, names, strict=True):
        torch.testing.assert_close(part.grad, getattr(theirs, name).grad, **close)


def test_left_out_tokens_and_other_texts_do_not_matter():
    emissions, *parts = random_scores(4, 9, 5)
    tags = torch.randint(0, 5, (4, 9))
    mask = torch.rand(4, 9) < 0.6
    mask[2] = False
    found = crf_log_likelihood(emissions, tags, mask, *parts)
    marginals = crf_marginals(emissions, mask, *parts)
    assert found[2] == 0
    assert (marginals[~mask] == 0).all()
    torch.testing.assert_close(marginals.sum(-1), mask.double())

    spoilt = emissions.masked_fill(~mask[..., None], torch.nan)
    wrong = tags.masked_fill(~mask, -100)
    assert torch.equal(crf_log_likelihood(spoilt, wrong, mask, *parts), found)
    for text in (0, 1, 3):
        keep = mask[text]
        alone, one = emissions[text, keep][None], torch.ones(1, int(keep.sum())) > 0
        value = crf_log_likelihood(alone, tags[text, keep][None], one, *parts)
        torch.testing.assert_close(value[0], found[text], rtol=1e-12, atol=1e-12)
        row = crf_marginals(alone, one, *parts)[0]
        torch.testing.assert_close(row, marginals[text, keep], rtol=1e-10, atol=1e-12)


def test_gradient_of_what_is_left_out_is_zero_even_beside_nan():
    emissions, *parts = random_scores(2, 6, 3)
    mask = torch.tensor([[0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 1]]).bool()
    emissions = emissions.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    tags = torch.zeros(2, 6, dtype=torch.long)
    crf_log_likelihood(emissions, tags, mask, *parts).sum().backward()
    assert (emissions.grad[~mask] == 0).all()
    assert emissions.grad.isfinite().all()
    assert (emissions.grad[mask] != 0).any()


def test_all_texts_empty():
    emissions, *parts = random_scores(2, 4, 3)
    emissions.requires_grad_()
    none = torch.zeros(2, 4, dtype=torch.bool)
    value = crf_log_likelihood(emissions, none.long(), none, *parts)
    assert value.tolist() == [0, 0]
    value.sum().backward()
    assert (emissions.grad == 0).all()
    assert (crf_marginals(emissions, none, *parts) == 0).all()


def test_probabilities_of_all_sequences_sum_to_one():
    emissions, *parts = random_scores(1, 5, 3, scale=3)
    sequences = torch.tensor(list(itertools.product(range(3), repeat=5)))
    mask = torch.ones(len(sequences), 5, dtype=torch.bool)
    values = crf_log_likelihood(emissions.expand(len(sequences), -1, -1), sequences, mask, *parts)
    assert math.isclose(values.exp().sum().item(), 1, rel_tol=1e-12)


@pytest.mark.parametrize("bad", [-1, 3])
def test_an_unknown_tag_is_refused(bad):
    emissions, *parts = random_scores(1, 2, 3)
    with pytest.raises(ValueError, match="0 to 2"):
        crf_log_likelihood(emissions, torch.tensor([[0, bad]]), torch.ones(1, 2) > 0, *parts)


def test_autocast_does_not_reach_the_sums():
    emissions, *parts = (part.float() for part in random_scores(2, 30, 5))
    tags, mask = torch.randint(0, 5, (2, 30)), torch.ones(2, 30, dtype=torch.bool)
    expected = crf_log_likelihood(emissions, tags, mask, *parts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(crf_log_likelihood(emissions, tags, mask, *parts), expected)
