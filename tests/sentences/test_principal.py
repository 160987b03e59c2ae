import warnings

import numpy as np
import pytest

from kexue.sentences.moments import Moments
from kexue.sentences.principal import (
    PrincipalAxes,
    count_kept,
    principal_axes,
    scaled_directions,
)


def draw(rows, columns, *, rank=None, offset=0.0, dtype=np.float64):
    random = np.random.default_rng(0)
    rank = columns if rank is None else rank
    x = random.normal(size=(rows, rank)) @ random.normal(size=(rank, columns)) + offset
    return x.astype(dtype)


@pytest.mark.parametrize("beta", [1.0, 0.5, 0.0, -1.0, 2.0])
def test_decomposes_the_second_moment_about_beta_times_the_mean(beta):
    x = draw(400, 6, offset=2)
    axes = principal_axes(Moments().add(x), beta=beta)
    apart = x - beta * x.mean(0)
    second = apart.T @ apart / len(x)
    rebuilt = axes.directions * axes.variances @ axes.directions.T
    np.testing.assert_allclose(rebuilt, second, atol=1e-12 * abs(second).max())
    np.testing.assert_allclose(axes.directions.T @ axes.directions, np.eye(6), atol=1e-13)
    assert (np.diff(axes.variances) <= 0).all()
    assert axes.rank == 6


def test_signs_do_not_depend_on_chance():
    moments = Moments().add(draw(400, 7))
    axes = principal_axes(moments, beta=1.0)
    largest = axes.directions[abs(axes.directions).argmax(0), np.arange(7)]
    assert (largest > 0).all()
    # The same axes from rows with the other sign
    other = principal_axes(Moments().add(-draw(400, 7)), beta=1.0)
    np.testing.assert_allclose(other.directions, axes.directions, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("rank", [1, 7, 32, 63])
@pytest.mark.parametrize("rows", [114, 640, 3000])
def test_finds_the_rank(rows, rank, offset, dtype):
    axes = principal_axes(Moments().add(draw(rows, 64, rank=rank, dtype=dtype) + offset), beta=1.0)
    assert axes.rank == rank
    assert (axes.variances >= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_mean_adds_one_direction_and_hides_none(dtype):
    # Second moments about zero: the variance of the mean's direction is a million times the others
    moments = Moments().add(draw(3000, 64, rank=20, offset=3000, dtype=dtype))
    axes = principal_axes(moments, beta=0.0)
    assert axes.variances[0] > 1e6 * axes.variances[1]
    assert axes.rank == 21


def test_double_resolves_what_single_does_not():
    x = draw(3000, 8, dtype=np.float32)
    x[:, 5] = np.random.default_rng(1).normal(size=3000) * 1e-4
    assert principal_axes(Moments().add(x), beta=1.0).rank == 7
    assert principal_axes(Moments(double=True).add(x), beta=1.0).rank == 8


def test_the_tolerance_can_be_set():
    ends = np.diag([10.0, 3.0, 1.0])
    moments = Moments().add(np.concatenate([ends, -ends]))
    for rtol, rank in ((0.0, 3), (0.05, 2), (0.5, 1), (1.0, 0)):
        assert principal_axes(moments, beta=1.0, rtol=rtol).rank == rank


def test_vectors_that_are_all_the_same_have_no_rank():
    assert principal_axes(Moments().add(np.ones((50, 3))), beta=1.0).rank == 0
    assert principal_axes(Moments().add(np.ones((50, 3))), beta=0.0).rank == 1


def axes_of(rank, width):
    return PrincipalAxes(np.arange(width, 0.0, -1) * (np.arange(width) < rank), np.eye(width), rank)


@pytest.mark.parametrize(
    ("rank", "k", "gamma", "kept"),
    [
        (5, None, 1.0, 5),
        (5, 2, 1.0, 2),
        (5, np.int64(5), 0.5, 5),
        (3, None, 0.0, 5),
        (3, 5, 0.0, 5),
    ],
)
def test_keeps_as_many_as_it_is_told(rank, k, gamma, kept):
    assert count_kept(axes_of(rank, 5), 100, k=k, gamma=gamma) == kept


@pytest.mark.parametrize(
    ("rank", "count", "k", "gamma", "message"),
    [
        (5, 100, 6, 1.0, "k is 6; allowed: None, or 1 to 5, their features"),
        (5, 100, 6, 0.0, "k is 6; allowed: None, or 1 to 5, their features"),
        (3, 100, 4, 1.0, "k is 4; allowed: None, or 1 to 3, the rank .* k=None"),
        (5, 100, 0, 1.0, "k is 0; "),
        (5, 100, -1, 0.0, "k is -1; "),
        (5, 100, 2.0, 1.0, r"k is 2\.0; "),
        (0, 100, None, 1.0, "the rank is 0; .* All vectors are the same"),
        (4, 5, None, 1.0, "the number of vectors is 5; allowed: more than their 5 features"),
        (4, 5, 4, 1.0, r"the number of vectors is 5; .* \(gamma=0\)"),
        (4, 5, 9, 0.5, "the number of vectors is 5"),
    ],
)
def test_refuses_what_would_be_noise(rank, count, k, gamma, message):
    with pytest.raises(ValueError, match=message):
        count_kept(axes_of(rank, 5), count, k=k, gamma=gamma)


def test_says_what_is_left_out():
    with pytest.warns(UserWarning, match="2 of 5 directions .* vectors will have 3 features"):
        assert count_kept(axes_of(3, 5), 100, k=None, gamma=1.0) == 3


def test_says_what_rests_on_few_vectors():
    with pytest.warns(UserWarning, match="20 vectors of 50 features tell little .* 4 directions"):
        assert count_kept(axes_of(19, 50), 20, k=4, gamma=1.0) == 4


def test_is_silent_about_a_rotation_and_about_enough_vectors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count_kept(axes_of(3, 50), 4, k=None, gamma=0.0) == 50
        assert count_kept(axes_of(50, 50), 51, k=None, gamma=1.0) == 50
        assert count_kept(axes_of(30, 50), 51, k=30, gamma=1.0) == 30


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_divides_by_a_power_of_the_spread(gamma):
    axes = principal_axes(Moments().add(draw(400, 6)), beta=1.0)
    weight = scaled_directions(axes, k=4, gamma=gamma)
    assert weight.shape == (6, 4)
    for i in range(4):
        expected = axes.directions[:, i] / axes.variances[i] ** (gamma / 2)
        np.testing.assert_allclose(weight[:, i], expected, rtol=1e-13)


def test_a_rotation_keeps_directions_without_variance():
    weight = scaled_directions(axes_of(2, 4), k=4, gamma=0.0)
    np.testing.assert_array_equal(weight, np.eye(4))
