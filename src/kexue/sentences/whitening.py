"""BERT-whitening: sentence vectors without a common direction, in fewer dimensions.

    S_beta = 1/N sum (x - beta m)^T (x - beta m) = U diag(v) U^T,   v in falling order
    y = (x - beta m) U[:, :k] diag(v[:k])^(-gamma / 2)

beta = gamma = 1 is whitening, to mean 0 and covariance 1. It lifts the article's BERT-base, not
fine-tuned, from 59.0 to 71.4 on STS-B (k = 256), and lowers most models trained for similarity.
beta = gamma = 0 is a rotation: it keeps every cosine, nearly so in 256 dimensions, for any model.

Post: https://kexue.fm/archives/8069, https://kexue.fm/archives/9079 (beta and gamma)
Paper: https://arxiv.org/abs/2103.15316, section 3
Axes: N vectors, D features, K features kept
"""

import copy
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kexue.sentences.affine import faiss_transform, linear_layer, map_rows
from kexue.sentences.moments import Moments
from kexue.sentences.principal import PrincipalAxes, count_kept, principal_axes, scaled_directions
from kexue.sentences.whitening_files import load_statistics, save_statistics


class Whitening:
    """Fit and apply whitening, ordinary PCA (gamma = 0), or anything in between.

    Args:
        k: number of directions of largest variance to keep; all by default. 256 of 768 is usual.
        beta: how much of the mean is taken away.
        gamma: how much of the differences between variances is taken away.
        rtol: directions with up to this part of the largest variance are left out of whitening; by
            default those that rounding leaves uncertain.
        double: multiply float32 in float64, see `Moments`.

    Attributes:
        moments_: the `Moments` of all vectors so far.
        axes_: their `PrincipalAxes`: variances v, directions U, and rank.
        weight_: [D, K] float64, the matrix of y = x @ weight_ + bias_.
        bias_: [K] float64.

    Example:
        >>> x = np.random.default_rng(0).normal(5, 2, (1000, 4)) @ np.triu(np.ones((4, 4)))
        >>> whitening = Whitening().fit(x)
        >>> np.allclose(np.cov(whitening.transform(x).T, ddof=0), np.eye(4))
        True
        >>> whitening.with_options(k=2, beta=0.0, gamma=0.0).transform(x).shape
        (1000, 2)
    """

    def __init__(
        self,
        k: int | None = None,
        *,
        beta: float = 1.0,
        gamma: float = 1.0,
        rtol: float | None = None,
        double: bool = False,
    ) -> None:
        self.k, self.beta, self.gamma, self.rtol, self.double = k, beta, gamma, rtol, double
        self.moments_ = Moments(double=double)
        self._last_axes = self._last_map = ((), None)

    def fit(self, x: np.ndarray | Tensor) -> "Whitening":
        """Learn from all vectors at once, forgetting those before.

        Args:
            x: [N, D] array, memory map or tensor of 16, 32 or 64 bits, read once, part by part.

        Returns:
            This object. A ValueError tells of rows that are not finite, and of too few vectors.
        """
        self.moments_ = Moments(double=self.double).add(x)
        self._map()
        return self

    def partial_fit(self, x: np.ndarray | Tensor) -> "Whitening":
        """Learn from more vectors; the result is that of one fit on all of them.

        Args:
            x: [N, D] as for `fit`, any number of them: the map is worked out when it is used.

        Returns:
            This object.
        """
        # What `with_options` made holds these moments too.
        self.moments_ = copy.copy(self.moments_).add(x)
        return self

    def merge(self, other: "Whitening | Moments") -> "Whitening":
        """Learn from the vectors that another object, of another machine maybe, has seen.

        Args:
            other: a whitening or moments; left as it is.

        Returns:
            This object.
        """
        self.moments_ = copy.copy(self.moments_).merge(getattr(other, "moments_", other))
        return self

    def with_options(
        self,
        *,
        k: int | EllipsisType | None = ...,
        beta: float | EllipsisType = ...,
        gamma: float | EllipsisType = ...,
    ) -> "Whitening":
        """Make another whitening from the same vectors, without going through them again.

        Args:
            k: as for the class; what is left out stays as it is here.
            beta: likewise.
            gamma: likewise.

        Returns:
            The new object; what one of the two learns later, the other does not.
        """
        other, given = copy.copy(self), {"k": k, "beta": beta, "gamma": gamma}
        vars(other).update({name: to for name, to in given.items() if to is not ...})
        return other

    def transform(self, x: np.ndarray | Tensor) -> np.ndarray | Tensor:
        """Whiten vectors.

        Args:
            x: [N, D] as for `fit`. No gradient flows through; `as_linear` is for that.

        Returns:
            [N, K] of the kind, dtype and device of `x`, not normalised.
        """
        weight, bias = self._map()
        mean, spread = self.moments_.mean, np.trace(self.moments_.scatter) / self.moments_.count
        # A mean of four times the spread takes two bits of float32.
        return map_rows(x, weight, bias, centre=mean if mean @ mean > 16 * spread else None)

    def as_linear(self, *, dtype: torch.dtype = torch.float32) -> nn.Linear:
        """Make a layer, for a model of one's own or for `append_dense`.

        Args:
            dtype: of its parameters, which do not require a gradient.

        Returns:
            A layer from D to K features.
        """
        return linear_layer(*self._map(), dtype=dtype)

    def as_faiss(self) -> Any:
        """Make a `faiss.LinearTransform`, for a `faiss.IndexPreTransform` around any index.

        Returns:
            The transform, in float32. Needs faiss: `pip install "kexue[search]"`.
        """
        return faiss_transform(*self._map())

    def save_pretrained(self, folder: str | Path) -> None:
        """Write statistics and options, from which `partial_fit` goes on where it stopped.

        Args:
            folder: where whitening.safetensors goes; one that is there is replaced at once.
        """
        options = {name: getattr(self, name) for name in ("k", "beta", "gamma", "rtol")}
        save_statistics(folder, self.moments_, options)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Whitening":
        """Read what `save_pretrained` wrote.

        Args:
            folder: where it was written to.

        Returns:
            The whitening.
        """
        moments, options = load_statistics(folder)
        return cls(**options, double=moments.double).merge(moments)

    @property
    def axes_(self) -> PrincipalAxes:
        """The principal axes; the last ones are kept, for another k and gamma too."""
        key = (self.moments_, self.beta, self.rtol)
        if self._last_axes[0] != key:
            self._last_axes = (key, principal_axes(key[0], beta=self.beta, rtol=self.rtol))
        return self._last_axes[1]

    weight_ = property(lambda self: self._map()[0], doc="The matrix of the map.")
    bias_ = property(lambda self: self._map()[1], doc="The constant of the map.")

    def _map(self) -> tuple[np.ndarray, np.ndarray]:
        key = (self.moments_, self.k, self.beta, self.gamma, self.rtol)
        if self._last_map[0] != key:
            k = count_kept(self.axes_, self.moments_.count, k=self.k, gamma=self.gamma)
            weight = scaled_directions(self.axes_, k=k, gamma=self.gamma)
            self._last_map = (key, (weight, -self.beta * self.moments_.mean @ weight))
        return self._last_map[1]
