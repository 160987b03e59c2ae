import random
from collections import Counter

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from kexue.training.sampler import LengthBucketSampler, padding_ratio, plan_batches

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=150)
RULES = st.one_of(
    st.fixed_dictionaries({"batch_size": st.integers(1, 20)}),
    st.fixed_dictionaries({"tokens_per_batch": st.integers(200, 2000)}),
    st.fixed_dictionaries(
        {"batch_size": st.integers(1, 20), "tokens_per_batch": st.integers(200, 2000)}
    ),
)
JITTER = st.sampled_from([0.0, 0.1, 0.5])


def skewed(count, seed=0):
    """Lengths as of ordinary sentences: most are short, a few very long."""
    draws = np.random.default_rng(seed).lognormal(3.4, 0.65, count)
    return np.clip(draws, 4, 168).astype(int)


def epoch(sampler, number):
    sampler.set_epoch(number)
    return list(sampler)


@settings(deadline=None)
@given(LENGTHS, RULES, JITTER, st.integers(0, 5), st.integers(1, 4))
def test_every_text_comes_once_an_epoch_in_as_many_batches_as_announced(
    lengths, rule, jitter, number, processes
):
    sampler = LengthBucketSampler(lengths, **rule, jitter=jitter, seed=3, processes=processes)
    batches = epoch(sampler, number)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(batches) == len(sampler)
    assert all(batches)
    assert all(type(i) is int for batch in batches for i in batch)


@settings(deadline=None)
@given(LENGTHS, RULES, JITTER, st.integers(0, 5))
def test_no_batch_exceeds_a_rule(lengths, rule, jitter, number):
    sampler = LengthBucketSampler(lengths, **rule, jitter=jitter)
    for batch in epoch(sampler, number):
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= rule.get("tokens_per_batch", padded)
        assert len(batch) <= rule.get("batch_size", len(batch))


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 20), JITTER, st.integers(0, 5))
def test_padding_stays_below_the_bound_of_the_docstring(lengths, size, jitter, number):
    batches = epoch(LengthBucketSampler(lengths, batch_size=size, jitter=jitter), number)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    bound = (1 + jitter) * (sum(lengths) + 2 * size * max(lengths))
    assert padded <= bound * (1 + 1e-9)
    assert padding_ratio(lengths, batches) == pytest.approx(padded / sum(lengths))


@pytest.mark.parametrize(
    ("rule", "most"), [({"batch_size": 16}, 1.09), ({"tokens_per_batch": 1024}, 1.09)]
)
def test_skewed_lengths_are_hardly_padded(rule, most):
    lengths = skewed(4096)
    sampler = LengthBucketSampler(lengths, **rule)
    ratios = [padding_ratio(lengths, epoch(sampler, number)) for number in range(5)]
    assert max(ratios) < most
    shuffled = np.random.default_rng(0).permutation(4096).reshape(-1, 16)
    assert padding_ratio(lengths, shuffled) > 2


def test_a_token_budget_is_used_up():
    lengths = skewed(4096)
    sampler = LengthBucketSampler(lengths, tokens_per_batch=1024)
    padded = [len(batch) * lengths[batch].max() for batch in sampler]
    assert np.mean(padded) > 0.85 * 1024
    sizes = [len(batch) for batch in sampler]
    assert min(sizes) < 8
    assert max(sizes) > 60


@settings(deadline=None)
@given(LENGTHS, RULES, st.integers(0, 9), st.integers(0, 9))
def test_the_order_is_that_of_seed_and_epoch(lengths, rule, seed, number):
    one = epoch(LengthBucketSampler(lengths, **rule, seed=seed), number)
    other = LengthBucketSampler(lengths, **rule, seed=seed)
    epoch(other, number + 1)
    assert epoch(other, number) == one
    assert list(other) == one


def test_epochs_and_seeds_differ():
    lengths = skewed(256)
    sampler = LengthBucketSampler(lengths, batch_size=16, seed=0)
    other = LengthBucketSampler(lengths, batch_size=16, seed=1)
    assert epoch(sampler, 0) != epoch(sampler, 1)
    assert epoch(sampler, 1) != epoch(other, 1)


@pytest.mark.parametrize("rule", [{"batch_size": 16}, {"tokens_per_batch": 1024}])
def test_texts_meet_ever_new_company(rule):
    lengths = skewed(2048)
    sampler = LengthBucketSampler(lengths, **rule)
    company = Counter()
    for number in range(20):
        for batch in epoch(sampler, number):
            if 700 in batch:
                company.update(batch)
    del company[700]
    # Always the same batch would be 15 texts, 20 times each.
    assert len(company) > 45
    assert company.most_common(1)[0][1] <= 12


def test_ties_are_broken_at_random_without_jitter():
    sampler = LengthBucketSampler([5] * 64, batch_size=8, jitter=0.0)
    companies = {frozenset(b) for n in range(10) for b in epoch(sampler, n) if 0 in b}
    assert len(companies) == 10


def test_batches_are_shuffled():
    lengths = skewed(1024)
    batches = epoch(LengthBucketSampler(lengths, batch_size=16), 1)
    longest = [lengths[batch].max() for batch in batches]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.4


