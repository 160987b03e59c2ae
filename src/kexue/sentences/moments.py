"""Count, mean and scatter of vectors in one pass, in any order, on any number of machines.

    S = sum over rows of (x - m)^T (x - m)
    merged:   N = n + n',   d = m' - m,   mean m + d n' / N,   S + S' + d^T d n n' / N

A few thousand rows at a time are shifted by a sample of their own mean, so that their products are
as small as their spread and float32 is enough for them; sums and merges are float64. On float32
vectors with mean 1000 and spread 1 the published streaming formulas are wrong by percents and more,
and this by 1e-7.

Post: https://kexue.fm/archives/8069
Paper: https://arxiv.org/abs/2103.15316, whose equation 11 is not the recursion of the covariance
Axes: N rows, D columns
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from kexue._check import invalid
from kexue.sentences.blocks import check_matrix
from kexue.sentences.scatter import measure


class Moments:
    """Hold what whitening needs to know of vectors; merged parts are the whole.

    Args:
        double: multiply float32 in float64, for twice the time. The result then depends to 1e-12
            only on how the rows were split, and variances below a millionth of the largest are
            resolved. Rows of float64 always are multiplied so.

    Attributes:
        count: N.
        mean: [D] float64; [0] as long as there are no rows.
        scatter: [D, D] float64, N times the covariance.
        rounding: relative rounding error of the coarsest products so far.

    Example:
        >>> from functools import reduce
        >>> x = np.random.default_rng(0).normal(size=(1000, 3))
        >>> parts = [Moments().add(part) for part in np.split(x, 4)]
        >>> whole = reduce(Moments.merge, parts, Moments())
        >>> whole.count, np.allclose(whole.covariance(), np.cov(x.T, ddof=0))
        (1000, True)
    """

    def __init__(self, *, double: bool = False) -> None:
        self.double = double
        self.count = 0
        # These arrays are replaced and never written to: copies of the object may share them.
        self.mean = np.zeros(0)
        self.scatter = np.zeros((0, 0))
        self.rounding = 0.0

    def add(self, batch: np.ndarray | Tensor) -> "Moments":
        """Take in rows, in one pass over them.

        Args:
            batch: [N, D] array, memory map or tensor of 16, 32 or 64 bits, on any device. Beside
                it, ten megabytes and a few matrices [D, D] are needed, however many rows it has.

        Returns:
            This object.

        Raises:
            ValueError: if the shape does not fit or a row, which is named, is not finite. Nothing
                of the batch has been taken in then.

        Example:
            >>> Moments().add(torch.tensor([[1.0, 2.0], [3.0, 2.0]])).mean
            array([2., 2.])
        """
        check_matrix(batch, len(self.mean) or None)
        found = Moments()
        vars(found).update(measure(batch, double=self.double)._asdict())
        return self.merge(found)

    def merge(self, other: "Moments") -> "Moments":
        """Take in what another object has taken in.

        Args:
            other: moments of other rows; it is left as it is.

        Returns:
            This object.

        Raises:
            ValueError: if the widths differ.

        Example:
            >>> one, two = (Moments().add(np.array([[x]])) for x in (1.0, 4.0))
            >>> one.merge(two).covariance()
            array([[2.25]])
        """
        if not other.count:
            return self
        if not self.count:
            self.mean, self.scatter = other.mean, other.scatter
        elif len(self.mean) != len(other.mean):
            allowed = f"{len(self.mean)} columns, as the rows before"
            raise invalid("other", f"{len(other.mean)} columns", allowed)
        else:
            apart = torch.from_numpy(other.mean - self.mean)
            share = other.count / (self.count + other.count)
            between = {"alpha": self.count * share}
            scatter = torch.addr(torch.from_numpy(self.scatter), apart, apart, **between)
            self.scatter = scatter.add_(torch.from_numpy(other.scatter)).numpy()
            self.mean = self.mean + share * apart.numpy()
        self.count += other.count
        self.rounding = max(self.rounding, other.rounding)
        return self

    def covariance(self) -> np.ndarray:
        """Divide the scatter by the number of rows.

        Returns:
            [D, D] float64, with divisor N, not N - 1.

        Raises:
            ValueError: if there are no rows.

        Example:
            >>> Moments().add(np.array([[1.0], [3.0]])).covariance()
            array([[1.]])
        """
        if not self.count:
            raise invalid("the number of rows", 0, "1 or more", "Add rows first.")
        return self.scatter / self.count

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give all there is to save, or to send to another process.

        Returns:
            Arrays by name, for `numpy.savez` or safetensors.

        Example:
            >>> sorted(Moments().to_arrays())
            ['count', 'double', 'mean', 'rounding', 'scatter']
        """
        names = ("count", "double", "mean", "rounding", "scatter")
        return {name: np.asarray(getattr(self, name)) for name in names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Moments":
        """Make an object that goes on where the saved one stopped.

        Args:
            arrays: what `to_arrays` gave.

        Returns:
            The object.

        Raises:
            ValueError: if an array is missing, or they do not fit together.

        Example:
            >>> Moments.from_arrays(Moments().add(np.ones((5, 2))).to_arrays()).count
            5
        """
        missing = sorted(set(Moments().to_arrays()) - set(arrays))
        if missing:
            raise invalid("arrays", f"without {', '.join(missing)}", "what to_arrays() gives")
        moments = cls(double=bool(arrays["double"]))
        moments.count, moments.rounding = int(arrays["count"]), float(arrays["rounding"])
        moments.mean = np.array(arrays["mean"], dtype=np.float64)
        moments.scatter = np.array(arrays["scatter"], dtype=np.float64)
        if moments.mean.ndim != 1 or moments.scatter.shape != 2 * moments.mean.shape:
            shapes = f"mean {moments.mean.shape} and scatter {moments.scatter.shape}"
            raise invalid("arrays", shapes, "mean [D] and scatter [D, D]")
        return moments
