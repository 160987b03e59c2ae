"""The integral of the gradient along a stretch of a path, and how far it may be off.

The scores at the nodes are known besides the gradients, so it shows not only whether the integral
is right but where on the way it goes astray. Twice the nodes are tried first; a panel that they do
not mend is cut around that place: where a norm meets a baseline of zeros, say, a score may jump
within a hundred thousandth of the path.

Post: https://kexue.fm/archives/7533
Axes: n nodes, "..." the axes of one example
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from kexue.analysis.quadrature import Rule, fejer_rule

_FIRST = 6  # intervals; with fewer than 5 nodes, chance meets a tolerance too often
_MOST = 96

# On the way the sum may be off by so many times the tolerance: an interpolation is less exact
# between its nodes than its whole integral.
_ON_THE_WAY = 5

# Twice the nodes are to make the error so many times smaller, or else the panel is cut.
_GAIN = 4


@dataclass
class Panel:
    """A stretch of the path.

    Attributes:
        start: where it begins.
        end: where it ends.
        low: the score at its beginning.
        high: the score at its end.
        intervals: of its rule, which has one node less.
        slopes: [n, ...] gradients at the nodes.
        along: [n] their products with the direction of the path.
        scores: [n] scores at the nodes.
        error: how much its integral may be off.
        before: the error with half the intervals.

    Example:
        >>> Panel(0.0, 1.0, 0.0, 3.0).fresh.round(3)
        array([0.067, 0.25 , 0.5  , 0.75 , 0.933])
    """

    start: float
    end: float
    low: float
    high: float
    intervals: int = _FIRST
    slopes: Tensor | None = None
    along: np.ndarray = field(default_factory=lambda: np.empty(0))
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    error: float = np.inf
    before: float = np.inf

    @property
    def rule(self) -> Rule:
        """The rule of the panel."""
        return fejer_rule(self.intervals)

    @property
    def fresh(self) -> np.ndarray:
        """Nodes of the path that the panel has nothing for yet."""
        nodes = self.start + (self.end - self.start) * self.rule.nodes
        return nodes if self.slopes is None else nodes[::2]

    def take(self, slopes: Tensor, along: np.ndarray, scores: np.ndarray) -> None:
        """Add what was found at the fresh nodes.

        Args:
            slopes: [n, ...] gradients.
            along: [n] their products with the direction of the path.
            scores: [n] scores.
        """
        if self.slopes is not None:
            merged = slopes.new_empty(self.intervals - 1, *slopes.shape[1:])
            merged[::2], merged[1::2] = slopes, self.slopes
            slopes = merged
            # The old values stand between the new ones.
            places = np.arange(len(self.along))
            along = np.insert(along, places + 1, self.along)
            scores = np.insert(scores, places + 1, self.scores)
        self.slopes, self.along, self.scores = slopes, along, scores
        astray = np.abs(self.astray).max() / _ON_THE_WAY
        self.before, self.error = self.error, max(abs(self.gap), astray)

    @property
    def gap(self) -> float:
        """The integral less the difference of the scores."""
        width = self.end - self.start
        return float(width * self.rule.weights @ self.along - (self.high - self.low))

    @property
    def astray(self) -> np.ndarray:
        """[n] the same from the beginning to each node."""
        width = self.end - self.start
        return width * self.rule.partial @ self.along - (self.scores - self.low)

    def integral(self) -> Tensor:
        """Sum the gradients.

        Returns:
            [...] the integral over the panel.
        """
        weights = torch.as_tensor(self.rule.weights * (self.end - self.start)).to(self.slopes)
        return torch.einsum("n,n...->...", weights, self.slopes)

    def refined(self) -> list["Panel"]:
        """Ask for more nodes, or cut the panel before and after the place that is worst.

        Returns:
            One or more panels that take its place.
        """
        if self.intervals == _FIRST or (
            self.intervals < _MOST and self.error * _GAIN < self.before
        ):
            return [replace(self, intervals=2 * self.intervals)]
        steps = np.diff(np.concatenate(([0.0], self.astray, [self.gap])))
        worst = int(np.abs(steps).argmax())
        nodes = self.start + (self.end - self.start) * self.rule.nodes
        places = np.concatenate(([self.start], nodes, [self.end]))
        scores = np.concatenate(([self.low], self.scores, [self.high]))
        cuts = sorted({0, worst, worst + 1, len(places) - 1})
        ends = np.column_stack((places[cuts], scores[cuts])).tolist()
        return [Panel(a, b, low, high) for (a, low), (b, high) in pairwise(ends)]
