"""Have the vectors of an encoder collapsed, into a point or into few directions?

All of it is said of vectors of length 1, because cosines see no more:

    std              mean over features of their standard deviation, times sqrt(D): 0 where all
                     vectors are one point, 1 where they spread evenly
    effective rank   exp(entropy of the eigenvalues of the covariance, as shares of their sum): how
                     many directions are in use, 1 to D; 0 where all vectors are one point
    mean cosine      of two different vectors: 1 in a point, 0 where they spread evenly
    alignment        mean |x - x+|^2 of vectors that belong together, 0 to 4
    uniformity       log mean e^(-2 |x - y|^2) of different vectors; the lower the evener

The std alone misses vectors that lie on a line, and batch normalisation keeps it near 1 however
few directions are left: read it together with the effective rank.

Paper: https://arxiv.org/abs/2011.10566, section 4.1 (std) and https://arxiv.org/abs/2005.10242,
    equations 6 and 7 (alignment and uniformity)
Axes: N texts, D features
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kexue._check import invalid

# Pairs of texts that are compared at once
_BLOCK = 2**22


@dataclass(frozen=True)
class CollapseReport:
    """How the vectors of an encoder spread.

    Attributes:
        texts: how many vectors were looked at.
        std: standard deviation of the features, times sqrt(D); 0 to 1.
        effective_rank: directions in use, 1 to D; 0 where all vectors are one point.
        mean_cosine: of two different vectors; nan for a single one.

    Example:
        >>> print(CollapseReport(texts=8, std=0.99, effective_rank=5.2, mean_cosine=0.01))
        8 texts: std 0.990, effective rank 5.2, mean cosine 0.010
    """

    texts: int
    std: float
    effective_rank: float
    mean_cosine: float

    def to_dict(self) -> dict[str, float]:
        """Give the figures as a JSON object.

        Returns:
            The fields by name.

        Example:
            >>> CollapseReport(8, 0.99, 5.2, 0.01).to_dict()["std"]
            0.99
        """
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.texts} texts: std {self.std:.3f}, effective rank {self.effective_rank:.1f}, "
            f"mean cosine {self.mean_cosine:.3f}"
        )


@torch.no_grad()
def collapse_report(z: Tensor) -> CollapseReport:
    """Measure how the vectors of an encoder spread.

    Args:
        z: [N, D] vectors of N different texts, of any length.

    Returns:
        Standard deviation, effective rank and mean cosine, computed in float64.

    Raises:
        ValueError: if `z` is not [N, D] with at least one vector, or not finite.

    Example:
        >>> print(collapse_report(torch.eye(4)))
        4 texts: std 0.866, effective rank 3.0, mean cosine 0.000
        >>> print(collapse_report(torch.ones(4, 2)))
        4 texts: std 0.000, effective rank 0.0, mean cosine 1.000
    """
    unit = _unit(z, "z").double()
    count, width = unit.shape
    total = unit.sum(0)
    # The cosines of all pairs add up to |sum|^2, those of each with itself to `own`.
    own = unit.square().sum()
    cosine = float((total @ total - own) / (count * (count - 1))) if count > 1 else float("nan")
    centred = unit - total / count
    std = float(centred.square().mean(0).sqrt().mean() * width**0.5)
    return CollapseReport(count, std, _effective_rank(centred), cosine)


@torch.no_grad()
def alignment(x: Tensor, y: Tensor) -> float:
    """Measure how far apart the vectors of texts that belong together are.

    Args:
        x: [N, D] vectors, of any length.
        y: [N, D] vectors of the partners.

    Returns:
        The mean squared distance of unit vectors, 0 (same direction) to 4 (opposite).

    Raises:
        ValueError: if the shapes are not [N, D] and the same, or a number is not finite.

    Example:
        >>> alignment(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        2.0
    """
    if x.shape != y.shape:
        raise invalid("y", tuple(y.shape), f"the shape of x {tuple(x.shape)}")
    return float((_unit(x, "x") - _unit(y, "y")).square().sum(-1).mean())


@torch.no_grad()
def uniformity(x: Tensor, *, t: float = 2.0) -> float:
    """Measure how evenly vectors spread over the sphere.

    Many vectors drawn evenly from the sphere in D dimensions have -2 t + log 0F1(; D / 2; t^2),
    which is -2.08 for D = 3 and -3.88 for D = 64; a few vectors may lie evener than by chance.

    Args:
        x: [N, D] vectors of at least two different texts, of any length.
        t: how much near pairs count; positive.

    Returns:
        The logarithm of the mean over pairs of e^(-t |x - y|^2), 0 for a point, negative else.

    Raises:
        ValueError: if `x` is not [N, D] with two vectors or more, or not finite.

    Example:
        >>> round(uniformity(torch.eye(3)), 4)
        -4.0
    """
    unit = _unit(x, "x")
    count = len(unit)
    if count < 2:
        raise invalid("x", f"{count} vector", "two or more")
    parts = []
    step = max(1, _BLOCK // count)
    for start in range(0, count, step):
        # |x - y|^2 = 2 - 2 cos for unit vectors
        exponents = (unit[start : start + step] @ unit.mT - 1).mul_(2 * t)
        own = torch.arange(start, start + len(exponents), device=unit.device)
        exponents[own - start, own] = -torch.inf
        parts.append(exponents.flatten().logsumexp(0))
    pairs = torch.tensor(count * (count - 1), dtype=torch.float64)
    return float(torch.stack(parts).double().logsumexp(0).cpu() - pairs.log())


def _unit(x: Tensor, name: str) -> Tensor:
    """Check vectors and give them length 1, in at least float32."""
    if x.ndim != 2 or not len(x):
        raise invalid(name, tuple(x.shape), "[N, D] with at least one vector")
    if not x.isfinite().all():
        raise invalid(name, "not finite", "finite numbers", "Find out why the model gave others.")
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


def _effective_rank(centred: Tensor) -> float:
    """Exponentiate the entropy of the spectrum of centred vectors [N, D]."""
    wide = centred.shape[1] > centred.shape[0]
    gram = centred @ centred.mT if wide else centred.mT @ centred
    spectrum = torch.linalg.eigvalsh(gram).clamp_min(0)
    # What the mean of equal vectors differs from them by is no spread.
    if spectrum.sum() <= 1e-24 * len(centred):
        return 0.0
    shares = spectrum / spectrum.sum()
    return float(torch.special.entr(shares).sum().exp())
