"""The affine map of a whitening, read from whatever holds one.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features given, E features kept
"""

from typing import Any, NamedTuple

import numpy as np

from kexue._check import invalid
from kexue.sentences.rows import as_array


class AffineMap(NamedTuple):
    """The map x @ matrix + bias, such as a whitening.

    Attributes:
        matrix: [D, E] float64.
        bias: [E] float64.

    Example:
        >>> AffineMap(np.eye(2) * 2, np.ones(2)).apply(np.array([[1.0, 3.0]]))
        array([[3., 7.]])
    """

    matrix: np.ndarray
    bias: np.ndarray

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Map rows.

        Args:
            rows: [N, D] any real dtype.

        Returns:
            [N, E] float64: with a large mean, float32 would cancel.
        """
        return rows.astype(np.float64) @ self.matrix + self.bias


def affine_map(transform: Any, dimension: int) -> AffineMap:
    """Read a map from arrays, from a linear layer, or from what can be written as one.

    Args:
        transform: a pair (matrix [D, E], bias [E]) for x @ matrix + bias; a layer with `weight`
            [E, D] and `bias`, as `torch.nn.Linear`; a fitted `Whitening`; or another object whose
            `as_linear()` gives one of these.
        dimension: D.

    Returns:
        The map in float64.

    Raises:
        ValueError: if it is none of these, does not fit D, or is not finite.

    Example:
        >>> affine_map((np.ones((3, 2)), np.zeros(2)), 3).matrix.shape
        (3, 2)
    """
    parts = _parts(transform)
    if parts is None:
        allowed = "a pair (matrix, bias), a linear layer, or an object with as_linear()"
        raise invalid("transform", transform, allowed)
    matrix, bias = (np.asarray(as_array(part), dtype=np.float64) for part in parts)
    fits = matrix.ndim == 2 and matrix.shape[0] == dimension and bias.shape == matrix.shape[1:]
    if not fits or not matrix.size:
        allowed = f"a matrix [{dimension}, E] and a bias [E]"
        raise invalid("transform", f"{matrix.shape} and {bias.shape}", allowed)
    if not (np.isfinite(matrix).all() and np.isfinite(bias).all()):
        raise invalid("transform", "not finite", "finite numbers", "Fit it on finite vectors.")
    return AffineMap(matrix, bias)


def _parts(transform: Any) -> tuple[Any, Any] | None:
    """Give matrix and bias, or None where there are none."""
    # Of a whitening the float64 numbers, of which a layer has only the first digits.
    if hasattr(transform, "weight_") and hasattr(transform, "bias_"):
        return transform.weight_, transform.bias_
    if hasattr(transform, "as_linear"):
        transform = transform.as_linear()
    if hasattr(transform, "weight"):
        weight, bias = as_array(transform.weight), getattr(transform, "bias", None)
        return weight.T, np.zeros(len(weight)) if bias is None else bias
    pair = isinstance(transform, tuple | list) and len(transform) == 2
    return (transform[0], transform[1]) if pair else None
