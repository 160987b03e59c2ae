import copy
import math
import operator
import warnings
from functools import reduce

import numpy as np
import pytest
import torch

from kexue.sentences.moments import Moments
from kexue.sentences.whitening import Whitening

OPTIONS = [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (2.0, 0.3)]


def draw(rows=600, columns=12, *, offset=2.0, seed=0, dtype=np.float64):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(columns, columns)) * np.geomspace(3, 0.1, columns)
    return (random.normal(size=(rows, columns)) @ mixing + offset).astype(dtype)


def by_definition(x, y, *, k, beta, gamma):
    """The formulas of the articles, in float64, with the sign that numpy happens to give."""
    mean = x.mean(0)
    second = sum(np.outer(row - beta * mean, row - beta * mean) for row in x) / len(x)
    values, vectors = np.linalg.eigh(second)
    values, vectors = values[::-1], vectors[:, ::-1]
    return (y - beta * mean) @ vectors[:, :k] @ np.diag(values[:k] ** (-gamma / 2))


def up_to_sign(found, expected, tolerance):
    signs = np.sign((found * expected).sum(0))
    scale = abs(expected).max()
    np.testing.assert_allclose(found, expected * signs, rtol=0, atol=tolerance * scale)


def cosines(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


@pytest.mark.parametrize(("beta", "gamma"), OPTIONS)
@pytest.mark.parametrize("k", [12, 5, 1])
def test_equals_the_definition_on_vectors_seen_and_new(k, beta, gamma):
    x, new = draw(), draw(50, seed=1)
    whitening = Whitening(k, beta=beta, gamma=gamma).fit(x)
    for y in (x, new):
        expected = by_definition(x, y, k=k, beta=beta, gamma=gamma)
        up_to_sign(whitening.transform(y), expected, 1e-11)


@pytest.mark.parametrize("k", [None, 4])
def test_equals_pca_of_sklearn(k):
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = draw()
    pca = decomposition.PCA(n_components=k, whiten=True, svd_solver="full").fit(x)
    # sklearn divides by N - 1
    expected = pca.transform(x) * math.sqrt(len(x) / (len(x) - 1))
    up_to_sign(Whitening(k).fit(x).transform(x), expected, 1e-11)
    plain = decomposition.PCA(n_components=k, svd_solver="full").fit(x)
    up_to_sign(Whitening(k, gamma=0.0).fit(x).transform(x), plain.transform(x), 1e-11)
    variances = Whitening(k).fit(x).axes_.variances[: len(pca.explained_variance_)]
    np.testing.assert_allclose(variances * len(x) / (len(x) - 1), pca.explained_variance_)


def test_whitened_vectors_have_mean_0_and_covariance_1():
    y = Whitening().fit(draw()).transform(draw())
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(12), atol=1e-11)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.5])
def test_about_another_point_the_second_moment_is_1_and_the_mean_is_not_0(beta):
    y = Whitening(beta=beta).fit(draw()).transform(draw())
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(12), atol=1e-11)
    assert np.linalg.norm(y.mean(0)) > 0.1


@pytest.mark.parametrize("few", [False, True])
def test_a_rotation_keeps_every_cosine(few):
    x = draw(8 if few else 600)
    y = Whitening(beta=0.0, gamma=0.0).fit(x).transform(x)
    assert y.shape == x.shape
    np.testing.assert_allclose(cosines(y), cosines(x), atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-12)
    # Whitening does not
    if not few:
        assert abs(cosines(Whitening().fit(x).transform(x)) - cosines(x)).max() > 0.5


def test_cosines_of_whitened_vectors_are_those_of_any_other_whitening():
    x = draw()
    apart, covariance = x - x.mean(0), np.cov(x.T, ddof=0)
    ours = cosines(Whitening().fit(x).transform(x))
    cholesky = np.linalg.cholesky(np.linalg.inv(covariance))
    np.testing.assert_allclose(cosines(apart @ cholesky), ours, atol=1e-11)
    values, vectors = np.linalg.eigh(covariance)
    zca = vectors @ np.diag(values**-0.5) @ vectors.T
    np.testing.assert_allclose(cosines(apart @ zca), ours, atol=1e-11)


