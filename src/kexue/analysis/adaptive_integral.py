"""The integral of the gradient along one path, refined where it is not yet right.

The path is one panel at first, with Fejer's rule of 5 nodes, then 11, 23, ..., none of them taken
twice; where that does not help it is cut. What is refined next is always the worst panel.

Post: https://kexue.fm/archives/7533
Axes: n nodes, "..." the axes of one example
"""

import numpy as np
import torch
from torch import Tensor

from kexue.analysis.path_panel import Panel

# Two scores that are equal by chance are no reason to take endless pains.
_SHARE = 0.1


class AdaptiveIntegral:
    """The panels of one path.

    Args:
        low: the score of the baseline.
        high: the score of the input.
        tolerance: how much the sum of the integral may miss, as a share of the difference of both
            scores, or of a tenth of how far the score moves on the way, where that is more.
        rounding: what it may miss in any case.
        most_steps: stop at so many nodes.

    Example:
        >>> integral = AdaptiveIntegral(0.0, 1.0, 1e-3, 0.0, 383)
        >>> places = integral.wanted
        >>> integral.take(torch.ones(5, 1), np.ones(5), places)
        >>> integral.finished, integral.converged, integral.total()
        (True, True, tensor([1.]))
    """

    def __init__(
        self, low: float, high: float, tolerance: float, rounding: float, most_steps: int
    ) -> None:
        self.tolerance, self.rounding, self.most_steps = tolerance, rounding, most_steps
        self._difference = abs(high - low)
        self._least, self._most = min(low, high), max(low, high)
        self.steps = 0
        self.finished = False
        self._panels: list[Panel] = []
        self._asked = [Panel(0.0, 1.0, low, high)]

    @property
    def wanted(self) -> np.ndarray:
        """[n] places between 0 and 1 where gradients are to be taken next."""
        return np.concatenate([panel.fresh for panel in self._asked])

    def take(self, slopes: Tensor, along: np.ndarray, scores: np.ndarray) -> None:
        """Add what was found at the places that were wanted.

        Args:
            slopes: [n, ...] gradients.
            along: [n] their products with the direction of the path.
            scores: [n] scores.
        """
        first = 0
        for panel in self._asked:
            part = slice(first, first + len(panel.fresh))
            first = part.stop
            with np.errstate(invalid="ignore"):
                panel.take(slopes[part], along[part], scores[part])
        self._least = min(self._least, float(scores.min()))
        self._most = max(self._most, float(scores.max()))
        self._panels += self._asked
        self.steps += first
        # With scores that are no numbers there is nothing to go on with.
        self.finished = self.converged or not np.isfinite(sum(p.error for p in self._panels))
        if not self.finished:
            worst = max(range(len(self._panels)), key=lambda k: self._panels[k].error)
            self._asked = self._panels[worst].refined()
            self.finished = self.steps + len(self.wanted) > self.most_steps
        if not self.finished:
            del self._panels[worst]

    @property
    def converged(self) -> bool:
        """Whether the errors of all panels together are within the tolerance."""
        scale = max(self._difference, _SHARE * (self._most - self._least))
        allowed = max(self.tolerance * scale, self.rounding)
        return sum(panel.error for panel in self._panels) <= allowed

    @property
    def gap(self) -> float:
        """The sum of the integral less the difference of the scores."""
        return sum(panel.gap for panel in self._panels)

    def total(self) -> Tensor:
        """Sum the panels.

        Returns:
            [...] the integral of the gradient.
        """
        return torch.stack([panel.integral() for panel in self._panels]).sum(0)
