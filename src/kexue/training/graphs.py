"""Look at the graph that a result has for its backward pass."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def nodes_of(result: Tensor) -> Iterator[Any]:
    """Walk the graph of a result.

    Args:
        result: a tensor, with or without a graph.

    Yields:
        Each node once; those of the leaves have their tensor as `variable`.

    Example:
        >>> import torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> [node.name() for node in nodes_of(x.exp())]
        ['ExpBackward0', 'torch::autograd::AccumulateGrad']
    """
    todo, seen = [result.grad_fn], {None}
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            yield node
            todo.extend(following for following, _ in node.next_functions)
