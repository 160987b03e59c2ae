"""Attention that stays as sharp at every length: scores grow with the logarithm of n.

    score_ij = (log n_i / log 512) <q_i, k_j> / sqrt(d)      n_i = number of keys that i may see

The factor belongs to the query, so that any attention takes it: `q * log_n_scale(...)`. A model
that was trained without it takes the factor only beyond its training length, where it is above 1.

Post: https://kexue.fm/archives/8823
Axes: L queries, S keys, "..." any axes of counts or of a mask
"""

import math

from torch import Tensor

from kexue._check import invalid


def log_n_scale(n: Tensor, *, base_length: int = 512, min_n: int = 1) -> Tensor:
    """Compute the factor on the scores of queries that see n keys.

    Args:
        n: [...] number of keys that each query may see, at least 1.
        base_length: where the factor is 1.
        min_n: smaller counts are taken as this one; bert4keras takes 16.

    Returns:
        [...] float32 factors, 0 for a single key.

    Raises:
        ValueError: if `base_length` is not above 1 or `min_n` not at least 1.

    Example:
        >>> import torch
        >>> log_n_scale(torch.tensor([1, 512, 512**2]))
        tensor([0., 1., 2.])
    """
    if base_length <= 1:
        raise invalid("base_length", base_length, "above 1, such as 512")
    if min_n < 1:
        raise invalid("min_n", min_n, "1 or more")
    return n.float().clamp_min(min_n).log() / math.log(base_length)


def post_hoc_log_n_scale(n: Tensor, *, training_length: int) -> Tensor:
    """Compute the factor for a model that was trained without one: max(1, log n / log length).

    Args:
        n: [...] number of keys that each query may see.
        training_length: the length the model was trained at; up to it nothing changes.

    Returns:
        [...] float32 factors, 1 or more.

    Raises:
        ValueError: if `training_length` is not above 1.

    Example:
        >>> import torch
        >>> post_hoc_log_n_scale(torch.tensor([1, 512, 512**2]), training_length=512)
        tensor([1., 1., 2.])
    """
    if training_length <= 1:
        raise invalid("training_length", training_length, "above 1, such as 512")
    return log_n_scale(n, base_length=training_length).clamp_min(1)


def count_keys(mask: Tensor, *, causal: bool = False) -> Tensor:
    """Count the keys that each query may see.

    Args:
        mask: [..., L, S] or, the same for all queries, [..., 1, S]; bool, True = keep, as every
            attention takes it.
        causal: count only keys up to the query; the last query belongs to the last key.

    Returns:
        [..., L, 1] counts, so that their factors multiply queries [..., L, D] as they are; L is S
        for a mask of one row that is made causal, and 1 for one that is not.

    Example:
        >>> import torch
        >>> padded = torch.tensor([[[True, True, False]]])
        >>> count_keys(padded).flatten(), count_keys(padded, causal=True).flatten()
        (tensor([2]), tensor([1, 2, 2]))
    """
    if causal and mask.shape[-2] == 1:
        return mask.cumsum(-1).mT
    if causal:
        mask = mask.tril(mask.shape[-1] - mask.shape[-2])
    return mask.sum(-1, keepdim=True)
