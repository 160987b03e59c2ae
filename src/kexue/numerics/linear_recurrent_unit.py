"""The linear recurrent unit: a recurrence that needs no iteration to be parallel.

    x_t = lambda * x_(t-1) + gamma * (B u_t),   lambda = exp(-exp(nu) + i exp(theta))
    y_t = Re(C x_t) + D * u_t

Complex lambda inside the unit circle are what the matrix of any linear recurrence has as
eigenvalues, which makes it diagonal. |lambda| is drawn so that the unit remembers from tens to
thousands of steps, and gamma = sqrt(1 - |lambda|^2) makes states as large as their inputs, which is
what a recurrence of |lambda| near 1 needs at the start of a training.

Post: https://kexue.fm/archives/9554
Paper: https://arxiv.org/abs/2303.06349, section 3, and lemma 3.2 on the initial values
Axes: T times, "..." any batch axes, N complex states, D features of the input and the output
"""

import math

import torch
from torch import Tensor, nn

from kexue._check import invalid
from kexue.numerics.scan import scan_diagonal


class LinearRecurrentUnit(nn.Module):
    """Mix a sequence over time with one scan.

    Args:
        features: D, of inputs and outputs.
        states: N, the number of complex states; `features` by default.
        radii: least and largest |lambda| at the start, from 0 up to, but not, 1.
        max_angle: the largest angle of lambda at the start, in radians.

    Attributes:
        nu: [N] log of -log |lambda|.
        theta: [N] log of the angle.
        log_gamma: [N] log of the scale of what comes in.
        enter: [2 N, D] B, the real parts above the imaginary ones.
        leave: [D, 2 N] C, likewise side by side, the imaginary ones negative.
        skip: [D] what passes by the recurrence.

    Example:
        >>> unit = LinearRecurrentUnit(4, states=8)
        >>> output, last = unit(torch.ones(100, 2, 4))
        >>> output.shape, last.shape, last.dtype
        (torch.Size([100, 2, 4]), torch.Size([2, 8]), torch.complex64)
    """

    def __init__(
        self,
        features: int,
        *,
        states: int | None = None,
        radii: tuple[float, float] = (0.9, 0.999),
        max_angle: float = 2 * math.pi,
    ) -> None:
        super().__init__()
        if not 0 <= radii[0] < radii[1] < 1:
            raise invalid("radii", radii, "0 <= least < largest < 1, as in (0.9, 0.999)")
        if not 0 < max_angle <= 2 * math.pi:
            raise invalid("max_angle", max_angle, "above 0 and up to 2 pi")
        self.features, self.states = features, features if states is None else states
        self.radii, self.max_angle = radii, max_angle
        self.nu, self.theta, self.log_gamma = (
            nn.Parameter(torch.empty(self.states)) for _ in range(3)
        )
        self.enter = nn.Parameter(torch.empty(2 * self.states, features))
        self.leave = nn.Parameter(torch.empty(features, 2 * self.states))
        self.skip = nn.Parameter(torch.empty(features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw lambda uniformly from its ring, and the matrices so that variances are kept."""
        with torch.no_grad():
            squares = torch.empty_like(self.nu).uniform_(*(r * r for r in self.radii))
            # 0 is as good as the smallest number, of which the logarithm is finite.
            squares.clamp_(min=torch.finfo(squares.dtype).tiny)
            self.nu.copy_((-0.5 * squares.log()).log())
            self.theta.uniform_(1e-6, 1).mul_(self.max_angle).log_()
            self.log_gamma.copy_(0.5 * torch.log1p(-squares))
            self.enter.normal_(std=(2 * self.features) ** -0.5)
            self.leave.normal_(std=self.states**-0.5)
            self.skip.normal_()

    def factors(self) -> Tensor:
        """Compute lambda.

        Returns:
            [N] complex numbers inside the unit circle, whatever the parameters are; of single
            precision for half, of which there are none.
        """
        nu, theta = _at_least_single(self.nu), _at_least_single(self.theta)
        return torch.polar((-nu.exp()).exp(), theta.exp())

    def forward(self, inputs: Tensor, *, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute all outputs.

        Args:
            inputs: [T, ..., D], time first.
            start: [..., N] complex state before the first input, as from an earlier call; 0 by
                default.

        Returns:
            [T, ..., D] outputs, and [..., N] the complex state after the last input.
        """
        entered = inputs @ self.enter.mT * self.log_gamma.exp().repeat(2)
        offsets = torch.complex(*_at_least_single(entered).chunk(2, -1))
        if start is None:
            start = offsets.new_zeros(offsets.shape[1:])
        states = scan_diagonal(self.factors(), offsets, start)
        mixed = torch.cat((states.real, states.imag), -1).to(inputs.dtype) @ self.leave.mT
        return mixed + self.skip * inputs, states[-1]


def _at_least_single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
