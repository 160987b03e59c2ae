"""GlobalPointer: every span of a text is scored as one cell of a matrix, nested or not.

    GlobalPointer           s_a(i, j) = <R_i q_a,i, R_j k_a,j> / sqrt(d)
    EfficientGlobalPointer  s_a(i, j) = <R_i q_i, R_j k_j> / sqrt(d) + (w_a . u_i + w'_a . u_j) / 2

q and k are linear in the hidden state, u = [q; k] before the rotation R of their position. A span
(a, i, j), i <= j, both ends included, is predicted where s > 0, with probability sigmoid(2 s). A
new type costs 2 D d parameters in the first form and 4 d in the second. Neither training nor
decoding holds a [B, T, L, L] tensor; `forward` does, for those who want to see the scores.

Post: https://kexue.fm/archives/8373, https://kexue.fm/archives/8877
Paper: https://arxiv.org/abs/2208.03054, section 2
Axes: B texts, L tokens, D hidden size, T types, d head size, b texts of a block, l its length
"""

import torch
from torch import Tensor, nn

from kexue.heads.decoding import Found, found_in_factors, found_in_matrices
from kexue.heads.factorised import Factors, factorised_loss
from kexue.heads.materialised import matrix_loss
from kexue.heads.span_head import Features, SpanHead
from kexue.positions import rope_angles, rotate