@pytest.mark.parametrize(("beta", "gamma"), OPTIONS)
def test_fewer_directions_are_the_first_of_more(beta, gamma):
    whitening = Whitening(beta=beta, gamma=gamma).fit(draw())
    more, fewer = whitening.transform(draw()), whitening.with_options(k=4).transform(draw())
    np.testing.assert_allclose(fewer, more[:, :4], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_the_unit_of_the_vectors_does_not_matter(factor):
    x = draw()
    expected = cosines(Whitening(6).fit(x).transform(x))
    found = cosines(Whitening(6).fit(factor * x).transform(factor * x))
    np.testing.assert_allclose(found, expected, atol=1e-11)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("beta", "gamma"), OPTIONS)
def test_random_parts_merged_are_one_fit(seed, beta, gamma):
    x, random = draw(2000), np.random.default_rng(seed)
    parts = np.split(random.permutation(x), sorted(random.integers(1, 2000, 4)))
    whole = Whitening(7, beta=beta, gamma=gamma).fit(x)
    made = {
        "merge": reduce(
            Whitening.merge,
            [Whitening().partial_fit(part) for part in parts],
            Whitening(7, beta=beta, gamma=gamma),
        ),
        "partial_fit": reduce(Whitening.partial_fit, parts, Whitening(7, beta=beta, gamma=gamma)),
        "moments": Whitening(7, beta=beta, gamma=gamma).merge(
            reduce(Moments.merge, [Moments().add(part) for part in parts], Moments())
        ),
    }
    for name, other in made.items():
        np.testing.assert_allclose(other.weight_, whole.weight_, atol=1e-10, err_msg=name)
        np.testing.assert_allclose(other.bias_, whole.bias_, atol=1e-10, err_msg=name)
        found = other.transform(x[:50])
        np.testing.assert_allclose(found, whole.transform(x[:50]), atol=1e-10, err_msg=name)


def test_fit_forgets_what_was_seen_before():
    whitening = Whitening().fit(draw(seed=1)).fit(draw())
    np.testing.assert_array_equal(whitening.weight_, Whitening().fit(draw()).weight_)


def test_one_fit_serves_all_options():
    fitted = Whitening().fit(draw())
    for beta, gamma in OPTIONS:
        other = fitted.with_options(k=5, beta=beta, gamma=gamma)
        expected = Whitening(5, beta=beta, gamma=gamma).fit(draw())
        np.testing.assert_array_equal(other.transform(draw()), expected.transform(draw()))
        assert (other.k, other.beta, other.gamma) == (5, beta, gamma)
        assert other.moments_ is fitted.moments_
    assert (fitted.k, fitted.beta, fitted.gamma) == (None, 1.0, 1.0)
    assert fitted.with_options(k=5).with_options(k=None).k is None
    # The decomposition too is made only once for a beta
    assert fitted.with_options(k=2, gamma=0.0).axes_ is fitted.axes_
    assert fitted.with_options(beta=0.0).axes_ is not fitted.axes_


def test_what_one_learns_later_the_other_does_not():
    fitted = Whitening().fit(draw())
    other = fitted.with_options(k=5)
    before = other.weight_.copy()
    fitted.partial_fit(draw(seed=1))
    fitted.merge(Whitening().partial_fit(draw(seed=2)))
    assert (fitted.moments_.count, other.moments_.count) == (1800, 600)
    np.testing.assert_array_equal(other.weight_, before)
    assert abs(fitted.weight_[:, :5] - before).max() > 1e-3


def test_options_set_later_are_heeded():
    whitening = Whitening().fit(draw())
    whitening.k, whitening.beta, whitening.gamma = 3, 0.0, 0.0
    expected = Whitening(3, beta=0.0, gamma=0.0).fit(draw())
    np.testing.assert_array_equal(whitening.weight_, expected.weight_)
    whitening.k, whitening.gamma, whitening.rtol = None, 1.0, 0.5
    with pytest.warns(UserWarning, match="have no variance"):
        assert whitening.weight_.shape[1] < 12


def test_a_large_mean_is_no_matter_in_single_precision():
    spread = np.random.default_rng(0).normal(size=(5000, 12)) * np.geomspace(3, 0.1, 12)
    x = (1000 + spread).astype(np.float32)
    exact = Whitening(double=True).fit(x.astype(np.float64))
    expected = exact.transform(x.astype(np.float64))
    whitening = Whitening().fit(x)
    found = whitening.transform(x)
    assert found.dtype == np.float32
    assert abs(found - expected).max() < 1e-3
    by_hand = x.astype(np.float64) @ whitening.weight_ + whitening.bias_
    assert abs(found - by_hand).max() < 1e-5
    covariance = np.cov(found.astype(np.float64).T, ddof=0)
    np.testing.assert_allclose(covariance, np.eye(12), atol=1e-4)


