import math
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.numerics.dimension import min_embedding_dim, sphere_entropy

PHI = (1 + math.sqrt(5)) / 2
SLOPE = math.log(PHI) / 2
METHODS = ("exact", "asymptotic", "rule")


def integrate(log_density):
    """Integrate exp(log_density) over the angles where it is not 0: log of the sum, and weights."""
    angles = np.linspace(0, np.pi, 200_001)[1:-1]
    values = log_density(angles)
    for _ in range(2):  # closer around the peak, which is narrow in many dimensions
        inside = angles[values > values.max() - 60]
        angles = np.linspace(inside[0], inside[-1], 200_001)
        values = log_density(angles)
    peak = values.max()
    weights = np.exp(values - peak) * (angles[1] - angles[0])
    return peak + np.log(weights.sum()), angles, weights / weights.sum()


def entropy_by_integration(dim):
    """h_n as the article defines it, with the density sin^(n-2) of the angle."""
    log_area, _, _ = integrate(lambda a: (dim - 2) * np.log(np.sin(a)))
    log_mean, angles, weights = integrate(lambda a: (dim - 2) * np.log(np.sin(a)) + dim * np.cos(a))
    return log_mean - log_area - dim * np.sum(weights * np.cos(angles))


def sample_entropy(count, dim, seed):
    """Entropy of softmax over all pairs of actual vectors on the sphere of radius sqrt(n)."""
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.randn(2, count, dim, generator=generator, dtype=torch.float64)
    u, v = (x * (dim**0.5 / x.norm(dim=1, keepdim=True)) for x in (u, v))
    scores = (u @ v.T).flatten()
    return float(torch.distributions.Categorical(logits=scores).entropy())


@pytest.mark.parametrize(
    ("dim", "printed", "digits"),
    [
        (32, -7.77471, 5),
        (64, -15.4734, 4),
        (96, -23.1726, 4),
        (128, -30.8718, 4),
        (256, -61.6692, 4),
        (512, -123.264, 3),
    ],
)
def test_the_table_of_the_article(dim, printed, digits):
    assert round(sphere_entropy(dim), digits) == printed


@pytest.mark.parametrize("dim", [8, 32, 100, 512, 999, 1000, 5000, 10_000, 100_000, 10**6])
def test_equals_the_integrals_over_the_angle(dim):
    assert sphere_entropy(dim) == pytest.approx(entropy_by_integration(dim), rel=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 3, 17, 998, 999, 1000, 1001, 3000])
def test_equals_the_closed_form_in_many_digits(dim):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        n, order = mpmath.mpf(dim), mpmath.mpf(dim) / 2 - 1
        bessel, above = mpmath.besseli(order, n), mpmath.besseli(order + 1, n)
        log_mean = mpmath.loggamma(n / 2) - order * mpmath.log(n / 2) + mpmath.log(bessel)
        expected = float(log_mean - n * above / bessel)
    assert sphere_entropy(dim) == pytest.approx(expected, rel=1e-13)


def test_in_one_dimension_the_sphere_is_two_points():
    assert sphere_entropy(1) == pytest.approx(math.log(math.cosh(1)) - math.tanh(1), rel=1e-14)


def test_it_is_the_divergence_from_the_uniform_distribution():
    # in three dimensions the cosine is uniform, and all integrals are elementary
    mean = 3 * (1 / math.tanh(3) - 1 / 3)
    assert sphere_entropy(3) == pytest.approx(math.log(math.sinh(3) / 3) - mean, rel=1e-14)


def test_it_falls_along_the_slope_and_stays_below_it():
    dims = [*range(1, 1200), 10**4, 10**5, 10**6, 10**7]
    values = [sphere_entropy(dim) for dim in dims]
    assert all(later < earlier for earlier, later in pairwise(values))
    assert all(v < -SLOPE * dim for v, dim in zip(values, dims, strict=True))
    assert values[-1] / dims[-1] == pytest.approx(-SLOPE, rel=1e-7)
    assert pytest.approx(0.2406059, abs=5e-8) == SLOPE


