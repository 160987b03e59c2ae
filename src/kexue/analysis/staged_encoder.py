"""An encoder taken apart, so that many masked copies of one text share the ends of their work.

Copies of a text differ in which tokens are masked and in nothing else. What the first layer makes
of a token before it looks at the others (its embedding, query, key and value) therefore takes a few
values per place, two where a token's input depends on that token alone, and is computed for these
instead of for every copy. Of the last layer, only the states that somebody asks for are computed.

Where a convolution over the embeddings lets `reach` neighbours on each side play a part, a window
of k = 2 reach + 1 tokens has 2^k values. 2^k copies of the text hold all of them: copy c masks the
token at place p if bit p mod k of c is set, so that every window shows each pattern once.

Post: https://kexue.fm/archives/7476
Axes: B copies of a text, L tokens, W features of what the first layer works with, K places, D width
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class StagedEncoder(NamedTuple):
    """The stages of an encoder without dropout; one after the other they are the encoder.

    Attributes:
        inputs: [B, L] ids to [B, L, W], everything that the first layer needs of each token.
        first: [B, L, W] to the states [B, L, D] after the first layer.
        middle: [B, L, D] to [B, L, D], the layers between the first and the last.
        last: [B, L, D] and [B, K] places to the final states [B, K, D] at these places.
        reach: tokens on each side on which `inputs` of a token depends.

    Example:
        >>> table = torch.eye(3)
        >>> staged = StagedEncoder(
        ...     inputs=lambda ids: table[ids],
        ...     first=lambda x: x.cumsum(1),
        ...     middle=lambda x: x,
        ...     last=lambda x, places: x.gather(1, places[..., None].expand(-1, -1, 3)),
        ... )
        >>> staged(torch.tensor([[0, 2]]))
        tensor([[[1., 0., 0.],
                 [1., 0., 1.]]])
    """

    inputs: Callable[[Tensor], Tensor]
    first: Callable[[Tensor], Tensor]
    middle: Callable[[Tensor], Tensor]
    last: Callable[[Tensor, Tensor], Tensor]
    reach: int = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """Encode whole texts.

        Args:
            ids: [B, L].

        Returns:
            [B, L, D] final states.
        """
        everywhere = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        return self.last(self.middle(self.first(self.inputs(ids))), everywhere)


class SharedInputs(NamedTuple):
    """What the first layer works with, for every way in which tokens can be masked.

    Attributes:
        table: [2^k * L, W], one row for each pattern of masked neighbours and each place.
        reach: as in `StagedEncoder`.

    Example:
        >>> table = torch.tensor([[0.0], [1.0], [9.0]])
        >>> encoder = StagedEncoder(lambda ids: table[ids], *3 * [lambda x: x])
        >>> shared = share_inputs(encoder, torch.tensor([1, 0]), mask_id=2)
        >>> shared.rows(torch.tensor([[False, True]])).flatten()
        tensor([1., 9.])
    """

    table: Tensor
    reach: int

    def rows(self, hidden: Tensor) -> Tensor:
        """Look up what masked copies enter the first layer with.

        Args:
            hidden: bool [B, L], True where a copy has a mask.

        Returns:
            [B, L, W].
        """
        length, size = hidden.shape[1], 2 * self.reach + 1
        place = torch.arange(length, device=hidden.device)
        offsets = torch.arange(size, device=hidden.device) - self.reach
        windows = F.pad(hidden.long(), (self.reach, self.reach)).unfold(1, size, 1)  # [B, L, k]
        pattern = (windows << (place[:, None] + offsets) % size).sum(-1)
        return F.embedding(pattern * length + place, self.table)


def share_inputs(encoder: StagedEncoder, ids: Tensor, *, mask_id: int) -> SharedInputs:
    """Compute what the first layer works with, once for all masked copies of a text.

    Args:
        encoder: the stages.
        ids: [L] the text.
        mask_id: the token that masks.

    Returns:
        A table to look copies up in.

    Example:
        >>> encoder = StagedEncoder(lambda ids: ids[..., None] * 1.0, *3 * [lambda x: x])
        >>> share_inputs(encoder, torch.tensor([5, 6]), mask_id=0).table.flatten()
        tensor([5., 6., 0., 0.])
    """
    size = 2 * encoder.reach + 1
    place = torch.arange(len(ids), device=ids.device)
    pattern = torch.arange(2**size, device=ids.device)
    hidden = (pattern[:, None] >> place % size) & 1
    copies = torch.where(hidden.bool(), mask_id, ids)  # [2^k, L]
    return SharedInputs(encoder.inputs(copies).flatten(0, 1), encoder.reach)
