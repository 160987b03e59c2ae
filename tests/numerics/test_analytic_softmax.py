import warnings

import numpy as np
import pytest

from kexue.numerics.analytic_softmax import analytic_softmax, scale_priors

EPS32 = float(np.finfo(np.float32).eps)


def draw(rows=400, features=6, classes=3, *, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(classes, size=rows)
    mixing = random.normal(size=(features, features)) * np.geomspace(1, 0.01, features)
    x = random.normal(size=(rows, features)) + random.normal(size=(classes, features))[y]
    return x @ mixing, y


def moments(x, y):
    classes = np.unique(y)
    means = np.stack([x[y == c].mean(0) for c in classes])
    priors = np.array([np.mean(y == c) for c in classes])
    apart = x - means[np.searchsorted(classes, y)]
    return means, apart.T @ apart / len(x), priors


def log_probabilities(found, x):
    scores = x @ found.weight + found.bias
    return (
        scores
        - np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1, keepdims=True))
        - (scores.max(1, keepdims=True))
    )


def by_density(means, covariance, priors, x):
    """Bayes' rule with the densities of normal distributions, nothing simplified."""
    log_density = np.empty((len(x), len(means)))
    for i, mean in enumerate(means):
        for n, row in enumerate(x):
            power = (row - mean) @ np.linalg.solve(covariance, row - mean)
            log_density[n, i] = np.log(priors[i]) - 0.5 * power
    peak = log_density.max(1, keepdims=True)
    return log_density - peak - np.log(np.exp(log_density - peak).sum(1, keepdims=True))


def by_the_article(x, y, ridge=0.0):
    """Whiten all vectors, subtract what the class means explain, fold the whitening back in."""
    mean, (values, vectors) = x.mean(0), np.linalg.eigh(np.cov(x.T, ddof=0))
    whitening = vectors / np.sqrt(values)
    means, _, priors = moments((x - mean) @ whitening, y)
    covariance = np.eye(x.shape[1]) * (1 + ridge) - (priors[:, None] * means).T @ means
    weight = np.linalg.solve(covariance, means.T)
    bias = np.log(priors) - 0.5 * np.sum(means.T * weight, axis=0)
    return whitening @ weight, bias - mean @ whitening @ weight


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_equals_the_rule_of_bayes(classes):
    x, y = draw(classes=classes)
    given = moments(x, y)
    found = analytic_softmax(*given)
    np.testing.assert_allclose(log_probabilities(found, x), by_density(*given, x), atol=1e-10)
    assert found.rank == 6


@pytest.mark.parametrize("classes", [2, 5])
def test_equals_the_formulas_of_the_article_in_whitened_space(classes):
    x, y = draw(classes=classes)
    found = analytic_softmax(*moments(x, y))
    weight, bias = by_the_article(x, y)
    # A vector that classes share is free.
    for ours, theirs in ((found.weight, weight), (found.bias[None], bias[None])):
        a, b = ours - ours[:, :1], theirs - theirs[:, :1]
        np.testing.assert_allclose(a, b, atol=1e-10 * abs(b).max())


def test_the_average_of_all_weights_is_0():
    means, covariance, priors = moments(*draw())
    found = analytic_softmax(means, covariance, priors)
    np.testing.assert_allclose(found.weight @ priors, 0, atol=1e-10 * abs(found.weight).max())
    np.testing.assert_allclose(found.centre, priors @ means)


def test_normal_classes_with_one_covariance_give_back_the_truth():
    random = np.random.default_rng(0)
    truth = random.normal(size=(4, 3)), np.diag([1.0, 2.0, 0.5]) + 0.3
    priors = np.array([0.1, 0.2, 0.3, 0.4])
    y = random.choice(4, size=200_000, p=priors)
    x = truth[0][y] + random.multivariate_normal(np.zeros(3), truth[1], len(y))
    exact = by_density(*truth, priors, x[:200])
    found = log_probabilities(analytic_softmax(*moments(x, y)), x[:200])
    assert abs(np.exp(found) - np.exp(exact)).max() < 0.01


