"""Performer (FAVOR+): softmax attention in linear time, by random features that are never negative.

    f(x) = exp(w_1 x - |x|^2 / 2, ..., w_m x - |x|^2 / 2) / sqrt(m),   x scaled by D^(-1/4)
    E <f(q), f(k)> = exp(<q, k> / sqrt(D))

The directions w / |w| are orthogonal in blocks of D, which lowers the variance. They have to be
uniform for that: Q of a QR decomposition is not, until the signs of R's diagonal are moved into it.
RoPE needs nothing special here: what is approximated is the softmax of turned queries and keys.

Post: https://kexue.fm/archives/7921
Paper: https://arxiv.org/abs/2009.14794, lemma 1 and section 2.4
Axes: B texts, H heads, L queries, S keys, D features of a head, E of a value, M random features
"""

import math

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.attention.feature_sums import key_column, mix_by_features


def performer_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    projection: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Mix the values by an estimate of softmax attention, in time that grows with the length.

    Args:
        q: [B, H, L, D] queries.
        k: [B, H, S, D] keys.
        v: [B, H, S, E] values.
        projection: [M, D] from `orthogonal_projection`.
        mask: bool, broadcast to [B, H, 1, S], True = keep; all keys by default.
        causal: a query sees keys up to its own position; L is S then.

    Returns:
        [B, H, L, E] in the dtype of `v`; computed in float32 for half precision. 0 in a text that
        is all padding.

    Raises:
        ValueError: if widths do not fit, the mask differs between queries, or causal queries are
            not as many as keys.

    Example:
        >>> q, k, v = torch.rand(3, 1, 2, 100, 16).unbind()
        >>> w = orthogonal_projection(16, 1024)
        >>> softmax = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        >>> (performer_attend(q, k, v, w) - softmax).abs().max() < 0.1
        tensor(True)
    """
    keep = key_column(mask)
    query = _features(q, projection, (-1,), None)
    key = _features(k, projection, (-2, -1), keep)
    return mix_by_features(query, key, v, causal=causal)


def performer_features(
    x: Tensor, projection: Tensor, *, stabilise_over: tuple[int, ...] = ()
) -> Tensor:
    """Compute the random features whose products estimate exp(<q, k> / sqrt(D)).

    Args:
        x: [..., L, D] queries or keys.
        projection: [M, D] from `orthogonal_projection`.
        stabilise_over: axes of the features; the largest along them becomes 1 / sqrt(M), so that
            nothing overflows. (-1,) suits queries, because a factor per row cancels in attention,
            and (-2, -1) keys, which need one factor for all. () gives the features themselves,
            which alone are an estimate without bias.

    Returns:
        [..., L, M] features, float32 for half precision.

    Raises:
        ValueError: if the projection has another width than `x`, or the axes are others.

    Example:
        >>> performer_features(torch.zeros(1, 2), torch.eye(2))
        tensor([[0.7071, 0.7071]])
    """
    if stabilise_over not in ((), (-1,), (-2, -1)):
        raise invalid("stabilise_over", stabilise_over, "(), (-1,) or (-2, -1)")
    return _features(x, projection, stabilise_over, None)


def _features(
    x: Tensor, projection: Tensor, stabilise_over: tuple[int, ...], keep: Tensor | None
) -> Tensor:
    """Compute the features, 0 where `keep` [..., L, 1] is False."""
    features, dim = projection.shape
    if dim != x.shape[-1]:
        fix = f"Use orthogonal_projection({x.shape[-1]}, {features})."
        raise invalid("projection", tuple(projection.shape), f"[M, {x.shape[-1]}]", fix)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    half_norm = x.square().sum(-1, keepdim=True) * (0.5 * dim**-0.5)
    # Autocast would round the exponents to half precision.
    with torch.autocast(x.device.type, enabled=False):
        exponents = x @ (projection.to(x) * dim**-0.25).mT  # [..., L, M]
    shift = torch.full_like(half_norm, 0.5 * math.log(features))
    if keep is not None:
        half_norm = half_norm.masked_fill(~keep, torch.inf)
    if stabilise_over:
        largest = exponents.detach().amax(-1, keepdim=True) - half_norm.detach()
        if -2 in stabilise_over:
            # Not -inf, which the texts that are all padding would give
            largest = largest.amax(-2, keepdim=True).clamp_min(torch.finfo(x.dtype).min)
        shift = shift + largest
    return exponents.sub_(half_norm + shift).exp_()


def orthogonal_projection(
    dim: int,
    features: int,
    *,
    spaced_norms: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the vectors w: uniform directions, orthogonal in blocks, with norms of Gaussian vectors.

    Args:
        dim: D, the width of queries and keys.
        features: M; the error of attention falls as 1 / sqrt(M). The article takes 4 D.
        spaced_norms: take norms at the M equally spaced quantiles of their distribution instead of
            drawing them, as the article proposes.
        generator: where the randomness comes from, and the device of the result.

    Returns:
        [M, D] float32. Draw it once and keep it with the weights of a model; another one may be
        drawn now and then in training.

    Raises:
        ValueError: if `dim` or `features` is not positive.

    Example:
        >>> w = orthogonal_projection(2, 4)
        >>> (w[0] @ w[1]).abs() < 1e-6, (w[2] @ w[3]).abs() < 1e-6
        (tensor(True), tensor(True))
    """
    for name, given in (("dim", dim), ("features", features)):
        if given < 1:
            raise invalid(name, given, "1 or more")
    device = "cpu" if generator is None else generator.device
    options = {"generator": generator, "device": device, "dtype": torch.float64}
    blocks = -(-features // dim)
    directions, triangle = torch.linalg.qr(torch.randn(blocks, dim, dim, **options))
    signs = torch.where(triangle.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    directions = (directions * signs.unsqueeze(-2)).mT.flatten(0, 1)[:features]
    if spaced_norms:
        norms = _spaced_norms(dim, features).to(device)
    else:
        norms = torch.randn(features, dim, **options).norm(dim=-1)
    return (directions * norms.unsqueeze(-1)).float()


def _spaced_norms(dim: int, features: int) -> Tensor:
    from scipy.special import gammaincinv

    quantiles = torch.arange(1, features + 1, dtype=torch.float64) / (features + 1)
    return torch.as_tensor(gammaincinv(dim / 2, quantiles.numpy())).mul(2).sqrt()
