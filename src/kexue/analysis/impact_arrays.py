"""Impacts as arrays, wherever they come from.

Post: https://kexue.fm/archives/7476
Axes: N units of a text
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from kexue._check import invalid


def square_array(impact: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
    """Copy an impact matrix to an array, with zeros on the diagonal.

    Args:
        impact: [N, N] a tensor of any kind and device, an array or nested lists.

    Returns:
        [N, N] a copy.

    Raises:
        ValueError: if it is not square, empty, or has numbers that are not finite.

    Example:
        >>> square_array(torch.ones(2, 2))
        array([[0., 1.],
               [1., 0.]])
    """
    if isinstance(impact, torch.Tensor):
        # NumPy knows neither GPUs nor bfloat16.
        impact = impact.detach().double().cpu().numpy()
    matrix = np.array(impact, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise invalid("impact", matrix.shape, "a square matrix of at least one word")
    np.fill_diagonal(matrix, 0)
    if not np.isfinite(matrix).all():
        raise invalid("impact", "a matrix with NaN or infinity", "finite numbers")
    return matrix
