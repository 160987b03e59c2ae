"""A smooth transport cost for batches and for training: entropy makes it a fixed point of products.

    W(p, q, D) = min over g of sum g_ij D_ij + T KL(g | p q^T)
    f_i = -T log sum_j q_j exp((g_j - D_ij) / T),   g_j = -T log sum_i p_i exp((f_i - D_ij) / T)
    EMD <= W <= EMD + T min(H(p), H(q))

Unlike the exact value it has one gradient everywhere, runs on a GPU and takes a whole batch at
once; all in logarithms, so that a small T costs iterations and not digits. The derivatives by D, p
and q are the plan and the potentials f and g at the fixed point, so that no iteration is kept for
the backward pass. A second derivative is not available.

Post: https://kexue.fm/archives/7388
Paper: https://arxiv.org/abs/1306.0895
Axes: N points of the first distribution, M points of the second, "..." any batch axes
"""

import warnings

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kexue._check import invalid


def sinkhorn(
    cost: Tensor,
    p: Tensor,
    q: Tensor,
    *,
    temperature: float = 0.05,
    iterations: int = 1000,
    tolerance: float = 1e-4,
) -> Tensor:
    """Compute the transport cost with entropy between the distributions of a batch.

    Args:
        cost: [..., N, M] what it costs to carry a unit, such as `torch.cdist(x, y)`.
        p: [..., N] weights, not below 0; their sum is made 1. Padding has the weight 0, and its
            costs may be anything.
        q: [..., M] the same for the other side.
        temperature: T, in the unit of the costs; the smaller, the nearer to the exact value and the
            more iterations. A twentieth of the greatest cost is usual.
        iterations: at most so many.
        tolerance: stop when the weights that the plan gives are off by less in total.

    Returns:
        [...] costs, at least float32.

    Raises:
        ValueError: if the shapes do not fit or a weight or an option is not allowed.

    Example:
        >>> cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> sinkhorn(cost, torch.ones(1, 2), torch.tensor([[3.0, 1.0]])).round(decimals=3)
        tensor([0.2610])
    """
    if temperature <= 0:
        raise invalid("temperature", temperature, "a positive number, in the unit of the costs")
    if iterations < 1:
        raise invalid("iterations", iterations, "1 or more")
    if (*p.shape, q.shape[-1]) != cost.shape or (*q.shape[:-1], *p.shape[-1:]) != cost.shape[:-1]:
        raise invalid("cost", tuple(cost.shape), f"p {tuple(p.shape)} by q {tuple(q.shape)}")
    dtype = torch.promote_types(cost.dtype, torch.float32)
    p, q = (_normalise(weights.to(dtype), name) for weights, name in ((p, "p"), (q, "q")))
    absent = (p == 0).unsqueeze(-1) | (q == 0).unsqueeze(-2)
    cost = cost.to(dtype).masked_fill(absent, 0)
    return _Sinkhorn.apply(cost, p, q, temperature, iterations, tolerance)


def _normalise(weights: Tensor, name: str) -> Tensor:
    total = weights.sum(-1, keepdim=True)
    if not weights.isfinite().all() or (weights < 0).any() or (total == 0).any():
        fix = "Leave empty texts out of the batch."
        raise invalid(name, weights.tolist(), "finite weights, none below 0, not all 0", fix)
    return weights / total


class _Sinkhorn(torch.autograd.Function):
    """The value at the fixed point; plan and potentials are its derivatives."""

    @staticmethod
    def forward(ctx, cost: Tensor, p: Tensor, q: Tensor, temperature, iterations, tolerance):
        kernel, log_p, log_q = -cost / temperature, p.log(), q.log()
        g = torch.zeros_like(q)
        for count in range(1, iterations + 1):
            # Potentials over the temperature.
            f = -(kernel + (g + log_q).unsqueeze(-2)).logsumexp(-1)
            towards_q = (kernel + (f + log_p).unsqueeze(-1)).logsumexp(-2)
            # Every row gives what it should by now; a column receives q exp(g + towards_q).
            if count % 10 == 0 or count == iterations:
                off = (q * (g + towards_q).expm1()).abs().sum(-1).max().item()
                if off < tolerance:
                    break
            g = -towards_q
        else:
            warnings.warn(
                f"The plan's weights are still off by {off:.1e} after {iterations} iterations: "
                f"raise iterations=, or temperature= above {temperature}.",
                stacklevel=3,
            )
        absent = (p == 0).unsqueeze(-1) | (q == 0).unsqueeze(-2)
        exponents = kernel + (f + log_p).unsqueeze(-1) + (g + log_q).unsqueeze(-2)
        plan = exponents.masked_fill(absent, -torch.inf).exp()
        f, g = temperature * f, temperature * g
        ctx.save_for_backward(plan, f, g)
        return (f * p).sum(-1) + (g * q).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        plan, f, g = ctx.saved_tensors
        share = upstream.unsqueeze(-1)
        return share.unsqueeze(-1) * plan, share * f, share * g, None, None, None
