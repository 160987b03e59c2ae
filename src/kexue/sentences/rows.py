"""Vectors as rows of an array: checked, and of length one.

Post: https://kexue.fm/archives/8069
Axes: N vectors, D features
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from kexue._check import invalid


def whole_number(name: str, value: Any) -> int:
    """Check a number of things.

    Args:
        name: of the argument, for the error.
        value: a whole number of at least 1, of Python or of numpy.

    Returns:
        The number.

    Raises:
        ValueError: if it is none.

    Example:
        >>> whole_number("k", 0)
        Traceback (most recent call last):
        ValueError: k is 0; allowed: a whole number of at least 1.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise invalid(name, value, "a whole number of at least 1")
    return number


def as_array(given: Any) -> np.ndarray:
    """Give a tensor, an array, a memory map or a list as an array, without a copy where possible.

    Args:
        given: the values.

    Returns:
        The array; tensors of half precision become float32, which numpy can hold.

    Example:
        >>> as_array([[1, 2]]).shape
        (1, 2)
    """
    if hasattr(given, "detach"):
        tensor = given.detach().cpu()
        given = (tensor.float() if tensor.element_size() == 2 else tensor).numpy()
    return np.asarray(given)


def as_rows(vectors: Any, dimension: int) -> np.ndarray:
    """Check that vectors are real rows of one width.

    Args:
        vectors: [N, D] array, memory map, tensor or list of lists.
        dimension: D.

    Returns:
        [N, D] the array.

    Raises:
        ValueError: if the shape is another or the values are no real numbers.

    Example:
        >>> as_rows(np.zeros(3), 3)
        Traceback (most recent call last):
        ValueError: vectors is of shape (3,); allowed: shape [N, 3]. Write vectors[None] ...
    """
    rows = as_array(vectors)
    if rows.size == 0 and rows.ndim < 2:
        return np.zeros((0, dimension), dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        fix = "Write vectors[None] for a single vector." if rows.shape == (dimension,) else ""
        raise ValueError(
            f"vectors is of shape {rows.shape}; allowed: shape [N, {dimension}]. {fix}".rstrip()
        )
    if rows.dtype.kind not in "fiu":
        raise invalid("vectors", rows.dtype.name, "real numbers")
    return rows


def refuse_not_finite(rows: np.ndarray, numbers: Sequence[int]) -> None:
    """Name the first row that holds NaN or infinity.

    Args:
        rows: [N, D] the rows.
        numbers: [N] what they are called in the message.

    Raises:
        ValueError: if there is one.

    Example:
        >>> refuse_not_finite(np.array([[1.0], [np.nan]]), [6, 7])
        Traceback (most recent call last):
        ValueError: vectors[7] holds NaN or infinity. ...
    """
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise ValueError(
            f"vectors[{numbers[int(bad.argmax())]}] holds NaN or infinity. Leave the text out, or "
            "look at the model: a mask with no tokens and half precision are the usual reasons."
        )


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Divide each row by its length; a row of zeros stays one, and has the cosine 0 with all.

    Args:
        rows: [N, D] finite.

    Returns:
        [N, D] float64.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    wide = rows.astype(np.float64)
    # By the largest value first: squares of large and of tiny numbers leave the range.
    largest = np.abs(wide).max(axis=1, keepdims=True)
    wide /= np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(length > 0, length, 1.0)
