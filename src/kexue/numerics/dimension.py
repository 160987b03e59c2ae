"""How many dimensions an embedding of N things needs: n > 8.33 log N, by an entropy.

A softmax over inner products, p(i, j) = exp(<u_i, v_j>) / Z, has the entropy

    H = log Z - E_p <u, v>  ~  2 log N + h_n
    h_n = log E[exp(n cos)] - n E[cos exp(n cos)] / E[exp(n cos)]

where N^2 terms became expectations over vectors that are uniform on the sphere of radius sqrt(n) in
n dimensions. h_n falls like -c n, and where H would be negative, N vectors no longer fill the
space: there is room. It is a threshold at which the approximation breaks, not a theorem, since the
entropy of an actual sample stays above 0.

Both expectations are Bessel functions I of order n / 2 - 1 and n / 2 at n. Their ratio is a
continued fraction, 1 / (1 + 1 / (1 + 2/n + 1 / (1 + 4/n + ...))), which for large n is 1 / phi, one
over the golden ratio, and so c = log(phi) / 2.

Post: https://kexue.fm/archives/7695
      https://kexue.fm/archives/8711 for heads of attention, where N is the number of tokens
"""

import math
from bisect import bisect_left
from numbers import Integral, Real

from kexue._check import invalid

_SLOPE = 0.5 * math.log((1 + math.sqrt(5)) / 2)  # c = 0.2406...; the article rounds it to 0.24
_EXPAND_FROM = 1000  # scipy's ive underflows above 5,000
_METHODS = ("exact", "asymptotic", "rule")


def min_embedding_dim(n: float, *, method: str = "exact") -> int:
    """Find the smallest dimension in which N things have room.

    Args:
        n: N, how many things are embedded: words of a vocabulary, nodes of a graph or, for a head
            of attention, tokens of a text. At least 1; an integer may be of any size.
        method: "exact", the smallest dimension where 2 log N + h is negative; "asymptotic", the
            smallest above 8.3123 log N, the limit for large dimensions and at most one more;
            "rule", the smallest above the article's 8.33 log N.

    Returns:
        The dimension, at least 1.

    Raises:
        ValueError: if `n` is not a finite number from 1 up, or the method is unknown.

    Example:
        >>> min_embedding_dim(100_000), min_embedding_dim(512)
        (96, 52)
    """
    if method not in _METHODS:
        raise invalid("method", method, ", ".join(map(repr, _METHODS)))
    if isinstance(n, bool) or not isinstance(n, Real) or not 1 <= n < math.inf:
        raise invalid("n", n, "a finite number of things, 1 or more")
    pairs = 2 * math.log(n)
    if method == "rule":
        return math.floor(8.33 / 2 * pairs) + 1
    limit = math.floor(pairs / _SLOPE) + 1
    if method == "asymptotic":
        return limit
    # h_n is below -c n everywhere, so the answer is not above the limit
    return 1 + bisect_left(range(1, limit), True, key=lambda dim: pairs + sphere_entropy(dim) < 0)


def sphere_entropy(dim: int) -> float:
    """Compute h_n, what the sphere of a dimension adds to the entropy 2 log N of N^2 pairs.

    Minus h_n is the Kullback-Leibler divergence of a von Mises-Fisher distribution of concentration
    n from the uniform one: what exp(n cos) tells about a direction, in nats.

    Args:
        dim: n, the dimension, 1 or more.

    Returns:
        h_n, negative and falling; good to 12 digits in any dimension.

    Raises:
        ValueError: if `dim` is not a positive integer.

    Example:
        >>> round(sphere_entropy(128), 4), round(sphere_entropy(1_000_000), 4)
        (-30.8718, -240605.9865)
    """
    if isinstance(dim, bool) or not isinstance(dim, Integral) or dim < 1:
        raise invalid("dim", dim, "an integer, 1 or more")
    dim = int(dim)
    log_mean = _log_mean_small(dim) if dim < _EXPAND_FROM else _log_mean_large(dim)
    return log_mean - dim * _mean_cosine(dim)


def _mean_cosine(dim: int) -> float:
    """Compute I_{n/2}(n) / I_{n/2-1}(n); each step of the fraction gains 0.4 digits or more."""
    fraction = 1.0
    for step in range(60, -1, -1):
        fraction = 1 + 2 * step / dim + 1 / fraction
    return 1 / fraction


def _log_mean_small(dim: int) -> float:
    """Compute log E[exp(n cos)] = log(Gamma(n/2) (2/n)^order I_order(n)), order = n/2 - 1."""
    from scipy.special import ive

    order = dim / 2 - 1
    bessel = math.log(ive(order, dim)) + dim
    return math.lgamma(dim / 2) - order * math.log(dim / 2) + bessel


def _log_mean_large(dim: int) -> float:
    """Compute the same by Debye's expansion of I and Stirling's of Gamma; large terms cancel."""
    order = dim / 2 - 1
    root = math.hypot(1, dim / order)
    p = 1 / root
    p2 = p * p
    u1 = p * (3 - 5 * p2) / 24
    u2 = p2 * (81 - 462 * p2 + 385 * p2**2) / 1152
    u3 = p * p2 * (30375 - 369603 * p2 + 765765 * p2**2 - 425425 * p2**3) / 414720
    debye = math.log1p((u1 + (u2 + u3 / order) / order) / order)
    stirling = (1 - 1 / (30 * order**2)) / (12 * order)
    leading = order * (math.log(2) - 1 + root - math.log1p(root))
    return leading - 0.5 * math.log(root) + debye + stirling
