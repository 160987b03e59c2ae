"""Multi-label softmax loss: softmax cross-entropy for any number of right answers, threshold 0.

    L = log(1 + sum over negatives of e^s) + log(1 + sum over positives of e^-s)

The optimum puts every positive above 0 and every negative below it, without a class weight, however
few the positives are; the probability of a class is sigmoid(2 s), not sigmoid(s). The positives are
taken out of the negative sum before it is formed (never subtracted from it), so the value is exact
at any size of the scores. The gradient is written in the forward pass with one exponential an
element; a second derivative is not available.

Post: https://kexue.fm/archives/7359, https://kexue.fm/archives/9064 (soft labels) and
    https://kexue.fm/archives/8888 (index form)
Paper: https://arxiv.org/abs/2208.02955 (ZLPR), equation 6
Axes: N rows ("..." flattened), C classes, K positives of a row, P positives in all
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kexue._check import invalid

# Rows are worked on in blocks that stay in a core's cache; a GPU wants few large kernels instead.
_CPU_BLOCK = 2**17
_GPU_BLOCK = 2**26


def multilabel_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Compute the multi-label softmax loss of each row.

    Args:
        scores: [..., C] logits s; a class with score -inf does not exist and is left out.
        targets: [..., C]; bool or integer 0 / 1 for hard labels, or floating point in [0, 1] for
            soft labels t, where the optimum is t = sigmoid(2 s). No gradient flows to them.

    Returns:
        [...] non-negative losses, float32 for half precision scores. Take the mean, or the sum.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> scores = torch.tensor([[4.0, -4.0, -4.0]])
        >>> multilabel_loss(scores, torch.tensor([[True, False, False]]))
        tensor([0.0541])
        >>> multilabel_loss(scores, torch.tensor([[0.9, 0.1, 0.0]]))
        tensor([3.7391])
    """
    if scores.shape != targets.shape:
        raise invalid("targets", tuple(targets.shape), f"the shape of scores {tuple(scores.shape)}")
    if targets.is_floating_point():
        return _soft_loss(scores, targets.detach())
    flat = scores.reshape(-1, scores.shape[-1])
    rows, columns = _hard_positives(targets.reshape(flat.shape))
    return _IndexLoss.apply(flat, rows, columns).reshape(scores.shape[:-1])


def sparse_multilabel_loss(scores: Tensor, positives: Tensor) -> Tensor:
    """Compute the multi-label softmax loss from the indices of the positives.

    Args:
        scores: [..., C] logits; a class with score -inf does not exist and is left out.
        positives: [..., K] integer indices of the positive classes, padded with -1. An index given
            twice counts once.

    Returns:
        [...] the same values as `multilabel_loss` with the multi-hot form of `positives`.

    Raises:
        ValueError: if the leading shapes differ or an index is outside [-1, C).

    Example:
        >>> scores = torch.tensor([[4.0, -4.0, -4.0], [-4.0, -4.0, -4.0]])
        >>> sparse_multilabel_loss(scores, torch.tensor([[0, -1], [-1, -1]]))
        tensor([0.0541, 0.0535])
    """
    if scores.shape[:-1] != positives.shape[:-1]:
        raise invalid(
            "positives", tuple(positives.shape), f"the leading axes {tuple(scores.shape[:-1])}"
        )
    classes = scores.shape[-1]
    if positives.numel() and (positives.max() >= classes or positives.min() < -1):
        raise invalid(
            "positives",
            f"{positives.min().item()} to {positives.max().item()}",
            f"-1 (padding) to {classes - 1}",
        )
    flat = scores.reshape(-1, classes)
    index = positives.reshape(flat.shape[0], -1).sort(dim=-1).values
    keep = index >= 0
    keep[:, 1:] &= index[:, 1:] != index[:, :-1]
    rows, slots = keep.nonzero(as_tuple=True)
    return _IndexLoss.apply(flat, rows, index[rows, slots]).reshape(scores.shape[:-1])