KINDS = {
    "array": lambda x, _: x,
    "read-only array": lambda x, _: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "tensor": lambda x, _: torch.from_numpy(x),
    "tensor with a gradient": lambda x, _: torch.from_numpy(x).requires_grad_(),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_gives_the_kind_and_dtype_that_came_in(tmp_path, kind, dtype):
    x = KINDS[kind](draw(dtype=dtype), tmp_path)
    found = Whitening(4).fit(x).transform(x)
    assert isinstance(found, torch.Tensor if "tensor" in kind else np.ndarray)
    assert found.shape == (600, 4)
    assert found.dtype == x.dtype
    assert np.isfinite(np.asarray(found)).all()
    expected = by_definition(draw(), draw(), k=4, beta=1.0, gamma=1.0)
    up_to_sign(np.asarray(found), expected, {2: 1e-2, 4: 1e-4, 8: 1e-11}[np.dtype(dtype).itemsize])


def test_bfloat16_is_taken_and_given():
    x = torch.from_numpy(draw()).bfloat16()
    found = Whitening(4).fit(x).transform(x)
    assert found.dtype == torch.bfloat16
    expected = Whitening(4).fit(x.double()).transform(x.double())
    assert (found.double() - expected).abs().max() < 0.05


def test_a_memory_map_is_whitened_as_an_array_is(tmp_path):
    x = draw(20_000, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = Whitening(4).fit(mapped).transform(mapped)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, Whitening(4).fit(x).transform(x))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_gpu_tensor_stays_on_the_gpu(dtype):
    x = torch.from_numpy(draw()).to(dtype)
    expected = Whitening(4, double=True).fit(x).transform(x)
    found = Whitening(4).fit(x.cuda()).transform(x.cuda())
    assert found.is_cuda
    assert found.dtype == dtype
    torch.testing.assert_close(found.cpu(), expected)


def test_inputs_are_not_written_to():
    x = draw()
    before = x.copy()
    Whitening().fit(x).transform(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_directions_without_variance_are_left_out_and_not_divided_by_0(dtype):
    x = draw(2000, dtype=dtype)
    x[:, 7] = x[:, 2]
    x[:, 3] = 5
    with pytest.warns(UserWarning, match="2 of 12 directions have no variance"):
        whitening = Whitening().fit(x)
    # It has been said once.
    y = whitening.transform(x)
    assert y.shape == (2000, 10)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(10), atol=1e-3)
    with pytest.raises(ValueError, match="k is 11; allowed: None, or 1 to 10, the rank"):
        Whitening(11).fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Whitening(10).fit(x).transform(x).shape == (2000, 10)
        assert Whitening(gamma=0.0).fit(x).transform(x).shape == (2000, 12)


def test_too_few_vectors_are_refused_for_a_reason():
    x = draw(10)
    with pytest.raises(
        ValueError, match="the number of vectors is 10; allowed: more than their 12"
    ):
        Whitening().fit(x)
    with pytest.raises(ValueError, match="the number of vectors is 10"):
        Whitening(9).fit(x)
    # What would come out: all cosines the same, whatever the vectors
    forced = Whitening(gamma=1.0).merge(Moments().add(x)).axes_
    y = (x - x.mean(0)) @ forced.directions[:, :9] / forced.variances[:9] ** 0.5
    same = cosines(y)[~np.eye(10, dtype=bool)]
    np.testing.assert_allclose(same, -1 / 9, atol=1e-9)
    with pytest.warns(UserWarning, match="10 vectors of 12 features tell little"):
        Whitening(2).fit(x)


def test_vectors_that_come_in_batches_are_counted_together():
    x = draw(40)
    whitening = Whitening()
    for batch in np.split(x, 8):
        whitening.partial_fit(batch)
    np.testing.assert_allclose(whitening.weight_, Whitening().fit(x).weight_, atol=1e-10)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_row_that_is_not_finite_is_named(method):
    x = draw()
    x[417, 3] = np.inf
    with pytest.raises(ValueError, match=r"x\[417\] holds NaN or infinity"):
        getattr(Whitening(), method)(x)


def test_a_batch_that_is_refused_is_not_learnt_from():
    whitening = Whitening().fit(draw())
    before = whitening.weight_.copy()
    with pytest.raises(ValueError, match="holds NaN"):
        whitening.partial_fit(np.full((5, 12), np.nan))
    np.testing.assert_array_equal(whitening.weight_, before)


@pytest.mark.parametrize("use", ["weight_", "bias_", "axes_", "as_linear", "transform"])
def test_nothing_learnt_is_nothing_to_use(use):
    given = [draw()] if use == "transform" else []
    with pytest.raises(ValueError, match="the number of rows is 0"):
        operator.attrgetter(use)(Whitening())(*given)


def test_another_width_is_refused():
    whitening = Whitening().fit(draw())
    for method in (whitening.transform, whitening.partial_fit):
        with pytest.raises(ValueError, match=r"x has shape \(5, 3\); allowed: \[N, 12\]"):
            method(np.zeros((5, 3)))


@pytest.mark.parametrize(("beta", "gamma"), OPTIONS)
def test_a_layer_gives_the_same_and_lets_gradients_through(beta, gamma):
    whitening = Whitening(5, beta=beta, gamma=gamma).fit(draw())
    x = torch.from_numpy(draw()).requires_grad_()
    layer = whitening.as_linear(dtype=torch.float64)
    torch.testing.assert_close(layer(x).detach(), whitening.transform(x), atol=1e-11, rtol=1e-11)
    layer(x)[0, 0].backward()
    np.testing.assert_allclose(x.grad[0], whitening.weight_[:, 0])
    assert whitening.as_linear().weight.dtype == torch.float32


@pytest.mark.parametrize(("beta", "gamma"), OPTIONS)
def test_an_index_of_faiss_finds_what_it_finds_in_transformed_vectors(beta, gamma):
    faiss = pytest.importorskip("faiss")
    x, queries = draw(dtype=np.float32), draw(20, seed=1, dtype=np.float32)
    whitening = Whitening(5, beta=beta, gamma=gamma).fit(x)
    transform = whitening.as_faiss()
    scale = abs(whitening.transform(x)).max()
    np.testing.assert_allclose(transform.apply(x), whitening.transform(x), atol=1e-5 * scale)
    index = faiss.IndexPreTransform(transform, faiss.IndexFlatIP(5))
    index.add(x)
    scores, _ = index.search(queries, 3)
    products = whitening.transform(queries) @ whitening.transform(x).T
    best = -np.sort(-products, axis=1)[:, :3]
    np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-4 * abs(best).max())


