"""A batch of linear chains: the kept tokens of each text, left-aligned, in the precision of sums.

    score(y) = start(y_1) + sum_t e_t(y_t) + sum_t T(y_t-1, y_t) + end(y_n)

Post: https://kexue.fm/archives/5542
Paper: Lafferty, McCallum, Pereira 2001, https://repository.upenn.edu/cis_papers/159
Axes: B texts, L tokens, l longest text, K tags
"""

from typing import NamedTuple

import torch
from torch import Tensor

from kexue.heads.packing import pack

# The score of what cannot happen: finite in float32, its exponential is 0, and no sum of emissions
# outweighs it.
FORBIDDEN = -1e30


class Chain(NamedTuple):
    """Scores of a batch, texts left-aligned.

    Attributes:
        emissions: [B, l, K] in float64 (float32 where the device has none), 0 behind the text.
        lengths: [B].
        transitions: [K, K], from row to column.
        start: [K].
        end: [K].
    """

    emissions: Tensor
    lengths: Tensor
    transitions: Tensor
    start: Tensor
    end: Tensor

    @property
    def valid(self) -> Tensor:
        """[B, l], which places exist."""
        steps = torch.arange(self.emissions.shape[1], device=self.lengths.device)
        return steps < self.lengths[:, None]

    @property
    def last(self) -> tuple[Tensor, Tensor]:
        """Index of the last place of each text, the first where a text has none."""
        return torch.arange(len(self.lengths), device=self.lengths.device), (
            self.lengths - 1
        ).clamp(0)

    @property
    def reversal(self) -> Tensor:
        """[B, l, K] index along l that turns each text round in its own length."""
        steps = torch.arange(self.emissions.shape[1], device=self.lengths.device)
        turned = (self.lengths[:, None] - 1 - steps).clamp(0)
        return turned[..., None].expand(self.emissions.shape)


def make_chain(
    emissions: Tensor, lengths: Tensor, transitions: Tensor, start: Tensor, end: Tensor
) -> Chain:
    """Bring scores to the precision of the sums and blank what lies behind the texts.

    Args:
        emissions: [B, l, K], texts left-aligned.
        lengths: [B] integers, 0 to l.
        transitions: [K, K], from row to column; `FORBIDDEN` for what cannot happen.
        start: [K].
        end: [K].

    Returns:
        The chain.

    Example:
        >>> scores = torch.zeros(1, 3, 2), torch.tensor([2]), torch.zeros(2, 2)
        >>> make_chain(*scores, torch.zeros(2), torch.zeros(2)).valid
        tensor([[ True,  True, False]])
    """
    exact = torch.float32 if emissions.device.type == "mps" else torch.float64
    chain = Chain(emissions.to(exact), lengths, *(x.to(exact) for x in (transitions, start, end)))
    return chain._replace(emissions=chain.emissions.masked_fill(~chain.valid[..., None], 0))


def align(
    emissions: Tensor, mask: Tensor, transitions: Tensor, start: Tensor, end: Tensor
) -> tuple[Chain, Tensor]:
    """Move the kept tokens of each text to its left and build their chain.

    Args:
        emissions: [B, L, K].
        mask: [B, L] bool, True = keep.
        transitions: [K, K].
        start: [K].
        end: [K].

    Returns:
        The chain, and the places [B, l] that its tokens had; a text shorter than l fills its row
        with places that the mask leaves out.

    Raises:
        ValueError: if the mask is not a boolean matrix.

    Example:
        >>> mask, zero = torch.tensor([[False, True, True]]), torch.zeros(2)
        >>> align(torch.zeros(1, 3, 2), mask, torch.zeros(2, 2), zero, zero)[1]
        tensor([[1, 2]])
    """
    lengths = pack(mask).starts.diff()
    longest = int(lengths.max()) if len(lengths) else 0
    order = (~mask).int().argsort(dim=1, stable=True)[:, :longest]
    kept = emissions.gather(1, order[..., None].expand(*order.shape, emissions.shape[2]))
    return make_chain(kept, lengths, transitions, start, end), order
