"""CoSENT: a loss on the order of cosines, of which the Spearman coefficient is made.

    L = log(1 + sum over pairs with label_i > label_j of e^(scale (cos_j - cos_i)))

Any labels that can be ordered will do, as numbers, 0 / 1 included; pairs of equal labels ask for
nothing. The sum over all pairs is formed in O(n log n): sorted by label, what lies under each item
is a running log-sum-exp, and so is what lies above it, which gives the gradient

    dL / d cos_i = scale (e^(x_i - L) sum over labels above of e^-x - e^(-x_i - L) sum over labels
    below of e^x),   x = scale cos

in the forward pass already; a second derivative is not available.

Post: https://kexue.fm/archives/8847
Axes: n pairs of texts
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kexue._check import invalid


def cosent_loss(cosines: Tensor, labels: Tensor, *, scale: float = 20.0) -> Tensor:
    """Compute the CoSENT loss of a batch of pairs of texts.

    Args:
        cosines: [n] cosine of the two vectors of each pair, any floating point.
        labels: [n] how similar the texts of each pair are: numbers of which only the order
            counts. No gradient flows to them.
        scale: the larger, the more the worst pairs count; positive.

    Returns:
        A scalar, 0 or more, float32 for half precision; 0 where no two labels differ.

    Raises:
        ValueError: if the shapes differ or are not [n], or the scale is not positive.

    Example:
        >>> cosines = torch.tensor([0.9, 0.1, 0.5])
        >>> cosent_loss(cosines, torch.tensor([5.0, 0.0, 3.2]))
        tensor(0.0007)
        >>> cosent_loss(cosines, torch.tensor([0, 1, 1]))
        tensor(16.0003)
    """
    if cosines.ndim != 1 or labels.shape != cosines.shape:
        fix = "Give one number for each pair of texts."
        given = f"{tuple(labels.shape)} for cosines {tuple(cosines.shape)}"
        raise invalid("labels", given, "[n] for cosines [n]", fix)
    if not scale > 0:
        raise invalid("scale", scale, "a positive number, as in 20.0")
    return _OrderLoss.apply(cosines, labels, scale)


class _OrderLoss(torch.autograd.Function):
    """The loss of [n] cosines, its gradient written in the forward pass."""

    @staticmethod
    def forward(ctx, cosines: Tensor, labels: Tensor, scale: float) -> Tensor:
        exact = torch.promote_types(cosines.dtype, torch.float32)
        # The search below takes numbers only.
        ordered, order = (labels.byte() if labels.dtype == torch.bool else labels).sort()
        x = cosines[order].to(exact) * scale
        first = torch.searchsorted(ordered, ordered)
        after = torch.searchsorted(ordered, ordered, right=True)
        outside = x.new_full((1,), -torch.inf)
        # below[k]: log of the sum of e^x over the k lowest; above[k]: of e^-x over all but k
        below = torch.cat((outside, x.logcumsumexp(0)))[first]
        above = torch.cat(((-x).flip(0).logcumsumexp(0).flip(0), outside))[after]
        loss = torch.cat((below - x, x.new_zeros(1))).logsumexp(0)
        slope = torch.empty_like(x)
        slope[order] = ((x + above - loss).exp() - (below - x - loss).exp()) * scale
        ctx.save_for_backward(slope.to(cosines.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * upstream, None, None
