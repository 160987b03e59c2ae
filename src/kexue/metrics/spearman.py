"""Spearman's rank correlation: how well one list of scores orders what another one orders.

    rho = Pearson correlation of the ranks, equal values sharing the average of their ranks

It is what similarities of texts are judged by: only their order counts, not their scale.
"""

from collections.abc import Sequence

import numpy as np
import torch

from kexue._check import invalid

Numbers = Sequence[float] | np.ndarray | torch.Tensor


def spearman(x: Numbers, y: Numbers) -> float:
    """Compute Spearman's rank correlation of two lists of numbers.

    Args:
        x: n numbers: a sequence, an array or a tensor, of any device and precision.
        y: n numbers.

    Returns:
        -1 to 1; 1 where both have the same order, ties included. nan where there is nothing to
        order, because one list is constant or has fewer than two numbers: a 0 would pass for a
        measurement.

    Raises:
        ValueError: if the lists are not equally long, or a number is nan.

    Example:
        >>> round(spearman([0.1, 0.9, 0.5, 0.7], [0, 5, 3, 3]), 4)
        0.9487
        >>> spearman([1, 2, 3], [7, 7, 7])
        nan
    """
    first, second = average_ranks(x), average_ranks(y)
    if len(first) != len(second):
        raise invalid("y", f"{len(second)} numbers", f"{len(first)}, one for each of x")
    # The mean of ranks 1 to n, whatever the ties
    middle = (len(first) + 1) / 2
    first, second = first - middle, second - middle
    size = np.sqrt((first @ first) * (second @ second))
    return float(np.clip(first @ second / size, -1, 1)) if size > 0 else float("nan")


def average_ranks(x: Numbers) -> np.ndarray:
    """Rank numbers from 1, the smallest, to n; equal numbers share the average of their ranks.

    Args:
        x: n numbers: a sequence, an array or a tensor. Infinite ones are ranked too.

    Returns:
        [n] ranks in float64.

    Raises:
        ValueError: if `x` is not a plain list of numbers, or one of them is nan.

    Example:
        >>> average_ranks([30, 10, 10, 20])
        array([4. , 1.5, 1.5, 3. ])
    """
    if isinstance(x, torch.Tensor):
        # numpy has no bfloat16
        x = x.detach().cpu()
        x = (x.double() if x.is_floating_point() else x).numpy()
    values = np.asarray(x)
    if values.ndim != 1:
        raise invalid("the shape of the numbers", values.shape, "(n,)", "Flatten them.")
    if values.dtype.kind == "f" and np.isnan(values).any():
        place = int(np.isnan(values).argmax())
        fix = "It has no rank: find out why the model gave it."
        raise invalid(f"number {place}", "nan", "numbers", fix)
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return (sizes.cumsum() - (sizes - 1) / 2)[group]
