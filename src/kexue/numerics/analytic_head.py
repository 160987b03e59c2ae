"""A closed-form softmax as the last layer of a model.

Post: https://kexue.fm/archives/8578
Axes: D features, C classes, K outputs
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from kexue._check import invalid
from kexue.numerics.analytic_softmax import AnalyticSoftmax
from kexue.numerics.labelled_rows import as_labels


def arrange_head(
    solution: AnalyticSoftmax, classes: np.ndarray, outputs: Sequence | np.ndarray, unseen: float
) -> AnalyticSoftmax:
    """Put the classes into the order of a layer's outputs.

    Args:
        solution: weights for the classes that have been seen.
        classes: [C] which these are.
        outputs: [K] what the outputs stand for. A class that has not been seen gets a weight of 0,
            as one would whose mean is the average of all.
        unseen: prior of such a class, above 0.

    Returns:
        The same map with an output for each of `outputs`.

    Raises:
        ValueError: if a class that has been seen is missing, or one is there twice.

    Example:
        >>> solution = AnalyticSoftmax(np.array([[1.0, 2.0]]), np.zeros(2), np.zeros(1), 1)
        >>> arrange_head(solution, np.array([0, 2]), [2, 1, 0], 0.5).weight
        array([[2., 0., 1.]])
    """
    wanted = as_labels(outputs, len(outputs))
    missing = sorted(set(classes.tolist()) - set(wanted.tolist()))
    if missing or len(set(wanted.tolist())) < len(wanted):
        fix = f"{missing[0]!r} is missing." if missing else "One is there twice."
        raise invalid("classes", wanted.tolist(), "each class once", fix)
    weight, bias = np.zeros((len(solution.weight), len(wanted))), np.full(len(wanted), unseen)
    bias = np.log(bias)
    for column, label in enumerate(wanted):
        if label in classes:
            place = int(np.searchsorted(classes, label))
            weight[:, column], bias[column] = solution.weight[:, place], solution.bias[place]
    return solution._replace(weight=weight, bias=bias)


@torch.no_grad()
def fill_layer(layer: nn.Linear, head: AnalyticSoftmax) -> nn.Linear:
    """Write weights and biases into a layer.

    Args:
        layer: from D features to K outputs; or to one, for two classes, which then is what the
            second is ahead of the first, the logit of logistic regression.
        head: K classes in the order of the outputs.

    Returns:
        The layer that was given.

    Raises:
        ValueError: if it has other sizes, or no bias.

    Example:
        >>> head = AnalyticSoftmax(np.array([[1.0, 2.0]]), np.array([0.0, 5.0]), np.zeros(1), 1)
        >>> fill_layer(nn.Linear(1, 1), head)(torch.ones(1, 1)).item()
        6.0
    """
    weight, bias = head.weight.T, head.bias
    if layer.out_features == 1 and len(bias) == 2:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    if layer.weight.shape != weight.shape or layer.bias is None:
        given = f"{layer}" if layer.bias is not None else f"{layer}, without a bias"
        allowed = f"nn.Linear({weight.shape[1]}, {len(bias)})"
        raise invalid("layer", given, allowed)
    layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
    layer.bias.copy_(torch.from_numpy(bias))
    return layer
