"""Find normalisation over the batch in what a function computed, whoever wrote the function.

A chunk has other means and variances than the batch it was cut from, so that a model which uses
them cannot be computed in chunks. The graph of a result shows it, however the model is hidden.
"""

from typing import Any

from torch import Tensor

from kexue.training.graphs import nodes_of


def uses_batch_statistics(result: Tensor) -> bool:
    """Tell whether BatchNorm in training mode took part in a result.

    Args:
        result: with its graph, before anything went backwards through it.

    Returns:
        True where a mean over several texts was taken off. What torch.compile fused is not seen.

    Example:
        >>> import torch
        >>> x = torch.rand(3, 4, requires_grad=True)
        >>> layer = torch.nn.BatchNorm1d(4)
        >>> uses_batch_statistics(layer(x)), uses_batch_statistics(layer.eval()(x))
        (True, False)
    """
    return any(map(_is_over_batch, nodes_of(result)))


def _is_over_batch(node: Any) -> bool:
    name = node.name()
    if (
        "BatchNorm" not in name
        or "NoTraining" in name
        or not getattr(node, "_saved_training", True)
    ):
        return False
    # InstanceNorm runs through the same kernel, with all texts laid out as one.
    x = getattr(node, "_saved_input", None)
    return x is None or len(x) > 1
