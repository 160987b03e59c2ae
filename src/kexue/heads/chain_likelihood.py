"""Likelihood and marginals of a linear chain, with the gradient written out.

    log p(y) = score(y) - log Z;   d log Z / d (part of the score) = expected count of that part

The expected counts come from the forward and backward sums, so nothing is kept for each step and
autograd never walks through the loop.

Post: https://kexue.fm/archives/5542
Paper: Lafferty, McCallum, Pereira 2001, https://repository.upenn.edu/cis_papers/159
Axes: B texts, L tokens, l longest text, K tags
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kexue._check import invalid
from kexue.heads.chain import Chain, align
from kexue.heads.sweeps import moments


def crf_log_likelihood(
    emissions: Tensor, tags: Tensor, mask: Tensor, transitions: Tensor, start: Tensor, end: Tensor
) -> Tensor:
    """Compute the log-likelihood of tag sequences.

    Args:
        emissions: [B, L, K] scores of the tags.
        tags: [B, L] integers; what stands where the mask is False is ignored.
        mask: [B, L] bool, True = keep; the kept tokens of a text form its chain, in order.
        transitions: [K, K] scores from row to column; `FORBIDDEN` for what cannot happen.
        start: [K] scores of the first tag.
        end: [K] scores of the last tag.

    Returns:
        [B] in float64; 0 for a text without kept tokens.

    Raises:
        ValueError: if the mask is not a boolean matrix, or a kept tag is not in 0 to K - 1.

    Example:
        >>> zero = torch.zeros(2)
        >>> tags, mask = torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool)
        >>> crf_log_likelihood(torch.zeros(1, 2, 2), tags, mask, torch.zeros(2, 2), zero, zero)
        tensor([-1.3863], dtype=torch.float64)
    """
    if ((tags < 0) | (tags >= len(start)))[mask].any():
        raise invalid("tags", tags[mask].tolist(), f"0 to {len(start) - 1} where mask is True")
    chain, order = align(emissions, mask, transitions, start, end)
    return log_likelihood(chain, tags.gather(1, order).masked_fill(~chain.valid, 0))


def crf_marginals(
    emissions: Tensor, mask: Tensor, transitions: Tensor, start: Tensor, end: Tensor
) -> Tensor:
    """Compute the probability of each tag at each token; not differentiable.

    Args:
        emissions: [B, L, K] scores of the tags.
        mask: [B, L] bool, True = keep.
        transitions: [K, K] scores from row to column.
        start: [K] scores of the first tag.
        end: [K] scores of the last tag.

    Returns:
        [B, L, K] in float64, summing to 1 over tags; 0 where the mask is False.

    Raises:
        ValueError: if the mask is not a boolean matrix.

    Example:
        >>> zero, mask = torch.zeros(2), torch.ones(1, 2, dtype=torch.bool)
        >>> crf_marginals(torch.zeros(1, 2, 2), mask, torch.zeros(2, 2), zero, zero)[0, 0]
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    chain, order = align(emissions, mask, transitions, start, end)
    full = chain.emissions.new_zeros(emissions.shape)
    if order.shape[1]:
        found = moments(chain).marginals
        full.scatter_(1, order[..., None].expand(found.shape), found)
    return full


def log_likelihood(chain: Chain, tags: Tensor) -> Tensor:
    """Compute log p(tags) of each text, differentiable by all scores.

    Args:
        chain: from `make_chain`.
        tags: [B, l] tags 0 to K - 1, anything in that range behind the text.

    Returns:
        [B]; 0 for a text of no tokens.

    Example:
        >>> from kexue.heads.chain import make_chain
        >>> scores = torch.zeros(1, 3, 2), torch.tensor([3]), torch.zeros(2, 2)
        >>> chain = make_chain(*scores, torch.zeros(2), torch.zeros(2))
        >>> log_likelihood(chain, torch.zeros(1, 3, dtype=torch.long)).exp()  # one of eight
        tensor([0.1250], dtype=torch.float64)
    """
    if chain.emissions.shape[1] == 0:
        return chain.emissions.sum((1, 2))
    valid, tag_count = chain.valid, len(chain.start)
    tokens = chain.emissions.gather(2, tags[..., None])[..., 0].sum(1)
    moves = (tags[:, :-1] * tag_count + tags[:, 1:]).flatten()
    steps = chain.transitions.flatten().index_select(0, moves).view(len(tags), -1)
    ends = chain.start[tags[:, 0]] + chain.end[tags[chain.last]]
    score = tokens + steps.mul(valid[:, 1:]).sum(1) + ends * valid[:, 0]
    return score - _LogNormalizer.apply(*chain)


class _LogNormalizer(torch.autograd.Function):
    """Log Z [B] with the expected counts as its gradient."""

    @staticmethod
    def forward(ctx, *scores: Tensor) -> Tensor:
        chain = Chain(*scores)
        found = moments(chain)
        ends = found.marginals[:, 0], found.marginals[chain.last]
        ctx.save_for_backward(found.marginals, found.pairs, *ends)
        return found.log_z

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        marginals, pairs, first, last = ctx.saved_tensors
        by_transition = (upstream @ pairs.flatten(1)).view(pairs.shape[1:])
        return (
            marginals * upstream[:, None, None],
            None,
            by_transition,
            upstream @ first,
            upstream @ last,
        )
