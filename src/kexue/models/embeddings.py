"""From ids to vectors: tokens, segments, learned positions, neighbours.

Post: https://kexue.fm/archives/7947 (hierarchical positions)
Axes: B texts, L tokens, E width of the embeddings, D hidden size
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue._check import invalid
from kexue.models.config import KexueConfig
from kexue.positions import hierarchical_rows


def make_norm(config: KexueConfig, width: int) -> nn.Module:
    """Make a norm of the kind that the configuration asks for.

    Args:
        config: a `KexueConfig`.
        width: of what is to be normalised.

    Returns:
        A module without parameters for `rms_norm`, else a layer norm.
    """
    if config.rms_norm:
        return nn.RMSNorm(width, eps=config.layer_norm_eps, elementwise_affine=False)
    return nn.LayerNorm(width, eps=config.layer_norm_eps)


class KexueEmbeddings(nn.Module):
    """What enters the first layer.

    Args:
        config: a `KexueConfig`.

    Example:
        >>> config = KexueConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
        >>> KexueEmbeddings(config)(torch.tensor([[1, 2]])).shape
        torch.Size([1, 2, 8])
    """

    def __init__(self, config: KexueConfig) -> None:
        super().__init__()
        width = config.embedding_size
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, width, config.pad_token_id)
        self.segments = None
        if config.type_vocab_size:
            self.segments = nn.Embedding(config.type_vocab_size, width)
        self.positions = None
        if config.positions in ("learned", "hierarchical"):
            self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.convolution = None
        if config.convolution:
            reach = config.convolution // 2
            self.convolution = nn.Conv1d(width, width, config.convolution, padding=reach)
        # Layers that normalise what they give want it normalised; the others do it themselves.
        post = config.norm == "post"
        self.norm = make_norm(config, width) if post else nn.Identity()
        self.dropout = nn.Dropout(config.hidden_dropout)
        projected = width != config.hidden_size
        self.project = nn.Linear(width, config.hidden_size) if projected else nn.Identity()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Look up, add, mix with the neighbours, normalise.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L]; padding counts as nothing for its neighbours.
            segments: [B, L], all 0 by default.
            positions: [B, L], 0, 1, 2, ... by default.
            inputs_embeds: [B, L, E] in place of `input_ids`.

        Returns:
            [B, L, D].

        Raises:
            ValueError: if a text is longer than the table of positions.
        """
        hidden = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.segments is not None:
            none = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
            hidden = hidden + self.segments(none if segments is None else segments)
        if self.positions is not None:
            hidden = hidden + self._rows(hidden, positions)
        if self.convolution is not None:
            hidden = hidden + self._neighbours(hidden, attention_mask)
        return self.project(self.dropout(self.norm(hidden)))

    def _rows(self, hidden: Tensor, positions: Tensor | None) -> Tensor:
        """Look up learned positions."""
        config = self.config
        if positions is None:
            positions = torch.arange(hidden.shape[1], device=hidden.device)
        rows = config.max_position_embeddings
        longest = rows**2 if config.positions == "hierarchical" else rows
        if hidden.shape[1] > longest:
            raise invalid(
                "input_ids",
                f"{hidden.shape[1]} tokens",
                f"at most {longest} with {config.positions} positions",
                "Cut the text into windows, or use kexue.models.lengthen_positions.",
            )
        if config.positions == "learned":
            return self.positions(positions)
        alpha = config.hierarchical_alpha
        return hierarchical_rows(self.positions.weight, positions, alpha=alpha)

    def _neighbours(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Mix neighbouring embeddings; padding counts as nothing, as the end of a text does."""
        if attention_mask is not None and attention_mask.ndim == 2:
            hidden = hidden * attention_mask.unsqueeze(-1).to(hidden.dtype)
        return F.gelu(self.convolution(hidden.mT)).mT
