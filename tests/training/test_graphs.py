import torch
from torch import nn

from kexue.training.graphs import nodes_of


def test_each_node_comes_once_and_all_leaves_are_among_them():
    layer, x = nn.Linear(3, 3), torch.rand(2, 3, requires_grad=True)
    y = layer(x)
    nodes = list(nodes_of((y * y + y.sum()).exp()))
    assert len(nodes) == len(set(nodes))
    leaves = {id(node.variable) for node in nodes if hasattr(node, "variable")}
    assert leaves == {id(x), id(layer.weight), id(layer.bias)}


def test_a_deep_graph_with_shared_parts_ends():
    x = torch.rand(2, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y + y
    assert len(list(nodes_of(y))) == 3001


def test_no_graph_has_no_nodes():
    assert list(nodes_of(torch.rand(2))) == []
    assert list(nodes_of(torch.rand(2, requires_grad=True))) == []