@pytest.mark.parametrize("double", [False, True])
def test_a_saved_whitening_goes_on_where_it_stopped(tmp_path, double):
    x = draw(3000, dtype=np.float32)
    whole = Whitening(5, beta=0.5, gamma=0.7, rtol=1e-9, double=double).partial_fit(x[:1000])
    whole.save_pretrained(tmp_path / "half")
    read = Whitening.from_pretrained(tmp_path / "half")
    assert vars(read).keys() == vars(whole).keys()
    for name in ("k", "beta", "gamma", "rtol", "double"):
        assert getattr(read, name) == getattr(whole, name)
    for whitening in (whole, read):
        whitening.partial_fit(x[1000:])
    np.testing.assert_array_equal(read.weight_, whole.weight_)
    np.testing.assert_array_equal(read.transform(x), whole.transform(x))


def test_an_empty_one_can_be_saved(tmp_path):
    Whitening(3).save_pretrained(tmp_path)
    read = Whitening.from_pretrained(str(tmp_path))
    np.testing.assert_array_equal(
        read.partial_fit(draw()).weight_, Whitening(3).fit(draw()).weight_
    )


def test_no_state_of_the_process_is_touched():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads, enabled = torch.get_num_threads(), torch.is_grad_enabled()
    whitening = Whitening(3).fit(draw())
    whitening.transform(draw())
    whitening.as_linear()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, enabled)


def test_a_copy_is_another_object():
    whitening = Whitening(3).fit(draw())
    other = copy.deepcopy(whitening).partial_fit(draw(seed=1))
    assert (whitening.moments_.count, other.moments_.count) == (600, 1200)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_double_does_not_depend_on_the_split_of_single_precision(method):
    x = draw(9000, dtype=np.float32)
    whole = getattr(Whitening(double=True), method)(x)
    parts = Whitening(double=True).partial_fit(x[:100]).partial_fit(x[100:])
    np.testing.assert_allclose(parts.weight_, whole.weight_, rtol=0, atol=1e-9)
    assert whole.moments_.rounding == np.finfo(np.float64).eps
