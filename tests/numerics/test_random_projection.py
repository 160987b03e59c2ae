import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.random_projection import johnson_lindenstrauss_min_dim

from kexue.numerics.random_projection import jl_min_dim, project, random_projection

METHODS = ("likely", "exact", "existence", "tight")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def squared_distances(points):
    return torch.pdist(points.double()).square()


@pytest.mark.parametrize(
    ("count", "eps", "likely", "existence", "exact"),
    [
        (1000, 0.5, 664, 443, 364),
        (1000, 0.2, 4145, 2764, 1952),
        (10_000, 0.1, 22105, 14737, 10262),
        (1_000_000, 0.1, 33158, 22105, 16049),
    ],
)
def test_dimensions_of_the_article_and_of_chi_squared(count, eps, likely, existence, exact):
    assert jl_min_dim(count, eps) == jl_min_dim(count, eps, method="likely") == likely
    assert jl_min_dim(count, eps, method="existence") == existence
    assert jl_min_dim(count, eps, method="exact") == exact


@given(st.integers(2, 10**9), st.floats(0.01, 0.99))
def test_the_tight_form_is_that_of_scikit_learn_rounded_up(count, eps):
    assert jl_min_dim(count, eps, method="tight") == 1 + johnson_lindenstrauss_min_dim(
        count, eps=eps
    )


@pytest.mark.parametrize(("count", "eps"), [(20, 0.3), (500, 0.9), (3000, 0.15)])
def test_the_exact_dimension_is_the_first_whose_tails_fit(count, eps):
    from scipy.stats import chi2

    def failure(dim):
        tails = chi2.sf(dim * (1 + eps), dim) + chi2.cdf(dim * (1 - eps), dim)
        return count * (count - 1) / 2 * tails

    dim = jl_min_dim(count, eps, method="exact")
    assert failure(dim) <= 1 / count < failure(dim - 1)
    # and the lemma, with its simpler tail, is true but wider
    assert failure(jl_min_dim(count, eps)) < 0.1 / count


@given(st.integers(1, 10**12), st.floats(0.02, 0.98))
def test_order_of_the_methods(count, eps):
    dims = {method: jl_min_dim(count, eps, method=method) for method in METHODS}
    assert all(isinstance(dim, int) and dim >= 1 for dim in dims.values())
    assert dims["existence"] <= dims["likely"]
    assert dims["exact"] <= dims["likely"]
    assert dims["tight"] <= max(1, dims["existence"] * 1.5)
    for method in METHODS:
        assert jl_min_dim(2 * count, eps, method=method) >= dims[method]
        assert jl_min_dim(count, eps / 2, method=method) >= dims[method]


def test_the_width_of_the_points_is_not_asked_for_but_the_dimension_can_be_beyond_it():
    # the article: at an error of a tenth the lemma is of no use in practice
    assert jl_min_dim(1000, 0.1) > 16_000


def test_a_projection_is_gaussian_with_variance_one_over_the_dimension():
    projection = random_projection(400, 250, generator=seeded(0))
    assert projection.shape == (250, 400)
    assert projection.dtype == torch.float32
    values = projection.double().flatten() * 250**0.5
    assert abs(values.mean()) < 0.015
    assert values.var() == pytest.approx(1, abs=0.02)
    assert values.pow(4).mean() == pytest.approx(3, abs=0.15)
    lengths = projection.square().sum(0)
    assert lengths.mean() == pytest.approx(1, abs=0.02)
    # |A e|^2 is chi-squared over n: its variance is 2 / n
    assert lengths.var() == pytest.approx(2 / 250, rel=0.3)


