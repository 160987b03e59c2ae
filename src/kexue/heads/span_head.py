"""What every span head shares: a loss and a decoder that see the kept tokens only.

A head says how to project tokens (`features`) and how to score a block of texts (`block_loss`,
`block_found`); the rest is here. Scores are computed in float32 or float64 whatever the autocast.

Post: https://kexue.fm/archives/8373
Axes: B texts, L tokens, D hidden size, T types, N kept tokens, b texts of a block, l its length
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from kexue._check import invalid
from kexue.heads.decoding import Found, ScoredSpan, group_by_text
from kexue.heads.packing import Block, Packing, Spans, blocks, pack, span_table

Features = tuple[Tensor, ...]


class SpanHead(nn.Module, ABC):
    """Base of the span heads; not used by itself.

    Args:
        num_types: T, number of entity types.
        matrices: score matrices that a text needs at once.

    Example:
        >>> issubclass(SpanHead, nn.Module)
        True
    """

    def __init__(self, num_types: int, matrices: int) -> None:
        super().__init__()
        self.num_types = num_types
        self.matrices = matrices

    @abstractmethod
    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Compute all scores [B, T, L, L], -inf where start > end or `mask` is False."""

    @abstractmethod
    def features(self, tokens: Tensor) -> Features:
        """Project kept tokens [N, D] to whatever the scores are made of, each [N, F]."""

    @abstractmethod
    def block_loss(
        self, features: Features, positions: Tensor, valid: Tensor, spans: Tensor
    ) -> tuple[Tensor, Features]:
        """Compute [b] losses summed over types, and the derivatives by the features [b, l, F]."""

    @abstractmethod
    def block_found(
        self, features: Features, positions: Tensor, valid: Tensor, threshold: Tensor
    ) -> Found:
        """Find the cells of a block whose score is above the threshold of their type."""

    def loss(self, hidden: Tensor, mask: Tensor, spans: Spans) -> Tensor:
        """Compute the multi-label softmax loss, mean over texts and types.

        Args:
            hidden: [B, L, D] encoder states.
            mask: [B, L] bool, True for tokens that may begin or end a span.
            spans: for each text its gold (type, start, end), token places with both ends included;
                or an integer tensor [B, K, 3] padded with -1.

        Returns:
            A scalar in float32 (float64 for float64 states).

        Raises:
            ValueError: if a span does not fit the text, or `mask` is not boolean.
        """
        packing = pack(mask)
        table = span_table(spans, packing, mask, self.num_types)
        tokens = _kept(hidden, packing)
        owner = packing.index // mask.shape[1]

        def run(*features: Tensor) -> tuple[Tensor, Features]:
            return self._loss_and_slopes(features, packing, table)

        each = _ValueWithGradient.apply(run, owner, *self.features(tokens))
        return each.sum() / (len(mask) * self.num_types)

    @torch.no_grad()
    def decode(
        self,
        hidden: Tensor,
        mask: Tensor,
        *,
        threshold: float | Sequence[float] | Tensor = 0.0,
        flat: bool = False,
        limit: int | None = None,
    ) -> list[list[ScoredSpan]]:
        """Find the spans whose score is above the threshold.

        Args:
            hidden: [B, L, D] encoder states.
            mask: [B, L] bool.
            threshold: one logit, or one for each type; 0 is what the loss is made for.
            flat: keep the set of non-overlapping spans with the largest sum of score - threshold.
            limit: keep only so many spans of a text, those furthest above their threshold; an
                untrained model finds a span in every second cell.

        Returns:
            For each text its (type, start, end, score), sorted by start, end, type; token places
            with both ends included, and the score as a logit s: sigmoid(2 s) is the probability.

        Raises:
            ValueError: if there is not one threshold or one for each type.
        """
        packing = pack(mask)
        limits = torch.as_tensor(threshold, dtype=torch.float32, device=hidden.device)
        if limits.numel() not in (1, self.num_types):
            raise invalid(
                "threshold", threshold, f"one number, or one for each of {self.num_types} types"
            )
        limits = limits.expand(self.num_types)
        features = self.features(_kept(hidden, packing))
        found = []
        with torch.autocast(hidden.device.type, enabled=False):
            for block in blocks(packing, matrices=self.matrices):
                parts, positions = _block_parts(features, packing, block)
                cells = self.block_found(parts, positions, block.valid, limits)
                first, last = (positions[cells.text, at] for at in (cells.start, cells.end))
                found.append(Found(block.texts[cells.text], cells.kind, first, last, cells.score))
        return group_by_text(found, len(mask), limits, flat=flat, limit=limit)

    def _loss_and_slopes(
        self, features: Features, packing: Packing, table: Tensor
    ) -> tuple[Tensor, Features]:
        exact = torch.promote_types(features[0].dtype, torch.float32)
        loss = features[0].new_zeros(len(packing.lengths), dtype=exact)
        slopes = tuple(torch.empty_like(feature) for feature in features)
        place = torch.full_like(packing.starts[:-1], -1)
        with torch.autocast(loss.device.type, enabled=False):
            for block in blocks(packing, matrices=self.matrices):
                place.fill_(-1)
                place[block.texts] = torch.arange(len(block.texts), device=place.device)
                spans = table[place[table[:, 0]] >= 0]
                spans = torch.cat((place[spans[:, :1]], spans[:, 1:]), 1)
                parts, positions = _block_parts(features, packing, block)
                loss[block.texts], by_part = self.block_loss(parts, positions, block.valid, spans)
                kept = block.valid.flatten().nonzero().flatten()
                rows = block.index.flatten()[kept]
                for slope, part in zip(slopes, by_part, strict=True):
                    slope[rows] = part.flatten(0, 1)[kept].to(slope.dtype)
        return loss, slopes


class _ValueWithGradient(torch.autograd.Function):
    """A [B] loss whose derivatives by the features of the tokens are formed with it."""

    @staticmethod
    def forward(
        ctx, run: Callable[..., tuple[Tensor, Features]], owner: Tensor, *features: Tensor
    ) -> Tensor:
        loss, slopes = run(*features)
        ctx.save_for_backward(owner, *slopes)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        owner, *slopes = ctx.saved_tensors
        weight = upstream[owner].unsqueeze(1)
        return None, None, *((slope * weight).to(slope.dtype) for slope in slopes)


def _kept(hidden: Tensor, packing: Packing) -> Tensor:
    flat = hidden.flatten(0, 1)
    return flat if len(packing.index) == len(flat) else flat.index_select(0, packing.index)


def _block_parts(features: Features, packing: Packing, block: Block) -> tuple[Features, Tensor]:
    """Bring the features of a block to [b, l, F] in at least float32, and its positions [b, l]."""
    exact = torch.promote_types(features[0].dtype, torch.float32)
    parts = tuple(feature[block.index].to(exact) for feature in features)
    return parts, packing.positions[block.index]