def test_the_longest_texts_come_first_in_the_first_epoch_only():
    lengths = skewed(1000)
    firsts = {}
    for longest_first in (True, False):
        sampler = LengthBucketSampler(lengths, batch_size=16, longest_first=longest_first)
        firsts[longest_first] = [lengths[epoch(sampler, n)[0]].max() for n in range(20)]
    assert firsts[True][0] == lengths.max()
    assert len(set(firsts[True][1:])) > 5
    assert firsts[False][1:] == firsts[True][1:]
    assert firsts[False][0] < lengths.max()


def test_the_batch_that_is_not_full_has_no_fixed_place():
    lengths = np.arange(1, 1002)
    sampler = LengthBucketSampler(lengths, batch_size=10)
    alone = {batch[0] for n in range(30) for batch in epoch(sampler, n) if len(batch) == 1}
    assert len(alone) > 20
    assert len(epoch(sampler, 0)[0]) == 10


@pytest.mark.parametrize("number", range(5))
def test_drop_last_leaves_out_less_than_a_batch(number):
    lengths = skewed(103)
    sampler = LengthBucketSampler(lengths, batch_size=10, drop_last=True)
    batches = epoch(sampler, number)
    assert len(batches) == len(sampler) == 10
    assert {len(batch) for batch in batches} == {10}
    full = LengthBucketSampler(lengths[:100], batch_size=10, drop_last=True)
    assert len(full) == len(list(full)) == 10


def test_what_drop_last_leaves_out_changes():
    sampler = LengthBucketSampler(skewed(103), batch_size=10, drop_last=True)
    left = [frozenset(range(103)).difference(*epoch(sampler, n)) for n in range(30)]
    assert {len(texts) for texts in left} == {3}
    assert len(set(left)) > 15


@settings(deadline=None)
@given(LENGTHS, RULES, st.integers(1, 4), st.booleans(), st.integers(0, 3))
def test_accelerate_shards_it(lengths, rule, processes, drop_last, number):
    sampler = LengthBucketSampler(lengths, **rule, processes=processes, drop_last=drop_last)
    sampler.set_epoch(number)
    shards = [BatchSamplerShard(sampler, processes, rank) for rank in range(processes)]
    parts = [list(shard) for shard in shards]
    # Every process takes part in every step, or they would wait for each other for ever.
    assert len({len(part) for part in parts}) == 1
    assert all(len(part) == len(shard) for part, shard in zip(parts, shards, strict=True))
    seen = Counter(i for part in parts for batch in part for i in batch)
    if not drop_last:
        assert set(seen) == set(range(len(lengths)))
        assert sum(map(len, parts)) - len(sampler) < processes
    else:
        assert set(seen.values()) <= {1}


def test_processes_work_on_batches_of_nearly_equal_length():
    lengths = skewed(2048)

    def waste(sampler):
        """Padded tokens that the slowest process of a step has more than the mean."""
        longest = np.array([lengths[batch].max() for batch in sampler]).reshape(-1, 4)
        return longest.max(1).sum() / longest.mean(1).sum()

    assert waste(LengthBucketSampler(lengths, batch_size=16, processes=4)) < 1.1
    assert waste(LengthBucketSampler(lengths, batch_size=16)) > 1.4


def test_skipping_batches_goes_on_in_the_same_order():
    sampler = LengthBucketSampler(skewed(200), tokens_per_batch=512)
    whole = epoch(sampler, 2)
    assert list(SkipBatchSampler(sampler, 3)) == whole[3:]


def test_a_loader_with_workers_follows_the_epoch():
    lengths = skewed(64)
    sampler = LengthBucketSampler(lengths, batch_size=8)
    loader = DataLoader(range(64), batch_sampler=sampler, collate_fn=list, num_workers=1)
    for number in (0, 1):
        sampler.set_epoch(number)
        assert list(loader) == list(sampler)


def test_global_random_states_and_lengths_stay_as_they_are():
    lengths = skewed(100)
    legacy = np.random.get_state
    before = random.getstate(), legacy()[1].tolist(), torch.get_rng_state(), +lengths
    list(LengthBucketSampler(lengths, batch_size=8))
    assert random.getstate() == before[0]
    assert legacy()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert np.array_equal(lengths, before[3])


def test_a_plan_follows_both_rules():
    assert plan_batches([9, 9, 1, 1, 1, 1], batch_size=3, tokens_per_batch=18, jitter=0) == [
        2,
        3,
        3,
    ]


def test_a_plan_is_sized_for_what_jitter_brings_in():
    lengths = [109, 100, 100]
    assert plan_batches(lengths, tokens_per_batch=218, jitter=0.0) == [2, 2]
    # After the first text, a text of 109 may count as less than one of 100.
    assert plan_batches([*lengths, 50, 50], tokens_per_batch=218, jitter=0.5) == [2, 2, 2]


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([], {"batch_size": 2}, "at least one text"),
        ([3, 0], {"batch_size": 2}, "of at least 1 token"),
        ([3], {}, "tokens_per_batch instead"),
        ([3], {"batch_size": 0}, "batch_size is 0; allowed: 1 or more"),
        ([3, 9], {"tokens_per_batch": 8}, "tokens_per_batch is 8; allowed: 9 or more"),
        ([3], {"batch_size": 1, "jitter": -0.1}, "jitter is -0.1; allowed: 0 or more"),
        ([3], {"batch_size": 1, "jitter": float("nan")}, "jitter is nan"),
        ([3], {"batch_size": 1, "processes": 0}, "processes is 0"),
    ],
)
def test_mistakes_are_named(lengths, options, message):
    with pytest.raises(ValueError, match=message):
        LengthBucketSampler(lengths, **options)