def test_the_generator_decides_and_the_global_one_is_left_alone():
    state = torch.get_rng_state()
    one, again, other = (random_projection(8, 5, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    torch.manual_seed(3)
    drawn = random_projection(8, 5)
    torch.manual_seed(3)
    assert torch.equal(drawn, random_projection(8, 5))


def test_projecting_is_the_sum_over_features():
    points = torch.randn(2, 3, 4, dtype=torch.float64)
    projection = random_projection(4, 5)
    expected = torch.zeros(2, 3, 5, dtype=torch.float64)
    for a in range(2):
        for b in range(3):
            for i in range(5):
                for j in range(4):
                    expected[a, b, i] += float(projection[i, j]) * points[a, b, j]
    torch.testing.assert_close(project(points, projection), expected)
    np.testing.assert_allclose(project(points.numpy(), projection), expected, rtol=1e-12)
    torch.testing.assert_close(project(points[0, 0], projection), expected[0, 0])


@pytest.mark.parametrize("eps", [0.5, 0.3])
def test_all_distances_stay_within_the_bound(eps):
    count = 1000 if eps == 0.5 else 300
    dim = jl_min_dim(count, eps)
    points = torch.randn(count, 2000, generator=seeded(1)) * torch.linspace(0, 1, 2000).exp()
    before = squared_distances(points)
    for seed in range(2):
        projection = random_projection(2000, dim, generator=seeded(10 + seed))
        ratios = squared_distances(project(points, projection)) / before
        # far inside, as the bound is wide: 0.28 of 0.5 in the mean of many trials
        assert 0.2 * eps < (ratios - 1).abs().max() < 0.8 * eps


def test_the_exact_dimension_is_enough_and_a_third_of_it_is_not():
    count, eps = 200, 0.5
    points = torch.randn(count, 500, generator=seeded(2))
    before = squared_distances(points)
    worst = {}
    enough = jl_min_dim(count, eps, method="exact")
    for dim in (enough, enough // 3):
        worst[dim] = [
            float((squared_distances(project(points, p)) / before - 1).abs().max())
            for p in (random_projection(500, dim, generator=seeded(100 + s)) for s in range(5))
        ]
    assert max(worst[enough]) < eps
    assert min(worst[enough // 3]) > eps


def test_inner_products_of_unit_vectors_stay_within_the_bound():
    count, eps = 300, 0.5
    points = torch.nn.functional.normalize(torch.randn(count, 50, generator=seeded(3)), dim=1)
    projection = random_projection(50, jl_min_dim(count, eps), generator=seeded(4))
    kept = project(points, projection)
    assert (kept @ kept.T - points @ points.T).abs().max() < eps


def test_the_probability_of_a_wrong_length_is_below_that_of_the_lemma():
    dim, eps, trials = 40, 0.6, 4000
    lengths = torch.randn(trials, dim, generator=seeded(5)).square().mean(1)
    failures = float(((lengths - 1).abs() >= eps).double().mean())
    assert 0 < failures <= 2 * math.exp(-(eps**2) * dim / 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_keep_their_dtype_and_gradients(dtype):
    points = torch.randn(3, 8).to(dtype).requires_grad_()
    projection = random_projection(8, 2)
    out = project(points, projection)
    assert out.dtype == dtype
    out.sum().backward()
    expected = projection.sum(0).expand(3, 8)
    torch.testing.assert_close(points.grad.float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_and_memmaps_come_back_as_arrays(dtype, tmp_path):
    points = np.random.default_rng(0).normal(size=(5, 8)).astype(dtype)
    mapped = np.memmap(tmp_path / "points", dtype=dtype, mode="w+", shape=(5, 8))
    mapped[:] = points
    projection = random_projection(8, 2)
    for given_points in (points, mapped):
        out = project(given_points, projection)
        assert isinstance(out, np.ndarray)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, points @ projection.numpy().T, rtol=0.02, atol=0.02)
    np.testing.assert_array_equal(mapped, points)


@pytest.mark.parametrize(
    ("count", "eps", "message"),
    [
        (0, 0.1, "n is 0; allowed: a number of points, an integer from 1"),
        (10.0, 0.1, "n is 10.0"),
        (True, 0.1, "n is True"),
        (10**101, 0.1, "10\\^100"),
        (10, 0, "eps is 0; allowed: a number between 0 and 1, both excluded"),
        (10, 1.0, "eps is 1.0"),
        (10, math.nan, "eps is nan"),
    ],
)
def test_wrong_numbers(count, eps, message):
    for method in METHODS:
        with pytest.raises(ValueError, match=message):
            jl_min_dim(count, eps, method=method)


def test_edges():
    assert [jl_min_dim(1, 0.1, method=method) for method in METHODS] == [1, 1, 1, 1]
    assert jl_min_dim(np.int64(1000), 0.5) == 664
    assert jl_min_dim(10**100, 0.1, method="exact") < jl_min_dim(10**100, 0.1)


def test_other_wrong_arguments():
    with pytest.raises(ValueError, match="method is 'rule'; allowed: 'likely', 'exact'"):
        jl_min_dim(10, 0.1, method="rule")
    with pytest.raises(ValueError, match="features is 0"):
        random_projection(0, 3)
    with pytest.raises(ValueError, match=r"dim is 2\.5; allowed: an integer, 1 or more"):
        random_projection(3, 2.5)
    projection = random_projection(4, 3)
    with pytest.raises(ValueError, match=r"\[..., 4\]. Use random_projection\(5, 3\)"):
        project(torch.zeros(2, 5), projection)
    with pytest.raises(ValueError, match="points is \\(\\)"):
        project(torch.tensor(1.0), projection)
    for integers in (torch.ones(2, 4, dtype=torch.long), np.ones((2, 4), dtype=np.int32)):
        with pytest.raises(ValueError, match=r"a floating dtype\. Convert them"):
            project(integers, projection)
