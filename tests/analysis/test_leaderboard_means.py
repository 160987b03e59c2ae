import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import gmean, hmean, rankdata

from kexue.analysis.leaderboard_means import (
    MEANS,
    check_scores,
    first_ranks,
    row_means,
    task_ranks,
)
from kexue.analysis.leaderboard_scores import ScoreMatrix

POSITIVE = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(0.01, 1000, allow_subnormal=False),
)
# few different numbers, so that many are tied
TIED = arrays(
    np.float64, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=st.integers(-2, 2)
)


@settings(deadline=None)
@given(POSITIVE)
def test_means_are_those_of_scipy(values):
    np.testing.assert_allclose(row_means(values, mean="arithmetic"), values.mean(1))
    np.testing.assert_allclose(row_means(values, mean="geometric"), gmean(values, axis=1))
    np.testing.assert_allclose(row_means(values, mean="harmonic"), hmean(values, axis=1))
    # What differs by rounding alone is equal to us and not to scipy.
    apart = values.round(6)
    ranks = rankdata(-apart, axis=0).mean(1)
    np.testing.assert_allclose(row_means(apart, mean="ranks"), ranks)


@settings(deadline=None)
@given(POSITIVE)
def test_harmonic_is_below_geometric_is_below_arithmetic(values):
    low, middle, high = (row_means(values, mean=m) for m in ("harmonic", "geometric", "arithmetic"))
    assert (low <= middle * (1 + 1e-12)).all()
    assert (middle <= high * (1 + 1e-12)).all()


@settings(deadline=None)
@given(POSITIVE, st.floats(0.1, 10))
def test_means_grow_with_the_scores_and_ranks_do_not(values, factor):
    for mean in ("arithmetic", "geometric", "harmonic"):
        scaled = row_means(factor * values, mean=mean)
        np.testing.assert_allclose(scaled, factor * row_means(values, mean=mean))
    ranks = row_means(2 * values, mean="ranks")  # by a power of two, which rounds nothing
    np.testing.assert_array_equal(ranks, row_means(values, mean="ranks"))


def test_scaling_one_task_changes_the_order_of_all_means_but_the_geometric_one():
    values = np.array([[90.0, 35.0], [60.0, 60.0]])
    scale = np.array([1.0, 3.0])
    orders = {
        mean: [first_ranks(row_means(v, mean=mean)).tolist() for v in (values, values * scale)]
        for mean in ("arithmetic", "geometric", "harmonic")
    }
    assert orders["geometric"][0] == orders["geometric"][1]
    assert orders["arithmetic"][0] != orders["arithmetic"][1]
    values, scale = np.array([[50.0, 60.0], [90.0, 41.0]]), np.array([9.0, 1.0])
    before, after = (first_ranks(row_means(v, mean="harmonic")) for v in (values, values * scale))
    assert before.tolist() != after.tolist()


@pytest.mark.parametrize("mean", ["arithmetic", "geometric", "harmonic"])
@pytest.mark.parametrize("score", [93.6, 0.1, 1e-99, 1e100])
def test_the_mean_of_equal_scores_is_that_score(mean, score):
    found = row_means(np.full((1, 7), score), mean=mean)
    np.testing.assert_allclose(found, score, rtol=1e-15)


@pytest.mark.parametrize("mean", MEANS)
def test_the_order_of_tasks_changes_nothing(mean):
    random = np.random.default_rng(0)
    values = random.uniform(10, 100, (5, 9)).round(1)
    order = random.permutation(9)
    np.testing.assert_allclose(
        row_means(values, mean=mean), row_means(values[:, order], mean=mean), rtol=1e-15
    )


def test_gaps_are_left_out_of_a_mean():
    values = np.array([[80.0, np.nan, 20.0], [50.0, 60.0, 70.0]])
    np.testing.assert_allclose(row_means(values, mean="arithmetic"), [50, 60])
    np.testing.assert_allclose(row_means(values, mean="harmonic")[0], 32)
    np.testing.assert_allclose(row_means(values, mean="ranks"), [1.5, 4 / 3])


@settings(deadline=None)
@given(TIED)
def test_ranks_are_those_of_scipy(values):
    np.testing.assert_array_equal(task_ranks(values), rankdata(-values, axis=0))
    for column in values.T:
        np.testing.assert_array_equal(first_ranks(column), rankdata(-column, method="min"))


def test_what_differs_by_rounding_alone_is_equal():
    values = np.array([0.1 + 0.2, 0.3, 0.2])
    assert values[0] != values[1]
    assert first_ranks(values).tolist() == [1, 1, 3]
    assert first_ranks(np.zeros(3)).tolist() == [1, 1, 1]
    assert first_ranks(np.array([1e-9, 2e-9])).tolist() == [2, 1]


def test_ranks_in_a_task_are_among_those_that_have_a_score():
    ranks = task_ranks(np.array([[1.0, np.nan], [3.0, 5.0], [2.0, 7.0]]))
    np.testing.assert_array_equal(ranks, [[3, np.nan], [1, 2], [2, 1]])


def matrix(*rows):
    values = np.array(rows, dtype=float)
    models, tasks = (tuple(map(str, range(n))) for n in values.shape)
    return ScoreMatrix(models, tasks, values)


@pytest.mark.parametrize("score", [0.0, -31.4, 1e-120])
def test_a_geometric_or_harmonic_mean_needs_scores_above_zero(score):
    scores = matrix([50, 60], [70, score])
    for mean in ("geometric", "harmonic"):
        with pytest.raises(ValueError, match=rf"of '1' in '1' is {score}.*{mean}.*set a floor"):
            check_scores(scores, mean=mean)
    for mean in ("arithmetic", "ranks"):
        check_scores(scores, mean=mean)
        assert np.isfinite(row_means(scores.values, mean=mean)).all()


def test_a_hundred_is_a_score_like_others():
    for mean in MEANS:
        check_scores(matrix([100, 100], [100, 50]), mean=mean)
        assert first_ranks(row_means(np.array([[100.0, 100], [100, 50]]), mean="harmonic"))[0] == 1


def test_gaps_are_refused_but_for_own_tasks():
    with pytest.raises(ValueError, match="of '1' in '0' is None"):
        check_scores(matrix([1, 2], [np.nan, 3]), mean="arithmetic")
    check_scores(matrix([1, 2], [np.nan, 3]), mean="arithmetic", own_tasks=True)
    with pytest.raises(ValueError, match="of '1' in '0' is None"):
        check_scores(matrix([1, 2], [np.nan, np.nan]), mean="arithmetic", own_tasks=True)


def test_an_unknown_mean_is_refused():
    with pytest.raises(ValueError, match="'arithmetic', 'geometric', 'harmonic', 'ranks'"):
        check_scores(matrix([1]), mean="am")
