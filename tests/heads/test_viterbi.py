import itertools

import pytest
import torch
from torchcrf import CRF

from kexue.heads.chain import FORBIDDEN
from kexue.heads.viterbi import viterbi


def random_scores(tags, *, scale=1.0, seed=0, forbidden=0.0):
    torch.manual_seed(seed)
    move = scale * torch.randn(tags, tags, dtype=torch.float64)
    move[torch.rand(tags, tags) < forbidden] = FORBIDDEN
    move[:, 0] = 0.5
    start, end = (scale * torch.randn(tags, dtype=torch.float64) for _ in range(2))
    return move, start, end


def path_score(emissions, tags, move, start, end):
    total = start[tags[0]] + end[tags[-1]]
    for place, tag in enumerate(tags):
        total = total + emissions[place, tag]
    for a, b in itertools.pairwise(tags):
        total = total + move[a, b]
    return total.item()


@pytest.mark.parametrize("forbidden", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_best_of_all_sequences(seed, forbidden):
    parts = random_scores(3, scale=2, seed=seed, forbidden=forbidden)
    emissions = torch.randn(1, 4, 3, dtype=torch.float64)
    found = viterbi(emissions, torch.ones(1, 4, dtype=torch.bool), *parts)[0].tolist()
    sequences = itertools.product(range(3), repeat=4)
    best = max(sequences, key=lambda tags: path_score(emissions[0], tags, *parts))
    assert tuple(found) == best


@pytest.mark.parametrize("size", [(1, 1, 2), (3, 7, 5), (8, 40, 21)])
def test_equals_pytorch_crf_on_ragged_texts(size):
    texts, length, tags = size
    torch.manual_seed(length)
    theirs = CRF(tags, batch_first=True).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.mul_(10)
    emissions = torch.randn(*size, dtype=torch.float64)
    mask = torch.arange(length) < torch.randint(1, length + 1, (texts, 1))
    mask[0] = True
    parts = theirs.transitions, theirs.start_transitions, theirs.end_transitions
    found = viterbi(emissions, mask, *parts)
    assert [row[keep].tolist() for row, keep in zip(found, mask, strict=True)] == theirs.decode(
        emissions, mask
    )


def test_left_out_tokens_do_not_matter():
    parts = random_scores(4)
    emissions = torch.randn(3, 8, 4, dtype=torch.float64)
    mask = torch.rand(3, 8) < 0.6
    mask[1] = False
    found = viterbi(emissions, mask, *parts)
    assert (found[~mask] == -1).all()
    assert (found[mask] >= 0).all()
    spoilt = emissions.masked_fill(~mask[..., None], torch.nan)
    assert torch.equal(viterbi(spoilt, mask, *parts), found)
    for text in (0, 2):
        alone = emissions[text, mask[text]][None]
        one = torch.ones(alone.shape[:2], dtype=torch.bool)
        assert torch.equal(viterbi(alone, one, *parts)[0], found[text, mask[text]])


def test_equal_scores_give_the_lower_tags():
    parts = torch.zeros(3, 3), torch.zeros(3), torch.zeros(3)
    assert viterbi(torch.zeros(1, 3, 3), torch.ones(1, 3) > 0, *parts).tolist() == [[0, 0, 0]]


def test_texts_without_tokens():
    parts = random_scores(3)
    none = torch.zeros(2, 4, dtype=torch.bool)
    assert (viterbi(torch.randn(2, 4, 3), none, *parts) == -1).all()
    assert viterbi(torch.randn(2, 0, 3), none[:, :0], *parts).shape == (2, 0)
