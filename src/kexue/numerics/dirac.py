"""Smooth approximations: a function averaged by a narrow density, an approximate Dirac delta.

    g(x) = E[f(x - width Y)]      convolution: ReLU becomes softplus, |x| and clip and round follow
    x [x >= 0]  ->  x Phi(x / width)   product: the same ReLU becomes GELU, or Swish

Every piecewise polynomial has closed forms, for eight densities, of finitely many pieces or of
infinitely many that repeat; what else can be called is averaged by quadrature. For an L-Lipschitz f
the convolution is within L E|Y| of f, for a convex one it lies above, at a jump it meets the
middle, and away from a jump the error is what the tail of the density holds.

Post: https://kexue.fm/archives/8718
Paper: https://arxiv.org/abs/2109.13210
Axes: "..." any axes of points
"""

from collections.abc import Callable

from torch import Tensor

from kexue._check import invalid
from kexue.numerics.dirac_modules import SmoothFunction, SmoothPieces
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.repeated_functions import RepeatedPolynomial

_Pieces = PiecewisePolynomial | RepeatedPolynomial


def smooth(
    pieces: _Pieces | Callable[[Tensor], Tensor],
    *,
    kernel: str,
    width: float,
    form: str = "convolution",
    trainable: bool = False,
    points: int = 64,
) -> SmoothPieces | SmoothFunction:
    """Make a smooth approximation of a function, an activation to be used like any other.

    Args:
        pieces: a `PiecewisePolynomial` or `RepeatedPolynomial`, such as `relu()` or `floor()`; or
            any function of tensors that works element by element.
        kernel: "gaussian", "logistic", "tanh", "laplace", "algebraic", "box", "epanechnikov" or
            "cauchy", see `dirac_kernels`.
        width: the standard deviation of "gaussian", 1 / t of the logistic function sigma(t x), half
            the support of "box" and "epanechnikov". As it falls to 0, the function comes back.
        form: "convolution" or "product", the latter for piecewise polynomials only.
        trainable: make the logarithm of the width a parameter.
        points: of the quadrature, for functions that are no piecewise polynomials.

    Returns:
        A module from [...] to [...] of the same dtype. Its `error_bound` bounds what it differs by,
        where it has a closed form.

    Raises:
        ValueError: if an option is unknown, or the function grows too fast for the kernel.

    Example:
        >>> import torch
        >>> from kexue.numerics.piecewise_functions import relu
        >>> softplus = smooth(relu(), kernel="logistic", width=1.0)
        >>> gelu = smooth(relu(), kernel="gaussian", width=1.0, form="product")
        >>> softplus(torch.tensor([0.0, 1.0])), gelu(torch.tensor([0.0, 1.0]))
        (tensor([0.6931, 1.3133]), tensor([0.0000, 0.8413]))
        >>> smooth(torch.sin, kernel="gaussian", width=0.5)(torch.tensor([1.0]))
        tensor([0.7426])
    """
    if isinstance(pieces, PiecewisePolynomial | RepeatedPolynomial):
        return SmoothPieces(pieces, kernel=kernel, width=width, form=form, trainable=trainable)
    if form != "convolution":
        fix = "Write it as a PiecewisePolynomial, or take form='convolution'."
        raise invalid("pieces", pieces, f"a piecewise polynomial for form={form!r}", fix)
    return SmoothFunction(pieces, kernel=kernel, width=width, trainable=trainable, points=points)
