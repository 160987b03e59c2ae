"""Counts, class means and the common scatter of labelled rows, in one pass, in any order.

    S = sum over classes c, over rows x of c, of (x - m_c)^T (x - m_c)
    merged:   S + S' + sum over c of d_c^T d_c n_c n'_c / (n_c + n'_c),   d_c = m'_c - m_c

The scatter is summed within classes from the start. The total second moment less that of the means
is the same in exact arithmetic, and loses the digits that are asked for where classes lie far apart
or far from 0.

Post: https://kexue.fm/archives/8578
Axes: N rows, D features, C classes
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kexue._check import invalid
from kexue.numerics.class_sums import Stretch, class_sums
from kexue.numerics.labelled_rows import check_labelled, merge_classes

_SPAN = 2**14  # rows whose products are summed before they go into float64


class ClassMoments:
    """Hold what the closed form needs to know of labelled rows; merged parts are the whole.

    Args:
        double: multiply float32 in float64, for twice the time. Rows of float64 always are
            multiplied so.

    Attributes:
        classes: [C] labels, sorted.
        weights: [C] float64, how many rows each class has, or their weights added up.
        means: [C, D] float64.
        scatter: [D, D] float64, S.
        rounding: relative rounding error of the coarsest products so far.

    Example:
        >>> x = np.array([[0.0], [2.0], [5.0]])
        >>> moments = ClassMoments().add(x, ["a", "a", "b"])
        >>> moments.weights, moments.means.ravel(), moments.scatter
        (array([2., 1.]), array([1., 5.]), array([[2.]]))
    """

    def __init__(self, *, double: bool = False) -> None:
        self.double = double
        self.classes = np.zeros(0, np.int64)
        # These arrays are replaced and never written to: copies of the object may share them.
        self.weights, self.means = np.zeros(0), np.zeros((0, 0))
        self.scatter = np.zeros((0, 0))
        self.rounding = 0.0

    def add(
        self,
        x: np.ndarray | Tensor,
        y: np.ndarray | Tensor | Sequence,
        *,
        sample_weight: np.ndarray | Tensor | Sequence | None = None,
    ) -> "ClassMoments":
        """Take in rows, in one pass over them.

        Args:
            x: [N, D] array, memory map or tensor of 16, 32 or 64 bits, on any device.
            y: [N] labels: whole numbers or strings.
            sample_weight: [N] how often each row counts, 0 or more; once by default.

        Returns:
            This object. A ValueError tells of shapes and kinds that do not fit, and names a row
            that is not finite; nothing of the batch has been taken in then.

        Example:
            >>> ClassMoments().add(np.eye(2), [3, 1]).classes
            array([1, 3])
        """
        given = check_labelled(x, y, sample_weight, self.means.shape[1] or None)
        found = ClassMoments()
        for start in range(0, len(x), _SPAN):
            rows = slice(start, start + _SPAN)
            roots = None if given.roots is None else given.roots[rows]
            stretch = Stretch(x[rows], given.codes[rows], roots, start)
            part = ClassMoments()
            sums = class_sums(stretch, len(given.classes), double=self.double)
            vars(part).update(sums._asdict() | {"classes": given.classes})
            found.merge(part)
        # A class of which every row has the weight 0 has not been seen.
        seen = found.weights > 0
        found.classes, found.weights = found.classes[seen], found.weights[seen]
        found.means = found.means[seen]
        return self.merge(found)

    def merge(self, other: "ClassMoments") -> "ClassMoments":
        """Take in what another object has taken in; its classes may be new.

        Args:
            other: moments of other rows; it is left as it is.

        Returns:
            This object.

        Raises:
            ValueError: if the widths or the kinds of labels differ.

        Example:
            >>> one, two = (ClassMoments().add(np.array([[x]]), [7]) for x in (0.0, 4.0))
            >>> one.merge(two).covariance()
            array([[4.]])
        """
        if not len(other.classes):
            return self
        if not len(self.classes):
            vars(self).update(vars(other) | {"double": self.double})
            return self
        if self.means.shape[1] != other.means.shape[1]:
            allowed = f"{self.means.shape[1]} features, as the rows before"
            raise invalid("other", f"{other.means.shape[1]} features", allowed)
        classes = merge_classes(self.classes, other.classes)
        weights, means = _among(self, classes)
        more, more_means = _among(other, classes)
        total = weights + more
        share = np.divide(more, total, out=np.zeros_like(total), where=total > 0)
        apart = more_means - means
        between = torch.from_numpy(apart * np.sqrt(weights * share)[:, None])
        scatter = torch.from_numpy(self.scatter + other.scatter)
        self.scatter = scatter.addmm_(between.mT, between).numpy()
        self.means = means + apart * share[:, None]
        self.classes, self.weights = classes, total
        self.rounding = max(self.rounding, other.rounding)
        return self

    def covariance(self) -> np.ndarray:
        """Divide the scatter by the number of rows: the likeliest covariance that classes share.

        Returns:
            [D, D] float64, with divisor N, not N - C.

        Raises:
            ValueError: if there are no rows.

        Example:
            >>> ClassMoments().add(np.array([[1.0], [3.0]]), [0, 0]).covariance()
            array([[1.]])
        """
        total = self.weights.sum()
        if not total:
            raise invalid("the number of rows", 0, "1 or more", "Call fit first.")
        return self.scatter / total


def _among(moments: ClassMoments, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give weights [C] and means [C, D] with a place for each of more classes."""
    place = np.searchsorted(classes, moments.classes)
    weights, means = np.zeros(len(classes)), np.zeros((len(classes), moments.means.shape[1]))
    weights[place], means[place] = moments.weights, moments.means
    return weights, means
