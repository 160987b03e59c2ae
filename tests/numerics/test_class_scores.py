import numpy as np
import pytest
import torch

from kexue.numerics import class_scores as module
from kexue.numerics.analytic_softmax import AnalyticSoftmax
from kexue.numerics.class_scores import class_scores, decisions, likeliest, probabilities

TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 0.2, torch.float32: 1e-5, torch.float64: 1e-12}


def solution(features=5, classes=3, *, offset=0.0, seed=0):
    random = np.random.default_rng(seed)
    weight = random.normal(size=(features, classes))
    centre = random.normal(size=features) + offset
    return AnalyticSoftmax(weight, random.normal(size=classes) - centre @ weight, centre, features)


def draw(rows=40, features=5, *, offset=0.0):
    return np.random.default_rng(1).normal(size=(rows, features)) + offset


def by_definition(x, given):
    return np.asarray(x, np.float64) @ given.weight + given.bias


def softmax(scores):
    return np.stack([np.exp(row) / np.exp(row).sum() for row in scores])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_tensors_and_arrays_are_mapped_alike(dtype):
    x, given = torch.from_numpy(draw()).to(dtype), solution()
    expected = by_definition(x.double().numpy(), given)
    found = class_scores(x, given)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype] / 10)
    assert probabilities(x, given).dtype == decisions(x, given).dtype == dtype
    shares = probabilities(x, given).double()
    np.testing.assert_allclose(shares, softmax(expected), atol=TOLERANCE[dtype])
    if dtype != torch.bfloat16:
        rows = x.numpy()
        assert probabilities(rows, given).dtype == decisions(rows, given).dtype == rows.dtype
        np.testing.assert_allclose(class_scores(rows, given), found, atol=1e-5)
        np.testing.assert_allclose(probabilities(rows, given), shares, atol=TOLERANCE[dtype])


def test_two_classes_have_one_decision():
    x, given = draw(), solution(classes=2)
    scores = by_definition(x, given)
    np.testing.assert_allclose(decisions(x, given), scores[:, 1] - scores[:, 0], atol=1e-12)
    odds = probabilities(x, given)
    np.testing.assert_allclose(np.log(odds[:, 1] / odds[:, 0]), decisions(x, given), atol=1e-10)
    tensor = decisions(torch.from_numpy(x), given)
    np.testing.assert_allclose(tensor, decisions(x, given), atol=1e-12)
    assert decisions(x, solution()).shape == (40, 3)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_far_from_0_single_precision_is_enough(kind):
    given, x = solution(offset=1e4), draw(offset=1e4).astype(np.float32)
    found = np.asarray(class_scores(kind(x), given))
    np.testing.assert_allclose(found, by_definition(x, given), atol=0.01)
    # The map as it stands would lose that much
    plain = x @ given.weight.astype(np.float32) + given.bias.astype(np.float32)
    assert abs(found - by_definition(x, given)).max() < abs(plain - by_definition(x, given)).max()


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_scores_too_large_for_an_exponential(kind):
    given = solution()._replace(weight=solution().weight * 1e6)
    shares = np.asarray(probabilities(kind(draw()), given))
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(1), 1)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_spans_are_put_together(monkeypatch, kind):
    x, given = kind(draw()), solution()
    whole = class_scores(x, given)
    monkeypatch.setattr(module, "_SPAN", 7)
    np.testing.assert_allclose(class_scores(x, given), whole, atol=1e-13)
    assert class_scores(x[:0], given).shape == (0, 3)


def test_labels_are_of_the_kind_of_the_rows():
    x, given = draw(), solution()
    best = by_definition(x, given).argmax(1)
    numbers, names = np.array([10, 20, 30]), np.array(["a", "b", "c"])
    assert likeliest(x, given, numbers).tolist() == numbers[best].tolist()
    found = likeliest(torch.from_numpy(x), given, numbers)
    assert isinstance(found, torch.Tensor)
    assert found.tolist() == numbers[best].tolist()
    for rows in (x, torch.from_numpy(x)):
        found = likeliest(rows, given, names)
        assert isinstance(found, np.ndarray)
        assert found.tolist() == names[best].tolist()


def test_the_first_of_equals_is_named():
    given = AnalyticSoftmax(np.zeros((2, 3)), np.zeros(3), np.zeros(2), 2)
    for rows in (np.zeros((4, 2)), torch.zeros(4, 2)):
        assert likeliest(rows, given, np.array([7, 8, 9])).tolist() == [7] * 4


def test_no_gradient_and_no_writing():
    x = torch.from_numpy(draw()).requires_grad_()
    before = x.detach().clone()
    assert not class_scores(x, solution()).requires_grad
    assert torch.equal(x, before)


def test_another_width_is_refused():
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\); allowed: \[N, 5\]"):
        class_scores(np.zeros((2, 4)), solution())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_stays_on_the_gpu():
    x, given = torch.from_numpy(draw()).cuda(), solution()
    assert likeliest(x, given, np.array([1, 2, 3])).is_cuda
    np.testing.assert_allclose(class_scores(x, given).cpu(), by_definition(draw(), given))