@pytest.mark.parametrize("ridge", [0.0, 0.01, 1.0])
def test_the_unit_of_a_feature_does_not_matter(ridge):
    x, y = draw()
    unit = np.array([1e-6, 1e6, 1.0, 3.0, 1e3, 1e-3])
    ours = log_probabilities(analytic_softmax(*moments(x, y), ridge=ridge), x)
    scaled = log_probabilities(analytic_softmax(*moments(x * unit, y), ridge=ridge), x * unit)
    np.testing.assert_allclose(scaled, ours, atol=1e-8)


def test_a_shift_of_all_rows_does_not_matter():
    x, y = draw()
    ours = log_probabilities(analytic_softmax(*moments(x, y)), x)
    moved = log_probabilities(analytic_softmax(*moments(x + 1000, y)), x + 1000)
    np.testing.assert_allclose(moved, ours, atol=1e-6)


def test_ridge_is_added_to_the_variance_of_features():
    x, y = draw()
    means, covariance, priors = moments(x, y)
    more = covariance + 0.3 * np.diag(x.var(0))
    expected = by_density(means, more, priors, x)
    found = log_probabilities(analytic_softmax(means, covariance, priors, ridge=0.3), x)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_ridge_makes_weights_smaller():
    given = moments(*draw(60, 30))
    sizes = [np.linalg.norm(analytic_softmax(*given, ridge=r).weight) for r in (0, 0.01, 0.1, 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[-1]


@pytest.mark.parametrize("rounding", [np.finfo(float).eps, EPS32])
@pytest.mark.parametrize("copies", ["a copy", "a constant", "a sum"])
def test_features_that_say_nothing_new_change_nothing(copies, rounding):
    x, y = draw()
    x = x / x.std(0)
    more = {"a copy": x[:, 2], "a constant": np.full(len(x), 5.0), "a sum": x[:, 0] - x[:, 3]}
    wide = np.column_stack([x, more[copies]])
    ours = log_probabilities(analytic_softmax(*moments(x, y)), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = analytic_softmax(*moments(wide, y), rounding=rounding)
    assert found.rank == 6
    np.testing.assert_allclose(log_probabilities(found, wide), ours, atol=1e-8)
    assert np.isfinite(found.weight).all()


def test_directions_that_tell_all_are_left_out_with_a_warning():
    x, y = draw()
    x = np.column_stack([x, y.astype(float)])
    with pytest.warns(UserWarning, match="1 of 7 directions have no variance within classes"):
        found = analytic_softmax(*moments(x, y))
    assert found.rank == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        better = analytic_softmax(*moments(x, y), ridge=0.001)
    assert better.rank == 7
    assert np.mean(log_probabilities(better, x).argmax(1) == y) == 1.0
    assert np.mean(log_probabilities(found, x).argmax(1) == y) < 1.0


def test_fewer_examples_than_features_need_a_ridge():
    x, y = draw(20, 50)
    with pytest.warns(UserWarning, match="33 of 50 directions"):
        assert analytic_softmax(*moments(x, y)).rank == 17
    found = analytic_softmax(*moments(x, y), ridge=0.1)
    assert np.mean(log_probabilities(found, x).argmax(1) == y) == 1.0


def test_one_class_is_certain():
    x, _ = draw()
    found = analytic_softmax(*moments(x, np.zeros(len(x), int)))
    np.testing.assert_allclose(found.weight, 0, atol=1e-9)
    np.testing.assert_allclose(found.bias, 0, atol=1e-9)


@pytest.mark.parametrize("ridge", [-0.1, np.nan])
def test_a_negative_ridge_is_refused(ridge):
    with pytest.raises(ValueError, match=r"ridge is .*; allowed: a number, 0 or more"):
        analytic_softmax(*moments(*draw()), ridge=ridge)


def test_priors_have_the_sum_1():
    np.testing.assert_allclose(scale_priors([1, 2, 5], np.ones(3)), [0.125, 0.25, 0.625])
    np.testing.assert_allclose(scale_priors(None, np.array([2.0, 6.0])), [0.25, 0.75])


@pytest.mark.parametrize("priors", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [[1.0, 1.0]]])
def test_bad_priors_are_refused(priors):
    with pytest.raises(ValueError, match="allowed: a positive number for each of the 2 classes"):
        scale_priors(priors, np.ones(2))


def test_inputs_are_not_written_to():
    given = moments(*draw())
    copies = [x.copy() for x in given]
    analytic_softmax(*given, ridge=0.1)
    for now, before in zip(given, copies, strict=True):
        np.testing.assert_array_equal(now, before)
