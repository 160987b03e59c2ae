"""SimSiam and BYOL: pull two views of a text together, without negatives and without collapse.

    L = - mean cos(p, stop(z)),   p = predictor(encoder(view 1)), z = encoder(view 2)

All vectors being equal is an optimum. That it is not found needs both the predictor and the
stopped gradient: the predictor, nearer to the loss, learns faster and drives the error to 0 before
the encoder can have collapsed. `kexue.numerics.simsiam_dynamics` has the argument as a system that
is solved, `kexue.metrics.collapse_report` what to watch in training. BYOL is the same loss with z
from a running average of the encoder; its |p - z|^2 of unit vectors is 2 + 2 L.

Post: https://kexue.fm/archives/7980
Paper: https://arxiv.org/abs/2011.10566, equations 1 to 3
Axes: "..." any batch axes, D features
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kexue._check import invalid


def simsiam_loss(p: Tensor, z: Tensor, *, stop_gradient: bool = True) -> Tensor:
    """Compute the negative cosine of predictions and their targets.

    Args:
        p: [..., D] predictions from one view of each text.
        z: [..., D] vectors of the other view.
        stop_gradient: take `z` as given. False is there to see the collapse.

    Returns:
        The mean, a scalar from -1 (all alike) to 1, float32 for half precision. Take the mean of
        both directions, `simsiam_loss(p1, z2)` and `simsiam_loss(p2, z1)`.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> p = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
        >>> simsiam_loss(p, torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
        tensor(-0.8536)
    """
    if p.shape != z.shape:
        raise invalid("z", tuple(z.shape), f"the shape of p {tuple(p.shape)}")
    exact = torch.promote_types(p.dtype, torch.float32)
    target = z.detach() if stop_gradient else z
    return -F.cosine_similarity(p.to(exact), target.to(exact), dim=-1).mean()
