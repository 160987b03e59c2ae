"""Sentences as weighted points: what Word Mover's and Word Rotator's Distance carry, and its cost.

    WMD  points w_i, weights 1 / n,           cost |w - w'|
    WRD  points w_i / |w_i|, weights |w_i|/Z, cost 1 - cos(w, w') = |w/|w| - w'/|w'||^2 / 2

The cost of WRD is computed by its second form, which loses no digits where words are alike.

Post: https://kexue.fm/archives/7388
Paper: https://proceedings.mlr.press/v37/kusnerb15.html (WMD) and
    https://arxiv.org/abs/2004.15003 (WRD)
Axes: N words of one sentence, M words of the other, D features of a word
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kexue._check import invalid


class Measure(NamedTuple):
    """Weighted points, on the CPU and in float64.

    Attributes:
        points: [N, D].
        weights: [N], sum 1; 0 for what is masked.

    Example:
        >>> Measure(torch.zeros(1, 2), torch.ones(1)).weights
        tensor([1.])
    """

    points: Tensor
    weights: Tensor


def make_measure(
    vectors: Tensor | NDArray,
    *,
    name: str,
    distance: str,
    weights: Tensor | NDArray | None = None,
    mask: Tensor | NDArray | None = None,
) -> Measure:
    """Turn the vectors of a sentence's words into weighted points.

    Args:
        vectors: [N, D] one vector a word.
        name: what messages call the vectors.
        distance: "wmd" or "wrd".
        weights: [N] counts or other weights of the words, not below 0; None for equal ones. WRD
            multiplies them by the norms.
        mask: [N] bool, True = keep. What is masked may hold anything.

    Returns:
        The points and their weights; gradients flow through both.

    Raises:
        ValueError: if there is nothing to carry, or a shape or a number is not allowed.

    Example:
        >>> make_measure(np.array([[3.0, 4.0], [0.0, 1.0]]), name="x", distance="wrd").weights
        tensor([0.8333, 0.1667], dtype=torch.float64)
    """
    if distance not in ("wmd", "wrd"):
        raise invalid("distance", distance, "'wmd' (Euclidean) or 'wrd' (angles and norms)")
    vectors = as_float64(vectors)
    if vectors.ndim != 2:
        raise invalid(name, tuple(vectors.shape), "the shape (words, features)")
    if mask is not None:
        mask = torch.as_tensor(mask, device="cpu", dtype=torch.bool)
        _check_length(f"{name}_mask", mask, vectors)
        vectors = vectors.masked_fill(~mask.unsqueeze(-1), 0)
    if not vectors.isfinite().all():
        raise invalid(name, "NaN or infinite somewhere", "finite numbers")
    if weights is None:
        weights = vectors.new_ones(len(vectors))
    else:
        weights = as_float64(weights)
        _check_length(f"{name}_weights", weights, vectors)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0)
    if distance == "wrd":
        norms = vectors.norm(dim=-1)
        weights = weights * norms
        vectors = vectors / norms.where(norms > 0, 1).unsqueeze(-1)
    return Measure(vectors, normalise(weights, name=name))


def normalise(weights: Tensor, *, name: str) -> Tensor:
    """Make weights sum to 1.

    Args:
        weights: [N] float64.
        name: what messages call the words that they belong to.

    Returns:
        [N] the weights over their sum.

    Raises:
        ValueError: if the sum is 0, or a weight is below 0 or no number.

    Example:
        >>> normalise(torch.tensor([1.0, 3.0]), name="x")
        tensor([0.2500, 0.7500])
    """
    if not weights.isfinite().all() or (weights < 0).any():
        raise invalid(f"weights of {name}", weights.tolist(), "finite numbers, none below 0")
    total = weights.sum()
    if total == 0:
        raise invalid(
            name,
            f"empty: {len(weights)} words with the total weight 0",
            "at least one word that has weight and is not masked; for 'wrd', with a vector not 0",
            "Leave sentences without a known word out.",
        )
    return weights / total


def pair_costs(x: Measure, y: Measure, *, distance: str) -> Tensor:
    """Compute what it costs to carry a unit from each point of `x` to each of `y`.

    Args:
        x: the first sentence.
        y: the second sentence.
        distance: "wmd" or "wrd", as the sentences were made for.

    Returns:
        [N, M] float64, exactly 0 between equal points.

    Raises:
        ValueError: if the vectors differ in width.

    Example:
        >>> x, y = (make_measure(np.array([v]), name="x", distance="wrd") for v in ([2, 0], [0, 3]))
        >>> pair_costs(x, y, distance="wrd")
        tensor([[1.0000]], dtype=torch.float64)
    """
    if x.points.shape[-1] != y.points.shape[-1]:
        raise invalid("y", tuple(y.points.shape), f"{x.points.shape[-1]} features, as x has")
    # The way through a matrix product loses the digits of small distances.
    apart = torch.cdist(x.points, y.points, compute_mode="donot_use_mm_for_euclid_dist")
    return apart if distance == "wmd" else apart.square() / 2


def as_float64(given: Any) -> Tensor:
    """Bring numbers to the CPU in float64.

    Args:
        given: a tensor, whose gradient is kept, or whatever numpy makes an array of.

    Returns:
        A tensor of the same shape.

    Example:
        >>> as_float64([1, 2])
        tensor([1., 2.], dtype=torch.float64)
    """
    if isinstance(given, Tensor):
        return given.to("cpu", torch.float64)
    return torch.from_numpy(np.array(given, dtype=np.float64, order="C"))


def result_like(value: Tensor, given: Tensor | NDArray) -> Tensor | float:
    """Give a distance in the kind that the vectors came in.

    Args:
        value: 0-d float64.
        given: the vectors.

    Returns:
        A 0-d tensor beside a tensor, in its precision but at least float32; a float otherwise.

    Example:
        >>> result_like(torch.tensor(0.5), np.zeros(1))
        0.5
    """
    if not isinstance(given, Tensor):
        return value.item()
    return value.to(given.device, torch.promote_types(given.dtype, torch.float32))


def _check_length(name: str, given: Tensor, vectors: Tensor) -> None:
    if given.shape != vectors.shape[:1]:
        raise invalid(name, tuple(given.shape), f"one number a word: the shape ({len(vectors)},)")
