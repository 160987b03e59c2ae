import numpy as np
import pytest
import torch
from torch import nn

from kexue.numerics.analytic_head import arrange_head, fill_layer
from kexue.numerics.analytic_softmax import AnalyticSoftmax


def head(features=4, classes=3):
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(features, classes)), random.normal(size=classes)
    return AnalyticSoftmax(weight, bias, np.zeros(features), features)


def test_a_layer_computes_the_scores():
    x, given = torch.randn(6, 4, dtype=torch.float64), head()
    layer = nn.Linear(4, 3, dtype=torch.float64)
    assert fill_layer(layer, given) is layer
    expected = x.numpy() @ given.weight + given.bias
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-12)
    assert layer.weight.requires_grad
    assert layer.weight.grad_fn is None


def test_a_layer_with_one_output_computes_the_logit():
    x, given = torch.randn(6, 4), head(classes=2)
    one, two = fill_layer(nn.Linear(4, 1), given), fill_layer(nn.Linear(4, 2), given)
    scores = two(x)
    torch.testing.assert_close(one(x)[:, 0], scores[:, 1] - scores[:, 0])
    torch.testing.assert_close(one(x)[:, 0].sigmoid(), scores.softmax(1)[:, 1])


@pytest.mark.parametrize(
    "layer", [nn.Linear(4, 2), nn.Linear(5, 3), nn.Linear(4, 1), nn.Linear(4, 3, bias=False)]
)
def test_a_layer_that_does_not_fit_is_refused(layer):
    before = layer.weight.clone()
    with pytest.raises(ValueError, match=r"layer is .*; allowed: nn.Linear\(4, 3\)"):
        fill_layer(layer, head())
    assert torch.equal(layer.weight, before)


def test_outputs_are_put_into_order():
    given, classes = head(), np.array([2, 5, 9])
    found = arrange_head(given, classes, [9, 2, 5], 0.1)
    np.testing.assert_array_equal(found.weight, given.weight[:, [2, 0, 1]])
    np.testing.assert_array_equal(found.bias, given.bias[[2, 0, 1]])
    same = arrange_head(given, np.array(["a", "b", "c"]), ["a", "b", "c"], 0.1)
    np.testing.assert_array_equal(same.weight, given.weight)


def test_a_class_that_was_not_seen_is_one_in_the_middle():
    found = arrange_head(head(), np.array([2, 5, 9]), [0, 2, 5, 9], 0.01)
    assert (found.weight[:, 0] == 0).all()
    assert found.bias[0] == np.log(0.01)
    np.testing.assert_array_equal(found.weight[:, 1:], head().weight)


@pytest.mark.parametrize("outputs", [[2, 5], [0, 1, 2], [2, 5, 9, 9]])
def test_each_class_once(outputs):
    with pytest.raises(ValueError, match=r"classes is .*; allowed: each class once"):
        arrange_head(head(), np.array([2, 5, 9]), outputs, 0.1)
