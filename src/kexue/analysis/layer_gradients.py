"""Inner products of gradients of single examples, from what enters and leaves each layer.

    y = W a + b:   <dW, dW'> = sum_pq <a_p, a'_q> <g_p, g'_q>,   <db, db'> = <sum_p g_p, sum_q g'_q>

where g is the gradient by y and p, q are places of a text or picture. With one place each, the
gradients of N examples by the weights are never formed; with many places a layer forms those of a
block of examples where that is less work than all pairs of places.

Post: https://kexue.fm/archives/8009
Paper: https://arxiv.org/abs/1510.01799 (gradients of single examples from those of a batch)
Axes: N, M examples, C outputs, P places, I inputs and O outputs of a layer, R numbers of a row,
    U different tokens
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers that the gradients of a block of examples may take.
_BLOCK = 2**22


class RowGradients(NamedTuple):
    """Gradients by few parameters, one row for each example and output.

    Attributes:
        rows: [N, C, R].

    Example:
        >>> RowGradients(torch.ones(2, 1, 3)).inner(RowGradients(torch.ones(1, 1, 3))).shape
        torch.Size([2, 1, 1, 1])
    """

    rows: Tensor

    def inner(self, other: "RowGradients") -> Tensor:
        """Multiply all pairs.

        Args:
            other: of M examples.

        Returns:
            [N, C, M, C].
        """
        product = self.rows.flatten(0, 1) @ other.rows.flatten(0, 1).T
        return product.unflatten(1, other.rows.shape[:2]).unflatten(0, self.rows.shape[:2])


class LinearGradients(NamedTuple):
    """Gradients by the weights of a linear layer, in two factors.

    Attributes:
        inputs: [N, P, I] what entered the layer.
        slopes: [N, C, P, O] gradients by what it gave.

    Example:
        >>> part = LinearGradients(torch.ones(2, 1, 3), torch.ones(2, 1, 1, 4))
        >>> part.inner(part).flatten()
        tensor([12., 12., 12., 12.])
    """

    inputs: Tensor
    slopes: Tensor

    def inner(self, other: "LinearGradients") -> Tensor:
        """Multiply all pairs.

        Args:
            other: of M examples and the same layer.

        Returns:
            [N, C, M, C].
        """
        if self.inputs.shape[1] == other.inputs.shape[1] == 1:
            scale = self.inputs[:, 0] @ other.inputs[:, 0].T
            product = RowGradients(self.slopes[:, :, 0]).inner(RowGradients(other.slopes[:, :, 0]))
            return product * scale[:, None, :, None]
        if _pairs_are_cheaper(self, other):
            return torch.stack([_all_pairs(*one, other) for one in zip(*self, strict=True)])
        size = max(
            1, _BLOCK // (self.slopes.shape[1] * self.slopes.shape[3] * self.inputs.shape[2])
        )
        blocks = [
            torch.cat([_formed(one).inner(_formed(two)) for two in _blocks(other, size)], 2)
            for one in _blocks(self, size)
        ]
        return torch.cat(blocks)


class TokenGradients(NamedTuple):
    """Gradients by a table of embeddings, which a token multiplies as a vector of one 1.

    Attributes:
        ids: [N, P] tokens; -1 for those that the table does not learn from.
        slopes: [N, C, P, O] gradients by their embeddings.

    Example:
        >>> part = TokenGradients(torch.tensor([[5, 5], [5, 8]]), torch.ones(2, 1, 2, 1))
        >>> part.inner(part)[:, 0, :, 0]
        tensor([[4., 2.],
                [2., 2.]])
    """

    ids: Tensor
    slopes: Tensor

    def inner(self, other: "TokenGradients") -> Tensor:
        """Multiply all pairs.

        Args:
            other: of M examples and the same table.

        Returns:
            [N, C, M, C].
        """
        vocabulary = torch.cat((self.ids.flatten(), other.ids.flatten())).unique()
        one, two = (
            LinearGradients(_one_hot(part.ids, vocabulary, part.slopes), part.slopes)
            for part in (self, other)
        )
        return one.inner(two)


def _one_hot(ids: Tensor, vocabulary: Tensor, like: Tensor) -> Tensor:
    """Write ids [N, P] as [N, P, U]; what is not learnt from is 0."""
    found = F.one_hot(torch.searchsorted(vocabulary, ids), len(vocabulary)).to(like)
    return found * (ids >= 0)[..., None]


def _pairs_are_cheaper(one: LinearGradients, two: LinearGradients) -> bool:
    """Count the multiplications of both ways."""
    outputs, width = one.slopes.shape[1], one.inputs.shape[2] * one.slopes.shape[3]
    examples, others = len(one.inputs), len(two.inputs)
    places, other_places = one.inputs.shape[1], two.inputs.shape[1]
    pairs = examples * others * places * other_places
    pairs *= one.inputs.shape[2] + outputs**2 * one.slopes.shape[3]
    formed = (examples * places + others * other_places) * outputs * width
    return pairs < formed + examples * others * outputs**2 * width


def _all_pairs(inputs: Tensor, slopes: Tensor, other: LinearGradients) -> Tensor:
    """Multiply the gradients of one example, [P, I] and [C, P, O], with all others: [C, M, C]."""
    scale = torch.einsum("pi,mqi->mpq", inputs, other.inputs)
    # First by the places of the others, which are then gone.
    weighted = torch.einsum("mpq,mdqo->mdpo", scale, other.slopes)
    return torch.einsum("cpo,mdpo->cmd", slopes, weighted)


def _formed(part: LinearGradients) -> RowGradients:
    return RowGradients(torch.einsum("ncpo,npi->ncoi", part.slopes, part.inputs).flatten(2))


def _blocks(part: LinearGradients, size: int) -> list[LinearGradients]:
    pieces = zip(part.inputs.split(size), part.slopes.split(size), strict=True)
    return [LinearGradients(*piece) for piece in pieces]
