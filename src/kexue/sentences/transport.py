"""Distances between sentences as the cost of carrying the words of one to those of the other.

    EMD(p, q, D) = min over g >= 0 of sum g_ij D_ij   with   sum_j g_ij = p_i,   sum_i g_ij = q_j
    WMD  p_i = 1 / n,       D_ij = |w_i - w'_j|           Word Mover's Distance
    WRD  p_i = |w_i| / Z,   D_ij = 1 - cos(w_i, w'_j)     Word Rotator's Distance, 0 to 2

No training, any word or token vectors, and the plan says which word was matched to which. The
values are exact and have exact gradients: the derivative by the costs is the plan, by the weights
the potentials of the dual problem. 1 - WRD serves as a similarity.

The article's code for WMD takes the mean over the features where the norm needs a sum: its values
are those here over sqrt(D).

Post: https://kexue.fm/archives/7388
Paper: https://proceedings.mlr.press/v37/kusnerb15.html (WMD) and
    https://arxiv.org/abs/2004.15003 (WRD)
Axes: N words of one sentence, M words of the other, D features of a word
"""

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from kexue._check import invalid
from kexue.sentences.transport_measures import (
    as_float64,
    make_measure,
    normalise,
    pair_costs,
    result_like,
)
from kexue.sentences.transport_solver import solve_transport


def emd(cost: Tensor | NDArray, p: Tensor | NDArray, q: Tensor | NDArray) -> Tensor | float:
    """Compute the Earth Mover's Distance between two distributions for any costs.

    Args:
        cost: [N, M] the cost of carrying a unit from point i to point j, finite.
        p: [N] weights of the points of the first, not below 0; their sum is made 1.
        q: [M] weights of the points of the second.

    Returns:
        A 0-d tensor for a tensor of costs, at least float32, with gradients by all three; a float
        for an array. Solved in float64 on the CPU.

    Raises:
        ValueError: if the shapes do not fit, or a number is not allowed.

    Example:
        >>> emd(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.ones(2), torch.tensor([3.0, 1.0]))
        tensor(0.2500)
    """
    exact = as_float64(cost)
    p, q = normalise(as_float64(p), name="p"), normalise(as_float64(q), name="q")
    if exact.shape != (len(p), len(q)):
        raise invalid(
            "cost", tuple(exact.shape), f"{(len(p), len(q))}, the numbers of weights in p and q"
        )
    if not exact.isfinite().all():
        raise invalid("cost", "NaN or infinite somewhere", "finite numbers")
    return result_like(_Transport.apply(exact, p, q), cost)


def wmd(
    x: Tensor | NDArray,
    y: Tensor | NDArray,
    *,
    x_weights: Tensor | NDArray | None = None,
    y_weights: Tensor | NDArray | None = None,
    x_mask: Tensor | NDArray | None = None,
    y_mask: Tensor | NDArray | None = None,
) -> Tensor | float:
    """Compute Word Mover's Distance between two sentences.

    Args:
        x: [N, D] the vectors of one sentence's words. A word that comes twice may be given twice,
            or once with the weight 2. Stop words are usually left out.
        y: [M, D] the vectors of the other.
        x_weights: [N] counts or other weights of the words, not below 0; None for equal ones.
        y_weights: [M] the same for `y`.
        x_mask: [N] bool, True = keep; hides padding, [CLS] and [SEP].
        y_mask: [M] the same for `y`.

    Returns:
        A 0-d tensor for tensors, at least float32, with gradients; a float for arrays. A metric:
        symmetric, 0 for the same bag of words, and with the triangle inequality.

    Raises:
        ValueError: if a sentence is empty, or a shape or a number is not allowed.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> wmd(x, x + torch.tensor([3.0, 4.0]))
        tensor(5.)
    """
    a = make_measure(x, name="x", distance="wmd", weights=x_weights, mask=x_mask)
    b = make_measure(y, name="y", distance="wmd", weights=y_weights, mask=y_mask)
    cost = pair_costs(a, b, distance="wmd")
    return result_like(_Transport.apply(cost, a.weights, b.weights), x)


def wrd(
    x: Tensor | NDArray,
    y: Tensor | NDArray,
    *,
    x_weights: Tensor | NDArray | None = None,
    y_weights: Tensor | NDArray | None = None,
    x_mask: Tensor | NDArray | None = None,
    y_mask: Tensor | NDArray | None = None,
) -> Tensor | float:
    """Compute Word Rotator's Distance between two sentences.

    Long vectors belong to words that matter, so that stop words need no list; the scale of a
    sentence changes nothing, nor does a vector cut into parallel parts.

    Args:
        x: [N, D] the vectors of one sentence's words. A vector of norm 0 takes no part.
        y: [M, D] the vectors of the other.
        x_weights: [N] counts of the words, by which the norms are multiplied; None for 1.
        y_weights: [M] the same for `y`.
        x_mask: [N] bool, True = keep; hides padding, [CLS] and [SEP].
        y_mask: [M] the same for `y`.

    Returns:
        A 0-d tensor for tensors, at least float32, with gradients; a float for arrays. 0 to 2, and
        symmetric, but no metric: 1 - cos breaks the triangle inequality.

    Raises:
        ValueError: if a sentence is empty, or a shape or a number is not allowed.

    Example:
        >>> x = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> wrd(x, torch.tensor([[7.0, 0.0]]))
        tensor(0.3333)
    """
    a = make_measure(x, name="x", distance="wrd", weights=x_weights, mask=x_mask)
    b = make_measure(y, name="y", distance="wrd", weights=y_weights, mask=y_mask)
    cost = pair_costs(a, b, distance="wrd")
    return result_like(_Transport.apply(cost, a.weights, b.weights), x)


class _Transport(torch.autograd.Function):
    """The cost of the best plan; plan and potentials are its derivatives."""

    @staticmethod
    def forward(ctx, cost: Tensor, p: Tensor, q: Tensor) -> Tensor:
        solution = solve_transport(*(t.detach().numpy() for t in (cost, p, q)))
        slopes = (solution.plan, solution.x_potentials, solution.y_potentials)
        ctx.save_for_backward(*map(torch.from_numpy, slopes))
        return cost.new_tensor(solution.cost)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(upstream * slope for slope in ctx.saved_tensors)
