"""One readable encoder: pre-norm, rotary positions, attention through SDPA.

    x <- x + Convolution(x)  (if asked for), then for each layer
    x <- x + Attention(Norm(x)),   x <- x + FeedForward(Norm(x)),   and a last Norm

There is no table of positions, so no text is too long for it; `window` of a task decides.

Post: https://kexue.fm/archives/8265
Axes: B texts, L tokens, D hidden size, H heads, d head size
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from kexue._check import invalid
from kexue.attention import attend
from kexue.positions import rope_angles, rotate


class KexueConfig(PreTrainedConfig):
    """What a `KexueModel` is made of.

    Args:
        vocab_size: entries of the vocabulary.
        hidden_size: D.
        num_hidden_layers: layers.
        num_attention_heads: H; D / H must be even.
        intermediate_size: width of the feed-forward layer, 4 D by default.
        hidden_dropout: dropout of embeddings and of what each layer adds.
        convolution: tokens that a convolution over the embeddings sees, odd; 0 for none. It gives
            a small encoder that begins from scratch an idea of neighbours and words.
        rope_base: base of the rotary positions.
        pad_token_id: id of padding.
        options: whatever `PreTrainedConfig` takes.

    Raises:
        ValueError: if the width cannot be shared evenly among the heads, or the convolution has no
            middle.

    Example:
        >>> KexueConfig(hidden_size=128, num_attention_heads=2).intermediate_size
        512
    """

    model_type = "kexue"

    def __init__(
        self,
        *,
        vocab_size: int = 8000,
        hidden_size: int = 256,
        num_hidden_layers: int = 4,
        num_attention_heads: int = 4,
        intermediate_size: int | None = None,
        hidden_dropout: float = 0.1,
        convolution: int = 0,
        rope_base: float = 10000.0,
        pad_token_id: int = 0,
        **options: object,
    ) -> None:
        if hidden_size % (2 * num_attention_heads):
            raise invalid(
                "hidden_size",
                hidden_size,
                f"a multiple of {2 * num_attention_heads}, twice the number of heads",
            )
        if convolution and convolution % 2 == 0:
            raise invalid("convolution", convolution, "an odd number of tokens, or 0")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size or 4 * hidden_size
        self.hidden_dropout = hidden_dropout
        self.convolution = convolution
        self.rope_base = rope_base
        self.initializer_range = 0.02
        self.pad_token_id = pad_token_id
        super().__init__(**options)


class _Layer(GradientCheckpointingLayer):
    def __init__(self, config: KexueConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward_input = nn.Linear(width, config.intermediate_size)
        self.feed_forward_output = nn.Linear(config.intermediate_size, width)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden: Tensor, angles: Tensor, keep: Tensor | None) -> Tensor:
        mixed = self.query_key_value(self.attention_norm(hidden))
        query, key, value = mixed.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = rotate(query, angles), rotate(key, angles)  # [B, H, L, d]
        seen = _attention(query, key, value, keep)
        hidden = hidden + self.dropout(self.attention_output(seen.transpose(1, 2).flatten(2)))
        raised = F.gelu(self.feed_forward_input(self.feed_forward_norm(hidden)))
        return hidden + self.dropout(self.feed_forward_output(raised))


def _attention(query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None) -> Tensor:
    # On a CPU, torch's fused kernel is up to six times slower than the plain one in half precision.
    if query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16):
        return attend(query, key, value, mask=keep)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=keep)


class KexueModel(PreTrainedModel):
    """The encoder; `AutoModel` loads it.

    Args:
        config: a `KexueConfig`.

    Example:
        >>> config = KexueConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1)
        >>> model = KexueModel(config).eval()
        >>> model(torch.tensor([[2, 7, 3]])).last_hidden_state.shape
        torch.Size([1, 3, 32])
    """

    config_class = KexueConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ("_Layer",)

    def __init__(self, config: KexueConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.convolution = None
        if config.convolution:
            self.convolution = nn.Conv1d(
                config.hidden_size,
                config.hidden_size,
                config.convolution,
                padding=config.convolution // 2,
            )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Give the table of token embeddings."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of token embeddings."""
        self.embedding = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
    ) -> BaseModelOutput:
        """Encode texts.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 = keep; everything by default.
            inputs_embeds: [B, L, D] in place of `input_ids`.

        Returns:
            The states [B, L, D] as `last_hidden_state`.
        """
        hidden = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if self.convolution is not None:
            hidden = hidden + self._neighbours(hidden, attention_mask)
        hidden = self.dropout(hidden)
        places = torch.arange(hidden.shape[1], device=hidden.device)
        width = self.config.hidden_size // self.config.num_attention_heads
        angles = rope_angles(places, width, base=self.config.rope_base)
        keep = None if attention_mask is None else attention_mask.bool()[:, None, None]
        for layer in self.layers:
            hidden = layer(hidden, angles, keep)
        return BaseModelOutput(last_hidden_state=self.norm(hidden))

    def _neighbours(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Mix neighbouring embeddings; padding counts as nothing, as the end of a text does."""
        if attention_mask is not None:
            hidden = hidden * attention_mask.unsqueeze(-1).to(hidden.dtype)
        return F.gelu(self.convolution(hidden.mT)).mT
