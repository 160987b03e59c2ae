import copy
import operator
import pickle
import zipfile
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue.numerics.analytic_logistic import AnalyticLogisticRegression

SENTIMENT = Path(__file__).parents[3] / "shared" / "data" / "sentiment" / "sentiment.zip"


def draw(rows=600, features=8, classes=4, *, seed=0, spread=1.0):
    """Normal classes of unequal sizes with a covariance that they share."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(classes, features)) * spread
    mixing = random.normal(size=(features, features))
    y = random.choice(classes, size=rows, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    return random.normal(size=(rows, features)) @ mixing + means[y], y


def lsqr(x, y, **options):
    discriminant_analysis = pytest.importorskip("sklearn.discriminant_analysis")
    return discriminant_analysis.LinearDiscriminantAnalysis(solver="lsqr", **options).fit(x, y)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "normal", "two normal"])
def test_equals_linear_discriminants_of_sklearn(name):
    datasets = pytest.importorskip("sklearn.datasets")
    normal = {"normal": {}, "two normal": {"classes": 2}}
    if name in normal:
        x, y = draw(**normal[name])
    else:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    ours, theirs = AnalyticLogisticRegression().fit(x, y), lsqr(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-8)
    # Theirs are scores before what a row shares is taken away
    a, b = ours.decision_function(x), theirs.decision_function(x)
    if a.ndim == 2:
        a, b = a - a[:, :1], b - b[:, :1]
    np.testing.assert_allclose(a, b, atol=1e-7 * abs(b).max())
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    assert ours.score(x, y) == theirs.score(x, y)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_allclose(ours.priors_, theirs.priors_)


def test_equals_sklearn_where_features_are_constant():
    datasets = pytest.importorskip("sklearn.datasets")
    # Three pixels of digits are 0 in every image.
    x, y = datasets.load_digits(return_X_y=True)
    ours, theirs = AnalyticLogisticRegression().fit(x, y), lsqr(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-9)
    assert ours.score(x, y) > 0.95


def test_is_as_good_as_maximum_likelihood_where_its_assumption_holds():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = draw(20_000, 6, 3)
    test, answers = x[10_000:], y[10_000:]
    ours = AnalyticLogisticRegression().fit(x[:10_000], y[:10_000])
    theirs = linear_model.LogisticRegression(C=1e6, max_iter=2000).fit(x[:10_000], y[:10_000])
    assert abs(ours.score(test, answers) - theirs.score(test, answers)) < 0.005
    assert abs(ours.predict_proba(test) - theirs.predict_proba(test)).mean() < 0.01


def test_needs_fewer_examples_than_maximum_likelihood():
    # What the article says of little data, on data that are as it assumes
    linear_model = pytest.importorskip("sklearn.linear_model")
    margins = []
    for seed in range(5):
        x, y = draw(5000, 30, 3, seed=seed, spread=0.7)
        few = slice(0, 80)
        ours = AnalyticLogisticRegression().fit(x[few], y[few])
        theirs = linear_model.LogisticRegression(C=1e6, max_iter=2000).fit(x[few], y[few])
        margins.append(ours.score(x[80:], y[80:]) - theirs.score(x[80:], y[80:]))
    assert np.mean(margins) > 0.01


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"ridge": 0.1}, {"priors": [1, 1, 2, 4]}])
def test_batches_and_machines_add_up_to_one_fit(seed, options):
    x, y = draw()
    random = np.random.default_rng(seed)
    parts = np.split(random.permutation(len(x)), sorted(random.integers(1, len(x), 4)))
    whole = AnalyticLogisticRegression(**options).fit(x, y)
    empty = AnalyticLogisticRegression(**options)
    made = {
        "partial_fit": reduce(lambda m, p: m.partial_fit(x[p], y[p]), parts, empty),
        "merge": reduce(
            AnalyticLogisticRegression.merge,
            [AnalyticLogisticRegression().partial_fit(x[p], y[p]) for p in parts],
            AnalyticLogisticRegression(**options),
        ),
    }
    made["moments"] = AnalyticLogisticRegression(**options).merge(made["merge"].moments_)
    for name, other in made.items():
        np.testing.assert_allclose(other.weight_, whole.weight_, atol=1e-10, err_msg=name)
        np.testing.assert_allclose(other.bias_, whole.bias_, atol=1e-10, err_msg=name)


def test_fit_forgets_and_classes_may_come_late():
    x, y = draw()
    model = AnalyticLogisticRegression().fit(x[y < 2], y[y < 2])
    assert model.decision_function(x).shape == (600,)
    model.partial_fit(x[y == 3], y[y == 3]).partial_fit(x[y == 2], y[y == 2])
    expected = AnalyticLogisticRegression().fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), expected.predict_proba(x), atol=1e-10)
    model.fit(x[y < 2], y[y < 2])
    assert model.classes_.tolist() == [0, 1]


def test_what_a_copy_learns_the_other_does_not():
    x, y = draw()
    model = AnalyticLogisticRegression().fit(x, y)
    other, before = copy.copy(model), model.weight_.copy()
    other.partial_fit(2 * x, y).merge(model)
    assert other.moments_.weights.sum() == 3 * len(x)
    np.testing.assert_array_equal(model.weight_, before)
    assert abs(other.weight_ - before).max() > 1e-3


def test_priors_shift_the_biases_and_nothing_else():
    x, y = draw()
    model, given = AnalyticLogisticRegression().fit(x, y), np.array([4.0, 3.0, 2.0, 1.0])
    scores = model.decision_function(x) + np.log(given / 10 / model.priors_)
    model.priors = given
    found = model.decision_function(x)
    np.testing.assert_allclose(found - found[:, :1], scores - scores[:, :1], atol=1e-9)
    np.testing.assert_allclose(model.priors_, given / 10)
    model.priors = [1, 1]
    with pytest.raises(ValueError, match="a positive number for each of the 4 classes"):
        model.predict(x)


def test_options_set_later_are_heeded():
    x, y = draw()
    model = AnalyticLogisticRegression().fit(x, y)
    first = model.weight_
    assert model.weight_ is first
    model.ridge = 0.5
    expected = AnalyticLogisticRegression(ridge=0.5).fit(x, y)
    np.testing.assert_array_equal(model.weight_, expected.weight_)
    model.ridge = -1.0
    with pytest.raises(ValueError, match=r"ridge is -1.0"):
        model.predict(x)


def test_ridge_helps_where_examples_are_few():
    margins = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        y = random.integers(3, size=3000)
        x = random.normal(size=(3000, 40)) + 2 * np.eye(3, 40)[y]
        model = AnalyticLogisticRegression().fit(x[:60], y[:60])
        plain = model.score(x[60:], y[60:])
        model.ridge = 0.3
        margins.append(model.score(x[60:], y[60:]) - plain)
    assert np.mean(margins) > 0.05


def test_weights_of_examples_are_how_often_they_occur():
    x, y = draw()
    times = np.random.default_rng(0).integers(0, 4, len(x))
    model = AnalyticLogisticRegression().fit(x, y, sample_weight=times)
    expected = AnalyticLogisticRegression().fit(np.repeat(x, times, 0), np.repeat(y, times))
    np.testing.assert_allclose(model.predict_proba(x), expected.predict_proba(x), atol=1e-9)
    model.partial_fit(x, y, sample_weight=3 - times)
    expected = AnalyticLogisticRegression().fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), expected.predict_proba(x), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_in_tensors_out(dtype):
    x, y = draw()
    rows, labels = torch.from_numpy(x).to(dtype), torch.from_numpy(y)
    model = AnalyticLogisticRegression().fit(rows, labels)
    shares, names = model.predict_proba(rows), model.predict(rows)
    assert isinstance(names, torch.Tensor)
    assert (shares.dtype, model.decision_function(rows).dtype) == (dtype, dtype)
    expected = AnalyticLogisticRegression().fit(x, y)
    apart = np.abs(shares.double().numpy() - expected.predict_proba(x)).max()
    assert apart < {2: 0.1, 4: 1e-4, 8: 1e-11}[dtype.itemsize]
    assert model.score(rows, labels) == np.mean(names.numpy() == y)


def test_single_precision_is_nearly_double():
    x, y = draw(30_000)
    x = (x + 300).astype(np.float32)
    exact = AnalyticLogisticRegression().fit(x.astype(np.float64), y)
    expected = exact.predict_proba(x.astype(np.float64))
    single, double = AnalyticLogisticRegression(), AnalyticLogisticRegression(double=True)
    assert abs(single.fit(x, y).predict_proba(x) - expected).max() < 2e-4
    np.testing.assert_allclose(double.fit(x, y).weight_, exact.weight_, atol=1e-10)
    assert single.predict_proba(x).dtype == np.float32


def test_labels_may_be_strings():
    x, y = draw()
    names = np.array(["好", "坏", "中", "无"])
    model = AnalyticLogisticRegression().fit(torch.from_numpy(x), names[y].tolist())
    assert model.classes_.tolist() == sorted(names)
    assert isinstance(model.predict(torch.from_numpy(x)), np.ndarray)
    by_number = AnalyticLogisticRegression().fit(x, y)
    np.testing.assert_array_equal(model.predict(x), names[by_number.predict(x)])
    assert model.score(x, names[y].tolist()) == by_number.score(x, y)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_layer_gives_the_same_and_can_be_trained_further(classes):
    x, y = draw(classes=classes)
    model = AnalyticLogisticRegression().fit(x, y)
    layer = model.as_linear(dtype=torch.float64)
    assert layer.out_features == classes
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)
    torch.testing.assert_close(layer(rows).softmax(1).detach(), model.predict_proba(rows))
    loss = torch.nn.functional.cross_entropy(layer(rows), labels)
    untrained = torch.nn.functional.cross_entropy(torch.zeros(len(x), classes).double(), labels)
    assert loss < 0.8 * untrained
    loss.backward()
    assert layer.weight.grad.abs().max() > 0
    assert model.as_linear().weight.dtype == torch.float32


def test_a_layer_that_is_there_is_filled():
    x, y = draw(classes=2)
    model, rows = AnalyticLogisticRegression().fit(x, y), torch.from_numpy(x).float()
    layer = torch.nn.Linear(8, 1)
    assert model.as_linear(into=layer) is layer
    expected = model.predict_proba(x)[:, 1]
    np.testing.assert_allclose(layer(rows)[:, 0].sigmoid().detach(), expected, atol=1e-4)


def test_outputs_of_a_layer_in_the_order_of_a_task():
    x, y = draw()
    model, rows = AnalyticLogisticRegression().fit(x, y), torch.from_numpy(x)
    layer = model.as_linear(classes=[3, 0, 7, 1, 2], dtype=torch.float64)
    scores = layer(rows).detach().numpy()
    np.testing.assert_allclose(scores[:, [1, 3, 4, 0]], model.decision_function(x), atol=1e-9)
    # Nothing was seen of class 7: not quite impossible, hardly ever first.
    assert 0 < np.mean(np.exp(scores - scores.max(1, keepdims=True))[:, 2]) < 0.05
    with pytest.raises(ValueError, match=r"allowed: each class once. 2 is missing"):
        model.as_linear(classes=[0, 1, 3])


@pytest.mark.parametrize("use", ["predict", "predict_proba", "decision_function", "as_linear"])
def test_nothing_learnt_is_nothing_to_use(use):
    given = [draw()[0]] if use.startswith(("predict", "decision")) else []
    with pytest.raises(ValueError, match=r"the number of rows is 0; .* Call fit first\."):
        operator.methodcaller(use, *given)(AnalyticLogisticRegression())


def test_a_row_that_is_not_finite_is_named_and_nothing_learnt():
    x, y = draw()
    model = AnalyticLogisticRegression().fit(x, y)
    before = model.weight_.copy()
    x[417, 3] = np.nan
    for method in (model.partial_fit, model.fit):
        with pytest.raises(ValueError, match=r"x\[417\] holds NaN or infinity"):
            method(x, y)
    np.testing.assert_array_equal(model.weight_, before)


def test_is_kept_in_a_pickle():
    x, y = draw()
    model = AnalyticLogisticRegression(ridge=0.1).fit(x, y)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict_proba(x), model.predict_proba(x))
    other.partial_fit(x, y)
    np.testing.assert_allclose(other.weight_, model.weight_, atol=1e-10)


def test_inputs_are_not_written_to():
    x, y = draw()
    before = x.copy(), y.copy()
    AnalyticLogisticRegression().fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def read_sentiment(part):
    with zipfile.ZipFile(SENTIMENT) as archive:
        lines = archive.read(f"sentiment/sentiment.{part}.data").decode("utf-8").splitlines()
    texts, labels = zip(*(line.rsplit("\t", 1) for line in lines), strict=True)
    return texts, np.array(labels, np.int64)


def test_wins_on_a_few_real_texts():
    """The article's claim and its data, with features that need no encoder: letters of a text."""
    if not SENTIMENT.is_file():
        pytest.skip("../shared/data/sentiment is absent")
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear_model = pytest.importorskip("sklearn.linear_model")
    decomposition = pytest.importorskip("sklearn.decomposition")
    texts, labels = read_sentiment("valid")
    vectors = text.TfidfVectorizer(analyzer="char", max_features=5000).fit_transform(texts)
    x = decomposition.TruncatedSVD(100, random_state=0).fit_transform(vectors)
    margins = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(x))
        few, rest = order[:300], order[300:]
        ours = AnalyticLogisticRegression().fit(x[few], labels[few])
        theirs = linear_model.LogisticRegression(C=1e6, max_iter=5000).fit(x[few], labels[few])
        margins.append(ours.score(x[rest], labels[rest]) - theirs.score(x[rest], labels[rest]))
    assert ours.score(x[rest], labels[rest]) > 0.7
    assert np.mean(margins) > 0.01
