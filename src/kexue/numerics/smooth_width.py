"""The width of a smooth approximation, fixed or learnt.

Post: https://kexue.fm/archives/8718
Axes: none
"""

import math

import torch
from torch import Tensor, nn

from kexue._check import invalid


class SmoothWidth(nn.Module):
    """Hold the width of a kernel: a number, or a parameter whose exponential it is.

    Args:
        width: where it begins, above 0.
        trainable: whether it is a parameter.

    Example:
        >>> SmoothWidth(2.0)(torch.zeros(1))
        2.0
    """

    def __init__(self, width: float, *, trainable: bool = False) -> None:
        super().__init__()
        if not 0 < width < math.inf:
            fix = "For the width 0 call the function itself."
            raise invalid("width", width, "a positive number", fix)
        self.fixed = None if trainable else float(width)
        if trainable:
            self.logarithm = nn.Parameter(torch.tensor(math.log(width)))

    def forward(self, like: Tensor) -> float | Tensor:
        """Give the width.

        Args:
            like: of the dtype and device to give it in.

        Returns:
            A number, or a scalar tensor through which gradients reach the parameter.
        """
        return self.logarithm.exp().to(like) if self.fixed is None else self.fixed