def positive_part(values: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Compute log(1 + sum of e^-s) over the positives of each group, and its gradient.

    Args:
        values: [P] scores of the positives; -inf is left out.
        groups: [P] the group of each positive, 0 to count - 1.
        count: number of groups.

    Returns:
        [count] values of the positive part, and [P] its derivatives by the scores.

    Example:
        >>> value, slope = positive_part(torch.tensor([0.0, 0.0]), torch.tensor([0, 0]), 2)
        >>> value
        tensor([1.0986, 0.0000])
        >>> slope
        tensor([-0.3333, -0.3333])
    """
    negated = (-values).masked_fill(values == -torch.inf, -torch.inf)
    top = values.new_zeros(count).scatter_reduce_(0, groups, negated, "amax")
    raised = (negated - top[groups]).exp()
    total = (-top).exp().index_add_(0, groups, raised)
    return top + total.log(), -raised / total[groups]


class _IndexLoss(torch.autograd.Function):
    """The loss of [N, C] scores whose positives are (rows, columns), rows ascending, no repeats."""

    @staticmethod
    def forward(ctx, scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        count, classes = scores.shape
        exact = torch.promote_types(scores.dtype, torch.float32)
        values = scores[rows, columns].to(exact)
        loss, slope = positive_part(values, rows, count)
        raised = torch.empty_like(scores, memory_format=torch.contiguous_format)
        total = torch.empty_like(loss)
        budget = _CPU_BLOCK if scores.device.type == "cpu" else _GPU_BLOCK
        step = max(1, budget // max(1, classes))
        bounds = torch.searchsorted(rows, torch.arange(0, count + step, step, device=rows.device))
        for block, start in enumerate(range(0, count, step)):
            held = slice(bounds[block], bounds[block + 1])
            part = raised[start : start + step].copy_(scores[start : start + step])
            work = part.to(exact)
            work[rows[held] - start, columns[held]] = -torch.inf
            # The 1 in log(1 + ...) is a class of score 0, so the shift is never below 0.
            top = work.amax(-1).clamp_min_(0)
            sums = work.sub_(top.unsqueeze(-1)).exp_().sum(-1).add_((-top).exp())
            total[start : start + step] = sums
            loss[start : start + step] += top + sums.log()
            if work is not part:
                part.copy_(work)
        ctx.save_for_backward(raised, total, rows, columns, slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:
        raised, total, rows, columns, slope = ctx.saved_tensors
        gradient = raised * (upstream / total).unsqueeze(-1).to(raised.dtype)
        gradient[rows, columns] = (slope * upstream[rows]).to(raised.dtype)
        return gradient, None, None


def _hard_positives(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Find the (row, column) of each true cell of [N, C], looking at eight cells at a time."""
    flat = targets.to(torch.bool).flatten()
    if flat.storage_offset() % 8:
        flat = flat.clone()
    whole = flat.numel() // 8 * 8
    words = flat[:whole].view(torch.int64).nonzero()
    cells = (words * 8 + torch.arange(8, device=flat.device)).flatten()
    cells = torch.cat((cells, torch.arange(whole, flat.numel(), device=flat.device)))
    cells = cells[flat[cells]]
    return cells // targets.shape[1], cells % targets.shape[1]


def _soft_loss(scores: Tensor, targets: Tensor) -> Tensor:
    exact = torch.promote_types(scores.dtype, torch.float32)
    absent = scores == -torch.inf
    scores = scores.to(exact).masked_fill(absent, 0)
    targets = targets.to(exact)
    zero = scores.new_zeros(*scores.shape[:-1], 1)
    up = (scores + torch.log1p(-targets)).masked_fill(absent, -torch.inf)
    down = (targets.log() - scores).masked_fill(absent, -torch.inf)
    return torch.cat((up, zero), -1).logsumexp(-1) + torch.cat((down, zero), -1).logsumexp(-1)
