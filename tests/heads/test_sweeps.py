import pytest
import torch

from kexue.heads import sweeps
from kexue.heads.bio import bio_allowed
from kexue.heads.chain import FORBIDDEN, make_chain
from kexue.heads.sweeps import log_messages, moments


def bio_chain(*, types=3, length=40, emission_scale=1.0, move_scale=1.0, seed=0):
    torch.manual_seed(seed)
    tags = 2 * types + 1
    move, first = bio_allowed(types)
    transitions = (move_scale * torch.randn(tags, tags)).masked_fill(~move, FORBIDDEN)
    start = (move_scale * torch.randn(tags)).masked_fill(~first, FORBIDDEN)
    # Uniform, so that the range is what the scale says.
    emissions = emission_scale * (2 * torch.rand(4, length, tags) - 1)
    lengths = torch.tensor([length, 1, 0, length // 2])
    return make_chain(emissions, lengths, transitions, start, move_scale * torch.randn(tags))


def interval(chain):
    return sweeps._rescaling_interval(chain)


@pytest.mark.parametrize(
    ("emission_scale", "move_scale"), [(0.1, 0.1), (1, 1), (10, 1), (50, 3), (100, 1), (100, 10)]
)
def test_scaled_sums_equal_the_sums_of_logarithms(emission_scale, move_scale, monkeypatch):
    chain = bio_chain(emission_scale=emission_scale, move_scale=move_scale)
    assert interval(chain) > 0
    fast, fast_messages = moments(chain), log_messages(chain)
    monkeypatch.setattr(sweeps, "_rescaling_interval", lambda chain: 0)
    slow, slow_messages = moments(chain), log_messages(chain)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    for a, b in zip(fast_messages[1:], slow_messages[1:], strict=True):
        valid = chain.valid
        torch.testing.assert_close(
            a[valid].softmax(-1), b[valid].softmax(-1), rtol=1e-9, atol=1e-11
        )


def test_scaled_sums_survive_the_worst_case_they_accept(monkeypatch):
    """One type is shut out for a while and then the only way: the order that underflows first."""
    for low in (20.0, 60.0, 100.0, 150.0):
        chain = bio_chain(types=2, length=60, move_scale=0.5)
        emissions = torch.full_like(chain.emissions, -low)
        emissions[:, :30, 0] = low
        emissions[:, 30:, 2] = low
        emissions[:, 25, 1:] = low
        chain = chain._replace(emissions=emissions.masked_fill(~chain.valid[..., None], 0))
        assert interval(chain) > 0
        fast = moments(chain)
        with monkeypatch.context() as patch:
            patch.setattr(sweeps, "_rescaling_interval", lambda chain: 0)
            slow = moments(chain)
        for a, b in zip(fast, slow, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_the_interval_shrinks_with_the_range_until_logarithms_take_over():
    scales = (0.01, 1, 10, 30, 100, 140, 200, 1000)
    found = [interval(bio_chain(emission_scale=scale)) for scale in scales]
    assert found == sorted(found, reverse=True)
    assert found[0] == 32
    assert found[4] >= 1
    assert found[-1] == 0


def test_chains_without_a_safe_tag_use_logarithms():
    chain = bio_chain()
    ring = torch.full_like(chain.transitions, FORBIDDEN)
    ring[torch.arange(7), torch.arange(1, 8) % 7] = 0.0
    assert interval(chain._replace(transitions=ring)) == 0
    end = chain.end.clone()
    end[0] = FORBIDDEN
    assert interval(chain._replace(end=end)) == 0
    found = moments(chain._replace(transitions=ring, start=torch.zeros(7)))
    assert all(part.isfinite().all() for part in found)
    # In a ring the first tag decides the rest.
    start = torch.full((7,), FORBIDDEN, dtype=torch.float64)
    start[2] = 0
    only = moments(chain._replace(transitions=ring, start=start)).marginals[0]
    assert only.argmax(-1).tolist() == [(2 + place) % 7 for place in range(40)]
    torch.testing.assert_close(only.amax(-1), torch.ones(40, dtype=torch.float64))


@pytest.mark.parametrize("scale", [100.0, 1e4])
def test_extreme_emissions_stay_finite(scale):
    torch.manual_seed(0)
    chain = bio_chain(length=200)
    sign = torch.randint(0, 2, chain.emissions.shape) * 2.0 - 1
    chain = chain._replace(emissions=(scale * sign).double() * chain.valid[..., None])
    found = moments(chain)
    assert all(part.isfinite().all() for part in found)
    torch.testing.assert_close(found.marginals.sum(-1), chain.valid.double())
    counts = (chain.lengths - 1).clamp(0).double()
    torch.testing.assert_close(found.pairs.sum((1, 2)), counts)


def test_a_nan_is_not_hidden():
    chain = bio_chain()
    emissions = chain.emissions.clone()
    emissions[0, 3, 1] = torch.nan
    assert moments(chain._replace(emissions=emissions)).log_z[0].isnan()


def test_forbidden_pairs_are_never_counted():
    pairs = moments(bio_chain()).pairs
    move, _ = bio_allowed(3)
    assert (pairs[:, ~move] == 0).all()
    assert (pairs[0][move] > 0).all()