def test_the_two_forms_meet_without_a_step():
    values = [sphere_entropy(dim) for dim in range(990, 1010)]
    bends = np.diff(values, 2)
    assert np.abs(bends).max() < 1e-8
    assert np.abs(np.diff(values) + SLOPE).max() < 1e-6


@pytest.mark.parametrize(
    ("count", "dim"),
    [
        *((512, 52), (1000, 58), (10_000, 77), (30_522, 86), (50_257, 90), (100_000, 96)),
        *((128_000, 98), (151_936, 99), (1_000_000, 115), (5_000_000, 128), (1, 1)),
    ],
)
def test_dimensions_for_usual_vocabularies(count, dim):
    assert min_embedding_dim(count) == dim
    assert 2 * math.log(count) + sphere_entropy(dim) < 0
    assert dim == 1 or 2 * math.log(count) + sphere_entropy(dim - 1) >= 0


@pytest.mark.parametrize("count", [1, 2, 100, 512, 30_522, 5_000_000])
def test_the_two_lines(count):
    log_n = math.log(count)
    for method, factor in (("asymptotic", 4 / math.log(PHI)), ("rule", 8.33)):
        dim = min_embedding_dim(count, method=method)
        assert isinstance(dim, int)
        assert dim - 1 <= factor * log_n < dim
    assert pytest.approx(8.3123, abs=5e-5) == 4 / math.log(PHI)


@given(st.one_of(st.integers(1, 10**60), st.floats(1, 1e300)))
def test_the_methods_are_in_order(count):
    exact, asymptotic, rule = (min_embedding_dim(count, method=m) for m in METHODS)
    assert 1 <= exact <= asymptotic <= rule
    assert asymptotic <= exact + 1


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_more_things_need_no_fewer_dimensions(one, other):
    few, many = sorted((one, other))
    for method in METHODS:
        assert min_embedding_dim(few, method=method) <= min_embedding_dim(many, method=method)


def test_the_entropy_of_a_sample_follows_until_there_is_room():
    predicted = {dim: 2 * math.log(1000) + sphere_entropy(dim) for dim in (4, 12, 64)}
    measured = {dim: sample_entropy(1000, dim, seed=dim) for dim in predicted}
    assert measured[4] == pytest.approx(predicted[4], abs=0.02)
    assert measured[12] == pytest.approx(predicted[12], abs=0.15)
    # beyond, the sample is too small for the expectations: it never goes below 0
    assert min_embedding_dim(1000) <= 64
    assert predicted[64] < 0 < measured[64]


def test_numbers_of_every_kind():
    assert min_embedding_dim(1e5) == min_embedding_dim(np.int64(100_000)) == 96
    assert min_embedding_dim(np.float32(1e5)) == min_embedding_dim(Fraction(10**5)) == 96
    assert sphere_entropy(np.int64(32)) == sphere_entropy(32)
    started = time.perf_counter()
    assert min_embedding_dim(10**5000) == min_embedding_dim(10**5000, method="asymptotic")
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("count", [0, -3, 0.5, math.nan, math.inf, True, "512", None])
def test_a_wrong_number_of_things(count):
    with pytest.raises(ValueError, match=r"n is .*; allowed: a finite number of things, 1 or more"):
        min_embedding_dim(count)


@pytest.mark.parametrize("dim", [0, -1, 2.0, True, "3", None])
def test_a_wrong_dimension(dim):
    with pytest.raises(ValueError, match=r"dim is .*; allowed: an integer, 1 or more"):
        sphere_entropy(dim)


def test_a_wrong_method():
    with pytest.raises(ValueError, match="method is 'jl'; allowed: 'exact', 'asymptotic', 'rule'"):
        min_embedding_dim(512, method="jl")
