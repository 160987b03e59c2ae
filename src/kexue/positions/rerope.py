"""Rectified rotary positions: a model trained on short texts reads long ones without training.

    g(r) = r               for |r| < w        distance r = i - j, window w
    g(r) = w + (r - w) s   for r >= w,        and g(-r) = -g(r)
    score_ij = <R(g(i - j)) q_i, k_j> / sqrt(D)

Inside the window all is as in RoPE. Outside, distances grow by the step s instead of 1, so that
none occurs that training has not seen: s = 0 is ReRoPE, 0 < s < 1 Leaky ReRoPE. Inverse Leaky
ReRoPE trains with s > 1 and reads long texts as plain RoPE. s = 1 is RoPE, and w = 0 interpolates
all positions. The window should be a quarter to a half of the length of training.

A far score is <R(i s + w (1 - s)) q_i, R(j s) k_j>, an ordinary product again; two whole matrices
of scores and a choice between them give the result.

Post: https://kexue.fm/archives/9708, https://kexue.fm/archives/9728
Axes: L tokens, D features of a head (even), "..." any batch axes
"""

import math

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.positions.rope import rope_angles, rotate


def rerope_distance(r: Tensor, *, window: float, step: float) -> Tensor:
    """Map the distance of two tokens to the distance that attention is shown.

    Args:
        r: distances, position of the query minus position of the key, any real numbers. The map is
            odd, so that a bidirectional encoder keeps telling left from right.
        window: w, distances below which nothing changes, 0 or more.
        step: s, how much a distance grows for each token beyond the window, 0 or more.

    Returns:
        Distances in the shape of `r`, at least float32.

    Raises:
        ValueError: if `window` or `step` is negative or not finite, or both are 0.

    Example:
        >>> rerope_distance(torch.tensor([-9, -1, 0, 3, 4, 5, 8]), window=4, step=0.5)
        tensor([-6.5000, -1.0000,  0.0000,  3.0000,  4.0000,  4.5000,  6.0000])
    """
    _check(window, step)
    r = r.to(torch.promote_types(r.dtype, torch.float32))
    near = r.clamp(-window, window)
    return near + step * (r - near)


def rerope_scores(
    q: Tensor,
    k: Tensor,
    *,
    window: float,
    step: float = 0.0,
    causal: bool = True,
    base: float = 10000.0,
    layout: str = "interleaved",
    scale: float | None = None,
) -> Tensor:
    """Score every pair of tokens at its rectified distance, with all scores in memory.

    This is the definition in the open, for short texts and as a reference; its memory grows with
    the square of the length.

    Args:
        q: [..., L, D] queries, not rotated.
        k: [..., L, D] keys of the same tokens, not rotated.
        window: w, distances below which nothing changes, 0 or more.
        step: s, 0 for ReRoPE, between 0 and 1 for Leaky ReRoPE, above 1 for training with Inverse
            Leaky ReRoPE.
        causal: hide keys that come after the query; otherwise they lie at negative distances.
        base: base of the rotary positions.
        layout: where the members of a pair of features lie, "interleaved" or "half".
        scale: factor on the scores, 1 / sqrt(D) by default.

    Returns:
        [..., L, L] scores, minus infinity where hidden; their softmax is the attention.

    Raises:
        ValueError: if `window` or `step` is negative or not finite, or both are 0, or if `q` and
            `k` are not of one length and width.

    Example:
        >>> q = k = torch.tensor([[1.0, 0.0]]).expand(4, 2)
        >>> rerope_scores(q, k, window=2, causal=False, scale=1.0)[0].arccos()
        tensor([0., 1., 2., 2.])
    """
    _check(window, step)
    if q.shape[-2:] != k.shape[-2:]:
        raise invalid(
            "k",
            tuple(k.shape),
            f"the length and width of q, {tuple(q.shape[-2:])}",
            "Queries and keys are those of the same tokens.",
        )
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    places = torch.arange(q.shape[-2], dtype=torch.float64, device=q.device)

    def turned(x: Tensor, positions: Tensor) -> Tensor:
        return rotate(x, rope_angles(positions, x.shape[-1], base=base), layout=layout)

    far_key = turned(k, places * step)
    jump = window * (1 - step)
    r = places[:, None] - places
    scores = turned(q, places) @ turned(k, places).mT
    before = turned(q, places * step + jump) @ far_key.mT
    scores = torch.where(r >= window, before, scores)
    if causal:
        return scores.masked_fill(r < 0, -math.inf)
    behind = turned(q, places * step - jump) @ far_key.mT
    return torch.where(r <= -window, behind, scores)


def _check(window: float, step: float) -> None:
    """Refuse a map that is not one of the family."""
    if not 0 <= window < math.inf:
        raise invalid(
            "window", window, "0 or more tokens", "Take a quarter to a half of the training length."
        )
    if not 0 <= step < math.inf:
        raise invalid(
            "step",
            step,
            "0 or more",
            "0 is ReRoPE, 1 / k is Leaky ReRoPE, and above 1 is for Inverse Leaky training.",
        )
    if window == step == 0:
        raise invalid(
            "window", window, "more than 0 with step 0", "All tokens would be at distance 0."
        )
