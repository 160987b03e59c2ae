"""NTK-aware frequencies: rotary positions stretched over a longer text without training.

    RoPE turns pair m = 1 ... D/2 by n / beta^(m-1) at position n,   beta = base^(2/D)
    here it is divided by k^c_m more, k the factor by which texts grow:
        old    c_m = (m - 1) / (D/2)      the base is multiplied by k
        fixed  c_m = m / (D/2)            the last pair is stretched by exactly k
        mixed  c_m = (m / (D/2))^b        b = 1 is fixed, b = 0 position interpolation

The fast pairs, which tell neighbours apart, stay almost as they were trained; the slow ones, which
a longer text would take to angles never seen, are interpolated.

Post: https://kexue.fm/archives/9675, https://kexue.fm/archives/9706
Axes: D features of a head (even)
"""

import math

import torch
from torch import Tensor

from kexue._check import invalid


def ntk_frequencies(
    dim: int,
    factor: float,
    *,
    kind: str,
    base: float = 10000.0,
    exponent: float = 0.625,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Compute the angle of each pair of features for one step of position.

    Multiplied by positions they take the place of `rope_angles`; the frequencies of a model of
    transformers are set by the types "ntk_old", "ntk_fixed" and "ntk_mixed" instead.

    Args:
        dim: D, the width of the vectors to turn, even.
        factor: k, length to read over length of training, 1 or more.
        kind: "old", "fixed" or "mixed"; the last was best in the article.
        base: that of the trained model.
        exponent: b of "mixed", between 0 and 1; the other kinds have none.
        dtype: of the result; they are computed in float64.

    Returns:
        [D / 2] angles in radians, falling.

    Raises:
        ValueError: if `dim` is odd or not positive, `factor` is below 1, `kind` is unknown, or
            `exponent` is not between 0 and 1.

    Example:
        >>> ntk_frequencies(4, 8.0, kind="old", base=100.0)  # beta = 10, 8^(1/2) = 2.83
        tensor([1.0000, 0.0354])
        >>> angles = torch.arange(3)[:, None] * ntk_frequencies(4, 8.0, kind="mixed")
    """
    if dim <= 0 or dim % 2:
        raise invalid("dim", dim, "a positive even number", "RoPE turns pairs of features.")
    if not 1 <= factor < math.inf:
        raise invalid("factor", factor, "1 or more: length to read over length of training")
    if kind not in ("old", "fixed", "mixed"):
        raise invalid("kind", kind, "'old', 'fixed' or 'mixed'")
    if not 0 <= exponent <= 1:
        raise invalid("exponent", exponent, "between 0 (interpolate all alike) and 1 (as 'fixed')")
    pair = torch.arange(dim // 2, dtype=torch.float64)  # m - 1
    last = dim // 2
    shares = {
        "old": pair / last,
        "fixed": (pair + 1) / last,
        "mixed": ((pair + 1) / last) ** exponent,
    }
    return (base ** (-pair / last) * factor ** -shares[kind]).to(dtype)
