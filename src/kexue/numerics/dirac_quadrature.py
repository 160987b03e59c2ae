"""Any function smoothed by a kernel, by quadrature: g(x) = sum over i of w_i f(x - width y_i).

The nodes are those of Gauss for "gaussian", "box" and "epanechnikov", and for "laplace" those of
Laguerre on each side; for "logistic" and "tanh" equal steps of t in y = sinh t; for "algebraic"
those of Legendre in the sine, for "cauchy" equal steps in the angle, of arctan y. For functions
that are smooth on the scale of the width the error falls exponentially with the number of nodes,
for those with kinks about like its square.

Post: https://kexue.fm/archives/8718
Axes: "..." any axes of points, Q nodes
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.dirac_kernels import find_kernel


def quadrature(kernel: str, points: int) -> tuple[Tensor, Tensor]:
    """Compute nodes and weights for a kernel of width 1.

    Args:
        kernel: its name.
        points: Q, how many, at least 1; of Laplace's one more where it is odd.

    Returns:
        [Q] nodes and [Q] weights of sum 1, float64.

    Raises:
        ValueError: if there are no points, or no such kernel.

    Example:
        >>> nodes, weights = quadrature("gaussian", 8)
        >>> round(float(weights @ nodes**4), 9)
        3.0
    """
    find_kernel(kernel)
    if points < 1:
        raise invalid("points", points, "1 or more")
    n = np.arange(1, points)
    # The squared coefficients of the recurrence of monic orthogonal polynomials
    recurrences = {
        "gaussian": n,
        "box": n**2 / (4 * n**2 - 1),
        "epanechnikov": n * (n + 2) / ((2 * n + 1) * (2 * n + 3)),
    }
    if kernel in recurrences:
        nodes, vectors = eigh_tridiagonal(np.zeros(points), np.sqrt(recurrences[kernel]))
        found = nodes, vectors[0] ** 2
    else:
        found = _other_nodes(kernel, points)
    nodes, weights = (torch.from_numpy(np.ascontiguousarray(array)) for array in found)
    return nodes, weights


def _other_nodes(kernel: str, points: int) -> tuple[np.ndarray, np.ndarray]:
    if kernel == "laplace":
        nodes, weights = np.polynomial.laguerre.laggauss((points + 1) // 2)
        return np.concatenate([-nodes[::-1], nodes]), np.concatenate([weights[::-1], weights]) / 2
    if kernel in ("logistic", "tanh"):
        steps = np.linspace(-1, 1, points) * np.arcsinh(40) if points > 1 else np.zeros(1)
        nodes, weights = np.sinh(steps), np.cosh(steps) / np.cosh(np.sinh(steps) / 2) ** 2
        return nodes / (2 if kernel == "tanh" else 1), weights / weights.sum()
    if kernel == "algebraic":
        sines, weights = np.polynomial.legendre.leggauss(points)
        return sines / np.sqrt(1 - sines**2), weights / 2
    angles = np.pi * ((np.arange(points) + 0.5) / points - 0.5)
    return np.tan(angles), np.full(points, 1 / points)


def convolve_by_quadrature(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    nodes: Tensor,
    weights: Tensor,
    width: float | Tensor,
) -> Tensor:
    """Average a function around each point.

    Args:
        function: gives [..., Q] for [..., Q], element by element.
        x: [...] points.
        nodes: [Q] from `quadrature`.
        weights: [Q] likewise.
        width: of the kernel, above 0.

    Returns:
        [...] the averages, differentiable as far as `function` is.

    Example:
        >>> nodes, weights = quadrature("gaussian", 8)
        >>> options = {"nodes": nodes.float(), "weights": weights.float(), "width": 1.0}
        >>> convolve_by_quadrature(torch.square, torch.tensor([0.0, 2.0]), **options)
        tensor([1.0000, 5.0000])
    """
    return function(x.unsqueeze(-1) - width * nodes.to(x)) @ weights.to(x)
