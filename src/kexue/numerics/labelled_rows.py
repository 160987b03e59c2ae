"""Rows with labels: checked, and the labels turned into numbers.

Post: https://kexue.fm/archives/8578
Axes: N rows, D features, C classes
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kexue._check import invalid

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Labelled(NamedTuple):
    """Labels and weights that fit a matrix.

    Attributes:
        classes: [C] the labels that occur, sorted.
        codes: [N] which of them each row has.
        roots: [N] float64, roots of the weights of rows; None where every row counts once.

    Example:
        >>> Labelled(np.array([7]), np.zeros(2, int), None).classes
        array([7])
    """

    classes: np.ndarray
    codes: np.ndarray
    roots: np.ndarray | None


def check_labelled(
    x: np.ndarray | Tensor,
    y: np.ndarray | Tensor | Sequence,
    sample_weight: np.ndarray | Tensor | Sequence | None,
    width: int | None,
) -> Labelled:
    """Check rows, labels and weights against each other.

    Args:
        x: what is to be [N, D].
        y: what is to be [N] whole numbers or strings.
        sample_weight: what is to be [N] finite numbers from 0 up, or None.
        width: D, or None where any number of features will do.

    Returns:
        The labels, as numbers.

    Raises:
        ValueError: if something does not fit.

    Example:
        >>> check_labelled(np.zeros((3, 2)), ["b", "a", "b"], None, None).codes
        array([1, 0, 1])
    """
    check_features(x, width)
    classes, codes = np.unique(as_labels(y, len(x)), return_inverse=True)
    return Labelled(classes, codes, _roots(sample_weight, len(x)))


def check_features(x: np.ndarray | Tensor, width: int | None) -> None:
    """Refuse what is not a matrix of floating-point numbers.

    Args:
        x: what was given.
        width: D, or None where any number of features will do.

    Raises:
        ValueError: if it is no array or tensor, has another shape, or holds other numbers.

    Example:
        >>> check_features(np.zeros(3), None)
        Traceback (most recent call last):
        ValueError: x has shape (3,); allowed: [N, D]. Write x[None] for a single row.
    """
    if not isinstance(x, np.ndarray | Tensor):
        fix = "Write np.asarray(x, np.float32) for a list."
        raise invalid("x", type(x), "a numpy array or a torch tensor", fix)
    if x.ndim != 2 or x.shape[1] != (width or x.shape[1]) or not x.shape[1]:
        fix = "Write x[None] for a single row." if x.ndim == 1 else ""
        message = f"x has shape {tuple(x.shape)}; allowed: [N, {width or 'D'}]. {fix}"
        raise ValueError(message.strip())
    if dtype_name(x) not in _FLOATS:
        fix = "Convert it to float32 first."
        raise invalid("the dtype of x", dtype_name(x), ", ".join(_FLOATS), fix)


def dtype_name(x: np.ndarray | Tensor) -> str:
    """Name the dtype of an array or a tensor alike.

    Args:
        x: either.

    Returns:
        The name.

    Example:
        >>> dtype_name(torch.zeros(1)) == dtype_name(np.zeros(1, np.float32)) == "float32"
        True
    """
    return str(x.dtype).removeprefix("torch.")


def as_labels(y: np.ndarray | Tensor | Sequence, count: int) -> np.ndarray:
    """Make an array of labels.

    Args:
        y: whole numbers, truth values or strings.
        count: N, how many there must be.

    Returns:
        [N] int64 or strings.

    Raises:
        ValueError: if they are of another kind or number.

    Example:
        >>> as_labels(torch.tensor([True, False]), 2)
        array([1, 0])
    """
    labels = y.numpy(force=True) if isinstance(y, Tensor) else np.asarray(y)
    if labels.shape != (count,):
        raise invalid("the shape of y", labels.shape, f"({count},), a label for each row of x")
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        labels = labels.astype(np.str_)
    if labels.dtype.kind in "biu":
        return labels.astype(np.int64)
    if labels.dtype.kind != "U":
        fix = "Write y.astype(int) if they are numbers of classes."
        raise invalid("the dtype of y", labels.dtype.name, "whole numbers or strings", fix)
    return labels


def merge_classes(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Unite two sorted arrays of labels.

    Args:
        one: [C] labels.
        two: [C'] labels of the same kind.

    Returns:
        All of them, sorted.

    Raises:
        ValueError: if one holds numbers and the other strings.

    Example:
        >>> merge_classes(np.array([0, 2]), np.array([1, 2]))
        array([0, 1, 2])
    """
    if one.dtype.kind != two.dtype.kind:
        kinds = {"i": "whole numbers", "U": "strings"}
        allowed = f"{kinds[one.dtype.kind]}, as the labels before"
        raise invalid("the labels", two[:3].tolist(), allowed)
    return np.union1d(one, two)


def refuse_not_finite(x: np.ndarray | Tensor, first: int) -> None:
    """Refuse a matrix that holds NaN or infinity.

    Args:
        x: [N, D] rows.
        first: what the first of them is called in the message.

    Raises:
        ValueError: if there is such a row, which it names.

    Example:
        >>> refuse_not_finite(np.array([[1.0], [np.nan]]), 6)
        Traceback (most recent call last):
        ValueError: x[7] holds NaN or infinity; allowed: finite numbers. ...
    """
    finite = torch.isfinite(x) if isinstance(x, Tensor) else np.isfinite(x)
    finite = finite.all(1).tolist()
    if not all(finite):
        fix = "Leave it out, or see why the encoder gave it; half precision is the usual reason."
        row = first + finite.index(False)
        raise ValueError(f"x[{row}] holds NaN or infinity; allowed: finite numbers. {fix}")


def _roots(weights: np.ndarray | Tensor | Sequence | None, count: int) -> np.ndarray | None:
    if weights is None:
        return None
    weights = weights.numpy(force=True) if isinstance(weights, Tensor) else np.asarray(weights)
    if weights.shape != (count,):
        allowed = f"({count},), a weight for each row of x"
        raise invalid("the shape of sample_weight", weights.shape, allowed)
    weights = weights.astype(np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise invalid("sample_weight", weights.min(), "finite numbers, 0 or more")
    return np.sqrt(weights)
