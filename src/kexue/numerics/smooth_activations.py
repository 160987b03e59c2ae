"""Activations made by smoothing: SAU, the larger of two, and rounding that passes a gradient.

    SAU(x) = a x + (1 - a) E[max(x - width Y, 0)],   Y normal:  leaky ReLU of slope a
    max(x, y) = y + max(x - y, 0)

All others are `smooth` of a piecewise polynomial: softplus, squareplus, GELU, Swish, smooth clip.

Post: https://kexue.fm/archives/8718
Paper: https://arxiv.org/abs/2109.13210
Axes: "..." any axes of points
"""

import torch
from torch import Tensor, nn

from kexue.numerics.dirac_closed_form import convolve
from kexue.numerics.dirac_kernels import find_kernel
from kexue.numerics.dirac_modules import SmoothPieces
from kexue.numerics.piecewise_functions import relu
from kexue.numerics.smooth_width import SmoothWidth


class SAU(nn.Module):
    """Apply a leaky ReLU smoothed by a normal density, whose slope is learnt.

    Args:
        slope: where the slope on the negative side begins.
        width: where the standard deviation of the density begins, above 0.
        trainable: whether slope and width are parameters.

    Example:
        >>> SAU(slope=0.0, width=1.0)(torch.tensor([0.0, -1.0]))
        tensor([0.3989, 0.0833], grad_fn=<...>)
    """

    def __init__(self, *, slope: float = 0.15, width: float = 0.5, trainable: bool = True) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)), requires_grad=trainable)
        self.width = SmoothWidth(width, trainable=trainable)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it.

        Args:
            x: [...] of any floating dtype.

        Returns:
            [...] of the dtype of `x`, computed in float32 at least.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        slope = self.slope.to(wide)
        ramp = convolve(relu(), wide, kernel=find_kernel("gaussian"), width=self.width(wide))
        return (slope * wide + (1 - slope) * ramp).to(x.dtype)


def smooth_maximum(x: Tensor, y: Tensor, *, kernel: str, width: float) -> Tensor:
    """Compute a smooth approximation of the larger of two numbers, from above.

    Args:
        x: [...] of any floating dtype.
        y: [...] to be broadcast against `x`.
        kernel: as for `smooth`, with a mean.
        width: as for `smooth`; "logistic" and 1 give log(exp(x) + exp(y)).

    Returns:
        [...] the larger one, plus what is at most the error of a smooth ReLU.

    Example:
        >>> smooth_maximum(torch.tensor([1.0]), torch.tensor([1.0]), kernel="laplace", width=0.2)
        tensor([1.1000])
    """
    more = SmoothPieces(relu(), kernel=kernel, width=width)
    # About the larger of the two, so that nothing is lost where both are large
    larger, smaller = torch.maximum(x, y), torch.minimum(x, y)
    return larger + more(smaller - larger)


class StraightThrough(nn.Module):
    """Compute a function exactly and pass the gradient of its smooth approximation.

    Args:
        module: from `smooth`, of a piecewise polynomial.

    Example:
        >>> from kexue.numerics.repeated_functions import nearest
        >>> rounded = StraightThrough(SmoothPieces(nearest(), kernel="gaussian", width=0.3))
        >>> x = torch.tensor([0.4, 2.6], requires_grad=True)
        >>> y = rounded(x)
        >>> y.sum().backward()
        >>> y, x.grad
        (tensor([0., 3.], grad_fn=<...>), tensor([1.2743, 1.2743]))
    """

    def __init__(self, module: SmoothPieces) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Apply it.

        Args:
            x: [...] of any floating dtype.

        Returns:
            [...] values of the function itself.
        """
        exact, smooth = self.module.pieces(x.detach()), self.module(x)
        return exact + (smooth - smooth.detach())