class GlobalPointer(SpanHead):
    """Score spans with a query and a key of their own for each type.

    Args:
        hidden_size: D, width of the encoder.
        num_types: T, number of entity types.
        head_size: d, width of query and key, even where `rope` is on.
        rope: rotate query and key, so that a score knows the distance; without it the start of one
            entity is easily joined to the end of another of its type.

    Example:
        >>> head = GlobalPointer(32, 3)
        >>> hidden, mask = torch.randn(2, 10, 32), torch.ones(2, 10, dtype=torch.bool)
        >>> head(hidden, mask).shape
        torch.Size([2, 3, 10, 10])
        >>> head.loss(hidden, mask, [[(0, 1, 2), (2, 1, 5)], []]).shape
        torch.Size([])
        >>> len(head.decode(hidden, mask, threshold=1.0))
        2
    """

    def __init__(
        self, hidden_size: int, num_types: int, *, head_size: int = 64, rope: bool = True
    ) -> None:
        super().__init__(num_types, matrices=num_types)
        self.head_size = head_size
        self.rope = rope
        self.project = nn.Linear(hidden_size, num_types * 2 * head_size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Compute all scores.

        Args:
            hidden: [B, L, D] encoder states.
            mask: [B, L] bool, True = keep.

        Returns:
            [B, T, L, L] scores of (start, end), -inf where start > end or the mask is False.
        """
        query, key = self._query_key(self.project(hidden), _places(hidden))
        return (query @ key.mT).masked_fill(~_cells(mask), -torch.inf)

    def features(self, tokens: Tensor) -> Features:
        """Project kept tokens [N, D] to [N, T * 2 d]."""
        return (self.project(tokens),)

    def block_loss(
        self, features: Features, positions: Tensor, valid: Tensor, spans: Tensor
    ) -> tuple[Tensor, Features]:
        """Compute the loss of a block from [b, l, T * 2 d], and its gradient."""
        query, key = (part.flatten(0, 1) for part in self._query_key(features[0], positions))
        matrix = spans[:, 0] * self.num_types + spans[:, 1]
        places = torch.cat((matrix[:, None], spans[:, 2:]), 1)
        keep = valid.repeat_interleave(self.num_types, 0)
        loss, by_query, by_key = matrix_loss(query, key, keep, places)
        by_parts = torch.cat((by_query * self.head_size**-0.5, by_key), -1)
        by_parts = by_parts.unflatten(0, (-1, self.num_types)).transpose(1, 2)
        by_parts = by_parts.unflatten(-1, (2, -1))
        if self.rope:
            by_parts = rotate(by_parts, -rope_angles(positions, self.head_size)[:, :, None, None])
        return loss.unflatten(0, (-1, self.num_types)).sum(1), (by_parts.flatten(2),)

    def block_found(
        self, features: Features, positions: Tensor, valid: Tensor, threshold: Tensor
    ) -> Found:
        """Find the cells above the threshold of their type."""
        return found_in_matrices(*self._query_key(features[0], positions), valid, threshold)

    def _query_key(self, projected: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Split [b, l, T * 2 d] into rotated [b, T, l, d], the query divided by sqrt(d)."""
        parts = projected.unflatten(-1, (self.num_types, 2, self.head_size))
        if self.rope:
            parts = rotate(parts, rope_angles(positions, self.head_size)[:, :, None, None])
        query, key = parts.permute(3, 0, 2, 1, 4)
        return query * self.head_size**-0.5, key


class EfficientGlobalPointer(SpanHead):
    """Score spans with one query and key for all types, and two numbers for each token and type.

    Its loss needs one exponential a cell for all types together, and its decoder one matrix product
    a text. This is the head to begin with.

    Args:
        hidden_size: D, width of the encoder.
        num_types: T, number of entity types.
        head_size: d, width of query and key, even where `rope` is on.
        rope: rotate query and key, so that a score knows the distance.

    Example:
        >>> head = EfficientGlobalPointer(768, 10)
        >>> sum(p.numel() for p in head.parameters())
        101012
        >>> hidden, mask = torch.randn(2, 10, 768), torch.ones(2, 10, dtype=torch.bool)
        >>> head.loss(hidden, mask, [[(0, 1, 2), (2, 1, 5)], []]).shape
        torch.Size([])
        >>> len(head.decode(hidden, mask, threshold=[1.0] * 10, flat=True))
        2
    """

    def __init__(
        self, hidden_size: int, num_types: int, *, head_size: int = 64, rope: bool = True
    ) -> None:
        super().__init__(num_types, matrices=1)
        self.head_size = head_size
        self.rope = rope
        # Even slots of the projection are the query, odd ones the key; even slots of the bias
        # belong to the end, odd ones to the start: the layout of the published weights.
        self.project = nn.Linear(hidden_size, 2 * head_size)
        self.bias = nn.Linear(2 * head_size, 2 * num_types)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Compute all scores.

        Args:
            hidden: [B, L, D] encoder states.
            mask: [B, L] bool, True = keep.

        Returns:
            [B, T, L, L] scores of (start, end), -inf where start > end or the mask is False.
        """
        query, key, start, end = self._factors(self.features(hidden), _places(hidden))
        scores = (query @ key.mT)[:, None] + start.mT[..., None] + end.mT[:, :, None]
        return scores.masked_fill(~_cells(mask), -torch.inf)

    def features(self, tokens: Tensor) -> Features:
        """Project kept tokens [N, D] to u [N, 2 d] and the biases [N, 2 T]."""
        shared = self.project(tokens)
        return shared, self.bias(shared)

    def block_loss(
        self, features: Features, positions: Tensor, valid: Tensor, spans: Tensor
    ) -> tuple[Tensor, Features]:
        """Compute the loss of a block from [b, l, 2 d] and [b, l, 2 T], and its gradient."""
        query, key, start, end = self._factors(features, positions)
        off = ~valid[..., None]
        factors = Factors(
            query.masked_fill_(off, 0),
            key.masked_fill_(off, 0),
            start.masked_fill_(off, -torch.inf),
            end.masked_fill_(off, -torch.inf),
        )
        loss, slopes = factorised_loss(factors, spans)
        by_parts = torch.stack((slopes.query * self.head_size**-0.5, slopes.key), 2)
        if self.rope:
            by_parts = rotate(by_parts, -rope_angles(positions, self.head_size)[:, :, None])
        by_bias = torch.stack((slopes.end, slopes.start), -1).flatten(2) / 2
        return loss, (by_parts.mT.flatten(2), by_bias)

    def block_found(
        self, features: Features, positions: Tensor, valid: Tensor, threshold: Tensor
    ) -> Found:
        """Find the cells above the threshold of their type."""
        return found_in_factors(self._factors(features, positions), valid, threshold)

    def _factors(self, features: Features, positions: Tensor) -> Factors:
        """Split [b, l, 2 d] and [b, l, 2 T] into the factors of the scores."""
        shared, bias = features
        parts = shared.unflatten(-1, (-1, 2)).mT
        if self.rope:
            parts = rotate(parts, rope_angles(positions, self.head_size)[:, :, None])
        end, start = (bias / 2).unflatten(-1, (-1, 2)).unbind(-1)
        return Factors(parts[:, :, 0] * self.head_size**-0.5, parts[:, :, 1], start, end)


def _places(hidden: Tensor) -> Tensor:
    return torch.arange(hidden.shape[1], device=hidden.device).expand(hidden.shape[:2])


def _cells(mask: Tensor) -> Tensor:
    """Which (start, end) exist, [B, 1, L, L]."""
    return (mask[:, :, None] & mask[:, None]).triu()[:, None]
