"""Perturbed masking: how much one token matters to an encoder for understanding another.

    f(i, j) = d(H(x without i)_i, H(x without i and j)_i)

`H` are the final states of the encoder, `x without S` is the text with the tokens of S masked, and
d is the Euclidean distance: once token i is masked, how far does masking j as well move what the
encoder makes of i? Nothing is trained. Neighbours of a large impact belong to one word; the whole
matrix gives trees (`parse_tree`, `parse_constituents`).

A set of masks is the same for (i, j) as for (j, i), so N units take N single masks and
N (N - 1) / 2 pairs instead of N^2 passes; and in a `StagedEncoder`, the copies of the text share
the first layer's work on each token and skip all of the last layer but the states at i and j.

Post: https://kexue.fm/archives/7476
Paper: https://arxiv.org/abs/2004.14786, equations 1 and 2
Axes: L tokens, N units (tokens, or words of several), B copies of the text, S units masked in a
      copy, T tokens of a unit, D width of the states
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from kexue.analysis.masked_copies import Encode, pair_impacts, prepare_masking


def impact_matrix(
    encode: Encode,
    ids: Tensor,
    *,
    mask_id: int,
    spans: Sequence[tuple[int, int]] | None = None,
    distance: str = "euclidean",
    batch_size: int = 64,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Compute how much each unit of a text matters for the encoding of each other one.

    Args:
        encode: from ids [B, L] to states [B, L, D], without dropout; or a `StagedEncoder`, which is
            faster and gives the same.
        ids: [L] the text with its special tokens, on the encoder's device.
        mask_id: id of [MASK].
        spans: N units as (first token, token after the last), in order and apart; the state of a
            unit is the mean of its tokens', and they are masked together. By default every token is
            a unit, special ones too.
        distance: "euclidean"; or "cosine", one minus the cosine.
        batch_size: copies of the text that go through the encoder at once.
        autocast: run the encoder in this dtype, such as torch.bfloat16: up to a few times faster
            where the machine has instructions for it, and less exact.

    Returns:
        [N, N] with f(i, j) in row i and column j: how much j matters for i. The diagonal is 0.

    Raises:
        ValueError: if `ids` is no text, a span does not fit it, there is no mask, an option is
            unknown, or the encoder is in training mode or returns another shape.

    Example:
        >>> mixing = torch.tensor([[1.0, 0.5], [0.0, 1.0]])  # the second token ignores the first
        >>> encode = lambda ids: mixing @ torch.eye(4)[ids]
        >>> impact_matrix(encode, torch.tensor([1, 2]), mask_id=3) / 2**0.5
        tensor([[0.0000, 0.5000],
                [0.0000, 0.0000]])
    """
    masking = prepare_masking(encode, ids, mask_id, spans, distance, autocast)
    count = len(masking.covers)
    pairs = torch.triu_indices(count, count, 1, device=ids.device).T
    impacts = pair_impacts(masking, pairs, batch_size)
    matrix = impacts.new_zeros(count, count)
    matrix[pairs[:, 0], pairs[:, 1]] = impacts[:, 0]
    matrix[pairs[:, 1], pairs[:, 0]] = impacts[:, 1]
    return matrix


def neighbour_impacts(
    encode: Encode,
    ids: Tensor,
    *,
    mask_id: int,
    spans: Sequence[tuple[int, int]] | None = None,
    distance: str = "euclidean",
    batch_size: int = 64,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Compute how much neighbours matter for each other, in 2 N - 1 passes.

    Args:
        encode: as for `impact_matrix`.
        ids: [L] the text with its special tokens.
        mask_id: id of [MASK].
        spans: as for `impact_matrix`.
        distance: as for `impact_matrix`.
        batch_size: as for `impact_matrix`.
        autocast: as for `impact_matrix`.

    Returns:
        [N - 1] with (f(i, i+1) + f(i+1, i)) / 2, what `segment` cuts words by.

    Raises:
        ValueError: as `impact_matrix`.

    Example:
        >>> mixing = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
        >>> encode = lambda ids: mixing @ torch.eye(4)[ids]
        >>> neighbour_impacts(encode, torch.tensor([1, 2]), mask_id=3) / 2**0.5
        tensor([0.2500])
    """
    masking = prepare_masking(encode, ids, mask_id, spans, distance, autocast)
    left = torch.arange(len(masking.covers) - 1, device=ids.device)
    return pair_impacts(masking, torch.stack((left, left + 1), 1), batch_size).mean(1)
