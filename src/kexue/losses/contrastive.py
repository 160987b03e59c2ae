"""InfoNCE: every other text of a batch is a negative.

    L = mean over i of  -s_ii + log sum over j of e^(s_ij),   s_ij = cos(q_i, k_j) / temperature

The denominator runs over all texts of the batch, so that the loss of a batch is not the mean of
the losses of its parts: adding up gradients of small batches optimises something else, and
`kexue.training.cached_backward` is what large batches on little memory take. Scores are formed in
blocks of queries, which are computed again in the backward pass once a batch is so large that all
of them together would need more memory than the texts.

Post: https://kexue.fm/archives/8471
Paper: https://arxiv.org/abs/1807.03748, equation 4
Axes: B queries with their positives, K keys, the positives and then the hard negatives, D features
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kexue._check import invalid

# Scores that are kept for the backward pass; beyond that, one block of them at a time exists.
_BLOCK = 2**22


def info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    temperature: float | Tensor,
    same: Tensor | None = None,
    cosine: bool = True,
) -> Tensor:
    """Compute how badly each query finds its own key among all keys.

    Args:
        queries: [B, D] vectors.
        keys: [K, D] vectors, K at least B. Key i belongs to query i; the keys after the first B
            are hard negatives, which no query wants.
        temperature: what scores are divided by, positive: 0.05 for cosines is usual. A tensor
            with one element learns.
        same: [B, K] bool, True where query and key are the same sentence, so that the key is no
            negative; left out. What it says of query i and its own key i is not looked at.
        cosine: compare directions; False takes inner products as they are.

    Returns:
        The mean over the queries, a scalar, float32 for half precision.

    Raises:
        ValueError: if the shapes do not fit or the temperature is not positive.

    Example:
        >>> texts = torch.eye(3)
        >>> info_nce(texts, texts, temperature=1.0)
        tensor(0.5514)
        >>> info_nce(texts, texts.roll(1, 0), temperature=1.0)
        tensor(1.5514)
    """
    _check(queries, keys, same, temperature)
    queries, keys = _comparable(queries, cosine), _comparable(keys, cosine)
    return _cross_entropy(queries, keys, temperature, same)


def symmetric_info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    temperature: float | Tensor,
    same: Tensor | None = None,
    cosine: bool = True,
) -> Tensor:
    """Compute InfoNCE in both directions: queries look for keys and keys for queries.

    Args:
        queries: [B, D] vectors.
        keys: [K, D] vectors as in `info_nce`. Hard negatives are something to find for queries
            alone: nothing looks for them.
        temperature: what scores are divided by, positive, or a tensor with one element.
        same: [B, K] bool, True where query and key are the same sentence.
        cosine: compare directions; False takes inner products as they are.

    Returns:
        The mean of both directions, a scalar, float32 for half precision.

    Raises:
        ValueError: if the shapes do not fit or the temperature is not positive.

    Example:
        >>> queries, keys = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> symmetric_info_nce(queries, keys, temperature=1.0)
        tensor(0.7532)
    """
    _check(queries, keys, same, temperature)
    queries, keys = _comparable(queries, cosine), _comparable(keys, cosine)
    rows = _cross_entropy(queries, keys, temperature, same)
    count = len(queries)
    back = None if same is None else same[:, :count].mT
    return (rows + _cross_entropy(keys[:count], queries, temperature, back)) / 2


def _check(queries: Tensor, keys: Tensor, same: Tensor | None, temperature: float | Tensor) -> None:
    if queries.ndim != 2 or keys.ndim != 2 or keys.shape[1] != queries.shape[1]:
        raise invalid("keys", tuple(keys.shape), f"[K, D] for queries {tuple(queries.shape)}")
    if not 1 <= len(queries) <= len(keys):
        fix = "Key i is the positive of query i."
        raise invalid("keys", f"{len(keys)} rows", f"{max(1, len(queries))} or more", fix)
    if same is not None and same.shape != (len(queries), len(keys)):
        raise invalid("same", tuple(same.shape), f"({len(queries)}, {len(keys)})")
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise invalid("temperature", temperature, "a positive number, as in 0.05")


def _comparable(x: Tensor, cosine: bool) -> Tensor:
    """Give vectors in at least float32, of length 1 for cosines; 0 stays 0."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if not cosine:
        return x
    # Squares of very long or very short vectors leave the range of floats.
    largest = x.detach().abs().amax(-1, keepdim=True)
    x = x / torch.where(largest > 0, largest, 1)
    length = x.square().sum(-1, keepdim=True)
    return x * torch.where(length > 0, length, 1).rsqrt()


def _cross_entropy(
    queries: Tensor, keys: Tensor, temperature: float | Tensor, same: Tensor | None
) -> Tensor:
    """Mean over queries of the cross-entropy of the key of the same number."""
    step = max(1, _BLOCK // len(keys))
    if step >= len(queries):
        return _block(queries, keys, temperature, same, 0) / len(queries)
    total = queries.new_zeros(())
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        total = total + checkpoint(
            _block,
            queries[part],
            keys,
            temperature,
            None if same is None else same[part],
            start,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    return total / len(queries)


def _block(
    queries: Tensor, keys: Tensor, temperature: float | Tensor, same: Tensor | None, start: int
) -> Tensor:
    """Sum of the cross-entropies of a block of queries, the first of which is number `start`."""
    # Autocast would round the scores to half precision.
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries @ keys.mT  # [block, K]
    if isinstance(temperature, Tensor):
        temperature = temperature.reshape(())
    scores = scores / temperature
    own = torch.arange(start, start + len(queries), device=scores.device)
    if same is not None:
        absent = same.to(torch.bool).clone()
        absent[own - start, own] = False
        scores = scores.masked_fill(absent, -torch.inf)
    return F.cross_entropy(scores, own, reduction="sum")
