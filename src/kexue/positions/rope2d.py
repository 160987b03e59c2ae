"""Rotary positions in the plane: the inner product sees the distance along each axis.

    R(x, y) = blockdiag(R(x), R(y))     each R(p) as in RoPE, on half of the features
    <R(x1, y1) q, R(x2, y2) k> = <q, R(x2 - x1, y2 - y1) k>

The same with n equal slices of the features serves n coordinates. Numbering the patches of an image
row by row, or turning by x + y, would not do: neither tells both distances.

A token without a place, such as CLS, is given the coordinates (0, 0), where nothing is turned. To
the others it then looks like a token at the origin; number the grid from 1 if it should not share
that with the first patch.

Post: https://kexue.fm/archives/8397
Axes: L tokens, N coordinates, D features of a head (a multiple of 2 N), "..." any batch axes
"""

from torch import Tensor

from kexue._check import invalid
from kexue.positions.rope import rope_angles


def rope2d_angles(xy: Tensor, dim: int, *, base: float = 10000.0) -> Tensor:
    """Compute the angles of tokens that lie in a plane, or in a space of any dimension.

    The first of N equal groups of pairs of features is turned by the first coordinate, and so on;
    in the interleaved layout of `rotate` these are N equal slices of the features.

    Args:
        xy: [..., L, N] coordinates, any real numbers; N = 2 for a plane. (0, 0) turns nothing and
            is the place of CLS.
        dim: D, the width of the vectors to turn, a multiple of 2 N.
        base: as in `rope_angles`, for each slice by itself.

    Returns:
        [..., L, D / 2] angles in radians for `rotate`, float32 (float64 for float64 coordinates).

    Raises:
        ValueError: if `dim` cannot be shared evenly among the coordinates.

    Example:
        >>> import torch
        >>> grid = torch.cartesian_prod(torch.arange(2), torch.arange(2))
        >>> rope2d_angles(grid, 4)
        tensor([[0., 0.],
                [0., 1.],
                [1., 0.],
                [1., 1.]])
    """
    axes = xy.shape[-1]
    if dim <= 0 or dim % (2 * axes):
        raise invalid(
            "dim",
            dim,
            f"a positive multiple of {2 * axes}",
            f"Each of the {axes} coordinates turns pairs of features of its own.",
        )
    return rope_angles(xy, dim // axes, base=base).flatten(-2)
