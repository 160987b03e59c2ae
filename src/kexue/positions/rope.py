"""Rotary position embedding: absolute positions whose inner product sees only the distance.

    R(p) turns the pair (x_2t, x_2t+1) by the angle p * base^(-2t/D)
    <R(i) q, R(j) k> = <q, R(j - i) k>

Two memory layouts of a pair are in use: `interleaved` (x0, x1), (x2, x3), ... as in the article,
and `half` (x0, x_D/2), (x1, x_D/2+1), ... as in Llama. They differ by a permutation.

Post: https://kexue.fm/archives/8265
Paper: https://arxiv.org/abs/2104.09864, equations 14 and 34
Axes: L tokens, D features of a head (even), H = D / 2 pairs, "..." any batch axes
"""

import torch
from torch import Tensor

from kexue._check import invalid


def rope_angles(positions: Tensor, dim: int, *, base: float = 10000.0) -> Tensor:
    """Compute the angle by which each pair of features is turned at each position.

    Args:
        positions: [..., L] positions, any real numbers; 0, 1, 2, ... for plain text.
        dim: D, the width of the vectors to turn, even.
        base: the slowest pair turns once in about 2 pi * base positions.

    Returns:
        [..., L, D / 2] angles in radians, float32 (float64 for float64 positions).

    Raises:
        ValueError: if `dim` is odd or not positive.

    Example:
        >>> rope_angles(torch.arange(3), 4)
        tensor([[0.0000, 0.0000],
                [1.0000, 0.0100],
                [2.0000, 0.0200]])
    """
    if dim <= 0 or dim % 2:
        raise invalid("dim", dim, "a positive even number", "RoPE turns pairs of features.")
    dtype = torch.float64 if positions.dtype == torch.float64 else torch.float32
    pair = torch.arange(dim // 2, dtype=dtype, device=positions.device)
    return positions.to(dtype).unsqueeze(-1) * base ** (-2 * pair / dim)


def rotate(x: Tensor, angles: Tensor, *, layout: str = "interleaved") -> Tensor:
    """Turn each pair of features of `x` by its angle.

    Args:
        x: [..., L, D] queries or keys.
        angles: [..., L, D / 2] from `rope_angles`; broadcast against the batch axes of `x`.
            Minus the angles undo the rotation.
        layout: where the two members of a pair lie, "interleaved" or "half".

    Returns:
        [..., L, D], the dtype of `x`; lengths of vectors are unchanged.

    Raises:
        ValueError: if `layout` is unknown or the widths do not fit.

    Example:
        >>> x = torch.tensor([[1.0, 0.0]])
        >>> rotate(x, torch.tensor([[torch.pi / 2]])).round()
        tensor([[-0., 1.]])
    """
    if layout not in ("interleaved", "half"):
        raise invalid("layout", layout, "'interleaved' or 'half'")
    if 2 * angles.shape[-1] != x.shape[-1]:
        raise invalid(
            "angles",
            tuple(angles.shape),
            f"a last axis of {x.shape[-1] // 2}, half of the width {x.shape[-1]} of x",
            f"Use rope_angles(positions, {x.shape[-1]}).",
        )
    if layout == "interleaved" and not torch.compiler.is_compiling():
        return _turn_neighbours(x, angles)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    pairs = x.unflatten(-1, (-1, 2) if layout == "interleaved" else (2, -1))
    axis = -1 if layout == "interleaved" else -2
    first, second = pairs.unbind(axis)
    turned = torch.stack((first * cos - second * sin, second * cos + first * sin), axis)
    return turned.flatten(-2)


def _turn_neighbours(x: Tensor, angles: Tensor) -> Tensor:
    """Multiply pairs, read as complex numbers, by exp(i angle), in one pass over memory."""
    # There are no complex numbers of half precision that the kernels could use.
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    angles = angles.to(torch.promote_types(angles.dtype, torch.float32))
    turn = torch.polar(torch.ones_like(angles), angles).to(wide.dtype.to_complex())
    turned = torch.view_as_complex(wide.unflatten(-1, (-1, 2)).contiguous()) * turn
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)
