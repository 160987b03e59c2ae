import pytest
import torch
from torch import nn

from kexue.training.batch_statistics import uses_batch_statistics


def result(layer, *shape):
    """What a layer deep in a function gives, with something learning before and after it."""
    width = shape[1]
    before, after = nn.Linear(shape[-1], shape[-1]), nn.Parameter(torch.ones(width))
    y = layer(before(torch.rand(shape)))
    return (y.flatten(2).mean(2) if y.ndim > 2 else y) * after


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(4), (3, 4)),
        (nn.BatchNorm1d(4, affine=False), (3, 4)),
        (nn.BatchNorm1d(4), (3, 4, 7)),
        (nn.BatchNorm2d(4), (3, 4, 5, 5)),
        (nn.BatchNorm1d(4, track_running_stats=False).eval(), (3, 4)),
        (nn.Sequential(nn.LayerNorm(4), nn.Sequential(nn.BatchNorm1d(4))), (3, 4)),
    ],
    ids=str,
)
def test_statistics_of_the_batch_are_found(layer, shape):
    assert uses_batch_statistics(result(layer, *shape))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(4).eval(), (3, 4)),
        (nn.BatchNorm2d(4).eval(), (3, 4, 5, 5)),
        (nn.SyncBatchNorm(4).eval(), (3, 4)),
        (nn.InstanceNorm1d(4), (3, 4, 7)),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (3, 4, 5, 5)),
        (nn.GroupNorm(2, 4), (3, 4)),
        (nn.LayerNorm(4), (3, 4)),
    ],
    ids=str,
)
def test_statistics_of_each_text_and_frozen_ones_pass(layer, shape):
    assert not uses_batch_statistics(result(layer, *shape))


def test_what_they_stand_for():
    """Texts of a batch change each other's vectors where it is True, and only there."""
    for layer, differs in ((nn.BatchNorm1d(4), True), (nn.LayerNorm(4), False)):
        x = torch.rand(6, 4, requires_grad=True)
        assert uses_batch_statistics(layer(x)) == differs
        assert torch.allclose(layer(x)[:3], layer(x[:3]), atol=1e-6) != differs


def test_a_result_without_a_graph_has_none():
    with torch.no_grad():
        assert not uses_batch_statistics(nn.BatchNorm1d(4)(torch.rand(3, 4)))
