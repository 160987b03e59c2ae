"""Viterbi: the best tag sequence of a linear chain, for a whole batch at once.

    best_t(j) = e_t(j) + max_i (best_t-1(i) + T(i, j))

The way forward keeps the maxima only; on the way back, from the end of each text, the predecessor
is looked up for the one tag that was chosen, which is K times less work than keeping pointers.

Post: https://kexue.fm/archives/5542
Paper: Viterbi 1967, https://doi.org/10.1109/TIT.1967.1054010
Axes: B texts, l longest text, K tags
"""

import torch
from torch import Tensor

from kexue.heads.chain import Chain, align


def viterbi(
    emissions: Tensor, mask: Tensor, transitions: Tensor, start: Tensor, end: Tensor
) -> Tensor:
    """Find the tag sequences with the largest score.

    Args:
        emissions: [B, L, K] scores of the tags.
        mask: [B, L] bool, True = keep.
        transitions: [K, K] scores from row to column.
        start: [K] scores of the first tag.
        end: [K] scores of the last tag.

    Returns:
        [B, L] tags; -1 where the mask is False.

    Raises:
        ValueError: if the mask is not a boolean matrix.

    Example:
        >>> zero, mask = torch.zeros(2), torch.tensor([[False, True, True]])
        >>> scores = torch.tensor([[[9.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
        >>> viterbi(scores, mask, torch.zeros(2, 2), zero, zero)
        tensor([[-1,  1,  0]])
    """
    chain, order = align(emissions, mask, transitions, start, end)
    return torch.full_like(mask, -1, dtype=torch.long).scatter_(1, order, best_tags(chain))


@torch.no_grad()
def best_tags(chain: Chain) -> Tensor:
    """Find the tag sequence with the largest score; of equal ones the lower tags from the end.

    Args:
        chain: from `make_chain`.

    Returns:
        [B, l] tags, -1 behind the text.

    Example:
        >>> from kexue.heads.chain import make_chain
        >>> emissions = torch.tensor([[[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]])
        >>> zero = torch.zeros(2)
        >>> best_tags(make_chain(emissions, torch.tensor([2]), torch.zeros(2, 2), zero, zero))
        tensor([[ 1,  0, -1]])
    """
    emissions = chain.emissions.transpose(0, 1).contiguous()  # [l, B, K]
    if not len(emissions):
        return emissions.new_empty(emissions.shape[1::-1], dtype=torch.long)
    into = chain.transitions.T.contiguous()
    best = torch.empty_like(emissions)
    best[0] = emissions[0] + chain.start
    cells = best.new_empty(*best.shape[1:], len(into))
    rows = best.unbind()
    for t, emission in enumerate(emissions.unbind()[1:], 1):
        torch.add(rows[t - 1][:, :, None], chain.transitions, out=cells)
        torch.amax(cells, 1, out=rows[t]).add_(emission)

    reversal = chain.reversal
    ahead = best.transpose(0, 1).gather(1, reversal).transpose(0, 1).unbind()
    tags = [(ahead[0] + chain.end).argmax(-1)]
    for place in ahead[1:]:
        tags.append(into.index_select(0, tags[-1]).add_(place).argmax(-1))
    return torch.stack(tags, 1).gather(1, reversal[..., 0]).masked_fill(~chain.valid, -1)
