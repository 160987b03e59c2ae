"""Smooth approximations as modules, with their width and what is known of their error.

Post: https://kexue.fm/archives/8718
Axes: "..." any axes of points
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kexue._check import invalid
from kexue.numerics.dirac_closed_form import (
    convolution_bound,
    convolve,
    multiply,
    product_bound,
)
from kexue.numerics.dirac_kernels import find_kernel
from kexue.numerics.dirac_quadrature import convolve_by_quadrature, quadrature
from kexue.numerics.dirac_repeated import convolve_repeated, near_by
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.repeated_functions import RepeatedPolynomial
from kexue.numerics.smooth_width import SmoothWidth


class SmoothPieces(nn.Module):
    """Smooth a piecewise polynomial in closed form; `smooth` makes these.

    Args:
        pieces: the function.
        kernel: the name of the density.
        width: its width, above 0.
        form: "convolution" or "product".
        trainable: make the logarithm of the width a parameter.

    Example:
        >>> ramp = PiecewisePolynomial((0.0,), ((0.0,), (0.0, 1.0)))
        >>> module = SmoothPieces(ramp, kernel="algebraic", width=2.0)
        >>> module(torch.tensor([0.0])), module.largest_error()
        (tensor([1.]), 1.0)
    """

    def __init__(
        self,
        pieces: PiecewisePolynomial | RepeatedPolynomial,
        *,
        kernel: str,
        width: float,
        form: str = "convolution",
        trainable: bool = False,
    ) -> None:
        super().__init__()
        if form not in ("convolution", "product"):
            raise invalid("form", form, "'convolution' or 'product'")
        self.pieces, self.kernel, self.form = pieces, kernel, form
        self.width = SmoothWidth(width, trainable=trainable)
        density = find_kernel(kernel)
        finite = isinstance(pieces, PiecewisePolynomial)
        if finite and form == "convolution" and pieces.growth > density.growth:
            allowed = f"one that can average what grows like x^{pieces.growth}"
            raise invalid("kernel", kernel, allowed, "Take 'gaussian', or form='product'.")
        # What cannot be computed is refused now and not in the middle of a training.
        with torch.no_grad():
            self(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the smooth function.

        Args:
            x: [...] points, of any floating dtype.

        Returns:
            [...] of the dtype of `x`, computed in float32 at least.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        options = {"kernel": find_kernel(self.kernel), "width": self.width(wide)}
        if isinstance(self.pieces, PiecewisePolynomial):
            function = convolve if self.form == "convolution" else multiply
            return function(self.pieces, wide, **options).to(x.dtype)
        if self.form == "convolution":
            return convolve_repeated(self.pieces, wide, **options).to(x.dtype)
        local = near_by(multiply, self.pieces, wide, **options)
        return (local + self.pieces.rise * self.pieces.turns(wide)).to(x.dtype)

    def error_bound(self, x: Tensor) -> Tensor:
        """Bound the difference from the function itself, point by point.

        Args:
            x: [...] points.

        Returns:
            [...] numbers, float32 at least, that |self(x) - pieces(x)| is at most; equal to it
            where there is one break only.

        Raises:
            ValueError: if the tails of the kernel are too fat for a bound.
        """
        wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        bound = convolution_bound if self.form == "convolution" else product_bound
        options = {"kernel": find_kernel(self.kernel), "width": self.width(wide)}
        if isinstance(self.pieces, PiecewisePolynomial):
            return bound(self.pieces, wide, **options).detach()
        return near_by(bound, self.pieces, wide, **options).detach()

    def largest_error(self) -> float:
        """Bound the difference everywhere, for a convolution of constant and linear pieces.

        Between breaks the bounds are convex: tails are. They are largest at a break.

        Returns:
            The number; half the jump for a step, the error at the kink for a ReLU.

        Raises:
            ValueError: if it is another function.
        """
        if self.form != "convolution" or max(map(len, self.pieces.pieces)) > 2:
            fix = "Look at error_bound(x) on the range that is used."
            given = f"a {self.form} of {self.pieces}"
            raise invalid("this", given, "a convolution of constant and linear pieces", fix)
        if not self.pieces.breaks:
            return 0.0
        return float(self.error_bound(torch.tensor(self.pieces.breaks, dtype=torch.float64)).max())

    def extra_repr(self) -> str:
        """Name the options; for the width see below it."""
        return f"kernel={self.kernel!r}, form={self.form!r}"


class SmoothFunction(nn.Module):
    """Smooth any function by quadrature; `smooth` makes these.

    Args:
        function: gives [..., Q] for [..., Q], element by element.
        kernel: the name of the density.
        width: its width, above 0.
        trainable: make the logarithm of the width a parameter.
        points: Q, how many values of the function an average is made of.

    Example:
        >>> SmoothFunction(torch.square, kernel="box", width=3.0)(torch.zeros(1))
        tensor([3.])
    """

    nodes: Tensor
    weights: Tensor

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        *,
        kernel: str,
        width: float,
        trainable: bool = False,
        points: int = 64,
    ) -> None:
        super().__init__()
        self.function = function
        self.width = SmoothWidth(width, trainable=trainable)
        nodes, weights = quadrature(kernel, points)
        self.register_buffer("nodes", nodes, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Average the function around each point.

        Args:
            x: [...] points, of any floating dtype.

        Returns:
            [...] of the dtype of `x`, computed in float32 at least.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        options = {"nodes": self.nodes, "weights": self.weights, "width": self.width(wide)}
        return convolve_by_quadrature(self.function, wide, **options).to(x.dtype)
