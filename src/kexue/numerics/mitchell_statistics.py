"""How far Mitchell's approximation is off: by integration, and measured on numbers at hand.

Relative errors depend on the fractions x and y in [0, 1) of the operands alone:

    antilog(x + y + c) / ((1 + x) (1 + y)) - 1        of products, with an offset c
    antilog(x - y + c) (1 + y) / (1 + x) - 1          of quotients
    antilog((q + x) / 2 + c) / sqrt(2^q (1 + x)) - 1  of roots, q = 0 or 1 alike

antilog is made of straight lines, so that for each x the errors are pieces of polynomials in y over
1 + y; the integral over y takes each by itself, between the corners and where the sign changes.

Post: https://kexue.fm/archives/7991
Axes: X values of x, P pieces of y, Q nodes of a piece
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from kexue._check import invalid

_PANELS, _NODES = 512, 16


class MitchellError(NamedTuple):
    """Relative errors of approximate results.

    Attributes:
        mean: their mean, negative where results are too small.
        mean_absolute: the mean of their magnitudes.
        rms: the root of the mean of their squares.
        lowest: the least error.
        highest: the largest error.

    Example:
        >>> expected_mitchell_error("multiply").lowest
        -0.111...
    """

    mean: float
    mean_absolute: float
    rms: float
    lowest: float
    highest: float


def expected_mitchell_error(
    operation: str = "multiply", *, mantissas: str = "uniform", offset: float = 0.0
) -> MitchellError:
    """Integrate the relative error over all mantissas.

    Args:
        operation: "multiply", "divide" or "sqrt".
        mantissas: "uniform", where all fractions are as likely, or "log-uniform", where all
            logarithms are, which is nearly so for numbers that spread over many sizes.
        offset: what is added to the logarithm of the result, between -1 and 1.

    Returns:
        The errors, means to 6 digits and more.

    Raises:
        ValueError: if a name is unknown or the offset too large.

    Example:
        >>> error = expected_mitchell_error("multiply")
        >>> round(error.mean, 7), round(error.rms, 5), round(error.lowest, 4)
        (-0.038488, 0.04842, -0.1111)
    """
    if mantissas not in ("uniform", "log-uniform"):
        raise invalid("mantissas", mantissas, "'uniform' or 'log-uniform'")
    if not -1 < offset < 1:
        raise invalid("offset", offset, "a number between -1 and 1")
    if operation not in ("multiply", "divide", "sqrt"):
        raise invalid("operation", operation, "'multiply', 'divide' or 'sqrt'")
    edges = np.linspace(0, 1, _PANELS + 1)
    x, weights = _gauss(edges[:-1, None], edges[1:, None])
    x, weights = x.ravel(), (weights * _density(x, mantissas)).ravel()
    if operation == "sqrt":
        errors = np.stack([_root_error(x, odd, offset) for odd in (0, 1)])
        ends = [_root_error(_root_corners(odd, offset), odd, offset) for odd in (0, 1)]
        return _summary(errors, np.stack([weights, weights]) / 2, np.concatenate(ends))
    sign = 1 if operation == "multiply" else -1
    corners = _corners(x, sign, offset)
    y, inner = _gauss(corners[:, :-1, None], corners[:, 1:, None])
    errors = _error(x[:, None, None], y, sign, offset)
    # At the edges of x, and where both fractions are at the corner of a product
    x = np.append(edges, [(1 - offset) / 2, np.clip(-offset, 0, 1)]).clip(0, 1)
    ends = _error(x[:, None], _corners(x, sign, offset), sign, offset)
    return _summary(errors, weights[:, None, None] * inner * _density(y, mantissas), ends)


def measured_mitchell_error(
    approximate: np.ndarray | Tensor, exact: np.ndarray | Tensor
) -> MitchellError:
    """Compare approximate results with exact ones.

    Args:
        approximate: [...] results, integers or floats.
        exact: [...] the true results. Those that are 0 or not finite are left out.

    Returns:
        The relative errors, computed in float64.

    Raises:
        ValueError: if the shapes differ or no result is left.

    Example:
        >>> from kexue.numerics.mitchell import mitchell_multiply
        >>> a = np.arange(1, 256)
        >>> error = measured_mitchell_error(mitchell_multiply(a[:, None], a), a[:, None] * a)
        >>> round(error.lowest, 4), error.highest
        (-0.1111, 0.0)
    """
    approximate, exact = _numbers(approximate), _numbers(exact)
    if approximate.shape != exact.shape:
        shapes = approximate.shape, exact.shape
        raise invalid("the shapes", shapes, "two equal ones")
    chosen = np.isfinite(exact) & (exact != 0)
    if not chosen.any():
        raise invalid("exact", exact, "at least one finite number other than 0")
    errors = approximate[chosen] / exact[chosen] - 1
    return _summary(errors, np.full(errors.shape, 1 / errors.size), errors)


def _numbers(x: np.ndarray | Tensor) -> np.ndarray:
    """Convert to an array of float64."""
    return x.detach().cpu().double().numpy() if isinstance(x, Tensor) else np.asarray(x, np.float64)


def _summary(errors: np.ndarray, weights: np.ndarray, ends: np.ndarray) -> MitchellError:
    """Sum up errors; extremes lie at the ends of pieces or among the errors."""
    return MitchellError(
        mean=float((weights * errors).sum()),
        mean_absolute=float((weights * np.abs(errors)).sum()),
        rms=float((weights * errors**2).sum() ** 0.5),
        lowest=float(min(errors.min(), ends.min())),
        highest=float(max(errors.max(), ends.max())),
    )


def _gauss(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place nodes along a last axis between two ends, with their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES if low.ndim > 2 else 4)
    return low + (high - low) * (nodes + 1) / 2, (high - low) * weights / 2


def _density(x: np.ndarray, mantissas: str) -> np.ndarray:
    """Compute how likely a fraction is."""
    return np.ones_like(x) if mantissas == "uniform" else 1 / ((1 + x) * np.log(2))


def _antilog(log: np.ndarray) -> np.ndarray:
    """Compute 2^n (1 + x) from n + x."""
    whole = np.floor(log)
    return 2.0**whole * (1 + log - whole)


def _root_error(x: np.ndarray, odd: int, offset: float) -> np.ndarray:
    """Compute the relative error of roots of 2^odd (1 + x)."""
    return _antilog((odd + x) / 2 + offset) / np.sqrt(2**odd * (1 + x)) - 1


def _root_corners(odd: int, offset: float) -> np.ndarray:
    """Find the fractions where the error of a root may be least or largest."""
    whole = np.arange(-2, 3)
    corners = 2 * (whole - offset) - odd
    level = odd + 2 * (offset - whole)
    return np.concatenate([[0, 1], corners, level]).clip(0, 1)


def _error(x: np.ndarray, y: np.ndarray, sign: int, offset: float) -> np.ndarray:
    """Compute the relative error of products, sign 1, or quotients, sign -1."""
    return _antilog(x + sign * y + offset) / ((1 + x) * (1 + y) ** sign) - 1


def _corners(x: np.ndarray, sign: int, offset: float) -> np.ndarray:
    """Find all y for each x between which the error is smooth and keeps its sign."""
    found = [np.zeros_like(x), np.ones_like(x)]
    for whole in (-2, -1, 0, 1, 2):
        found.append(sign * (whole - offset - x))
        base = 1 - whole + offset + x  # antilog is 2^whole (base + sign y)
        share = (1 + x) / 2.0**whole
        with np.errstate(divide="ignore", invalid="ignore"):
            if sign > 0:
                found.append((share - base) / (1 - share))
            else:
                middle, spread = (base - 1) / 2, np.sqrt((base + 1) ** 2 / 4 - share)
                found += [middle, middle - spread, middle + spread]
    corners = np.nan_to_num(np.stack(found, 1), nan=0.0, posinf=1.0, neginf=0.0)
    return np.sort(corners.clip(0, 1), axis=1)  # [X, P + 1]
