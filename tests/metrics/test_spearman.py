import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from kexue.metrics.spearman import average_ranks, spearman


def definition(x, y):
    """Ranks by counting, and the correlation of them in loops."""
    ranks = []
    for values in (x, y):
        below = [sum(b < a for b in values) for a in values]
        level = [sum(b == a for b in values) for a in values]
        ranks.append([low + (same + 1) / 2 for low, same in zip(below, level, strict=True)])
    middle = (len(x) + 1) / 2
    covariance = sum((a - middle) * (b - middle) for a, b in zip(*ranks, strict=True))
    sizes = [math.sqrt(sum((a - middle) ** 2 for a in r)) for r in ranks]
    return covariance / (sizes[0] * sizes[1])


few = st.integers(0, 3)
many = st.floats(-1e300, 1e300, allow_subnormal=False)


@given(st.lists(st.tuples(st.one_of(few, many), few), min_size=2, max_size=30))
def test_it_is_the_definition_and_scipys(drawn):
    x, y = [a for a, _ in drawn], [b for _, b in drawn]
    assert average_ranks(x).tolist() == rankdata(x).tolist()
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(spearman(x, y))
        return
    assert spearman(x, y) == pytest.approx(definition(x, y), abs=1e-12)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert -1 <= spearman(x, y) <= 1


@pytest.mark.parametrize("kinds", [2, 6, 10**9])
def test_many_numbers_with_heavy_ties(kinds):
    rng = np.random.default_rng(0)
    y = rng.integers(0, kinds, 20000)
    x = np.round(y / kinds + rng.normal(0, 0.5, 20000), 1)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_only_the_order_counts():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100))
    rho = spearman(x, y)
    assert spearman(np.exp(3 * x) - 7, y) == pytest.approx(rho, abs=1e-14)
    assert spearman(-x, y) == pytest.approx(-rho, abs=1e-14)
    assert spearman(y, x) == pytest.approx(rho, abs=1e-14)
    order = rng.permutation(100)
    assert spearman(x[order], y[order]) == pytest.approx(rho, abs=1e-14)
    assert spearman(x, x) == 1
    assert spearman(x, x**3) == 1
    assert spearman(x, -x) == -1


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        np.asarray,
        lambda x: np.asarray(x, dtype=np.float16),
        torch.tensor,
        lambda x: torch.tensor(x, dtype=torch.bfloat16),
        lambda x: torch.tensor(x, dtype=torch.float16, requires_grad=True),
        lambda x: torch.tensor([int(4 * v) for v in x]),
    ],
)
def test_any_kind_of_list(make):
    x, y = [0.25, 1.0, 0.5, 1.0, -3.0], [1, 5, 2, 4, 2]
    assert spearman(make(x), y) == pytest.approx(definition(x, y), abs=1e-14)
    assert spearman(y, make(x)) == pytest.approx(definition(x, y), abs=1e-14)


def test_nothing_to_order_is_no_number_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in ([1.0, 1.0, 1.0], torch.zeros(3), [np.inf] * 3):
            assert math.isnan(spearman(x, [1, 2, 3]))
            assert math.isnan(spearman([1, 2, 3], x))
        assert math.isnan(spearman([], []))
        assert math.isnan(spearman([1.0], [2.0]))


def test_infinite_scores_are_ranked():
    assert spearman([-np.inf, 0.0, np.inf], [1, 2, 3]) == 1
    assert average_ranks([np.inf, 0.0, np.inf]).tolist() == [2.5, 1.0, 2.5]


def test_large_integers_are_not_rounded():
    assert average_ranks([2**60 + 1, 2**60]).tolist() == [2.0, 1.0]
    assert average_ranks(torch.tensor([2**60 + 1, 2**60])).tolist() == [2.0, 1.0]


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="y is '3 numbers'; allowed: 2, one for each of x"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="number 1 is 'nan'"):
        spearman([1.0, float("nan")], [1, 2])
    with pytest.raises(ValueError, match=r"\(2, 2\); allowed: \(n,\)"):
        spearman(np.eye(2), [1, 2])
