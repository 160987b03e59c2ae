"""One readable encoder in which every architecture article is an option.

    x <- x + Convolution(x)  (if asked for), then for each layer, with norms before the blocks,
    x <- x + Attention(Norm(x)),   x <- x + FeedForward(Norm(x)),   and a last Norm
    or, with norms after them,  x <- Norm(x + Attention(x)),   x <- Norm(x + FeedForward(x))

With rotary positions there is no table, so no text is too long; `window` of a task decides.

Post: https://kexue.fm/archives/8265 (rotary positions), https://kexue.fm/archives/8823 (log n),
    https://kexue.fm/archives/8027 (RealFormer), https://kexue.fm/archives/7921 (Performer)
Axes: B texts, L tokens, D hidden size, H heads, d head size
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from kexue._check import invalid
from kexue.attention.entropy import count_keys, log_n_scale, post_hoc_log_n_scale
from kexue.attention.performer import orthogonal_projection
from kexue.models.config import KexueConfig
from kexue.models.embeddings import KexueEmbeddings, make_norm
from kexue.models.masks import visible
from kexue.models.mixing import Mixing, mix
from kexue.positions import rope2d_angles, rope_angles


class _Layer(GradientCheckpointingLayer):
    def __init__(self, config: KexueConfig) -> None:
        super().__init__()
        width, bias = config.hidden_size, config.use_bias
        self.heads = config.num_attention_heads
        self.post = config.norm == "post"
        self.attention_norm = make_norm(config, width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=bias)
        self.attention_output = nn.Linear(width, width, bias=bias)
        self.feed_forward_norm = make_norm(config, width)
        self.feed_forward_input = nn.Linear(width, config.intermediate_size, bias=bias)
        self.feed_forward_output = nn.Linear(config.intermediate_size, width, bias=bias)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.projection: Tensor | None
        random = config.attention == "performer"
        shape = (config.performer_features, width // self.heads)
        self.register_buffer("projection", torch.empty(shape) if random else None)

    def forward(
        self, hidden: Tensor, previous: Tensor | None, mixing: Mixing
    ) -> tuple[Tensor, Tensor | None]:
        # Residual scores go in and out by value: what a layer keeps on the side would be wrong
        # where activation checkpointing runs it twice.
        into = hidden if self.post else self.attention_norm(hidden)
        mixed = self.query_key_value(into).unflatten(-1, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)  # [B, H, L, d]
        features, training = self.projection, self.training
        seen, scores = mix(query, key, value, previous, mixing, features, training=training)
        hidden = hidden + self.dropout(self.attention_output(seen.transpose(1, 2).flatten(2)))
        if self.post:
            hidden = self.attention_norm(hidden)
        into = hidden if self.post else self.feed_forward_norm(hidden)
        raised = self.activation(self.feed_forward_input(into))
        hidden = hidden + self.dropout(self.feed_forward_output(raised))
        return (self.feed_forward_norm(hidden) if self.post else hidden), scores


class KexuePreTrainedModel(PreTrainedModel):
    """What transformers wants to know of the encoder, with a head or without."""

    config_class = KexueConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ("_Layer",)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, _Layer) and module.projection is not None:
            features, width = module.projection.shape
            module.projection.copy_(orthogonal_projection(width, features))


class KexueModel(KexuePreTrainedModel):
    """The encoder; `AutoModel` loads it.

    Args:
        config: a `KexueConfig`.

    Example:
        >>> config = KexueConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1)
        >>> model = KexueModel(config).eval()
        >>> model(torch.tensor([[2, 7, 3]])).last_hidden_state.shape
        torch.Size([1, 3, 32])
    """

    def __init__(self, config: KexueConfig) -> None:
        super().__init__(config)
        self.embeddings = KexueEmbeddings(config)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        last = config.norm == "pre"
        self.norm = make_norm(config, config.hidden_size) if last else nn.Identity()
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Give the table of token embeddings."""
        return self.embeddings.tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of token embeddings."""
        self.embeddings.tokens = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BaseModelOutput:
        """Encode texts.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 = keep; everything by default. Or [B, L, L], row i = what
                token i sees.
            token_type_ids: [B, L] segments, for a table of segments and for the mask "unilm".
            position_ids: [B, L] positions, 0, 1, 2, ... by default; or, with rotary positions,
                [B, L, 2] coordinates of the patches of a picture.
            inputs_embeds: [B, L, `config.embedding_size`] in place of `input_ids`.
            output_hidden_states: also return what enters the first layer and what each layer gives.

        Returns:
            The states [B, L, D] as `last_hidden_state`.

        Raises:
            ValueError: if a text is longer than a table of positions.
        """
        hidden = self.embeddings(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds=inputs_embeds,
        )
        mixing = self._mixing(hidden, attention_mask, token_type_ids, position_ids)
        states = [hidden]
        scores = None
        for layer in self.layers:
            hidden, scores = layer(hidden, scores, mixing)
            states.append(hidden)
        states[-1] = hidden = self.norm(hidden)
        kept = tuple(states) if output_hidden_states else None
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=kept)

    def _mixing(
        self,
        hidden: Tensor,
        attention_mask: Tensor | None,
        segments: Tensor | None,
        positions: Tensor | None,
    ) -> Mixing:
        """Gather what is the same for all layers."""
        config = self.config
        # Linear attention, which has no scores to hide, is told the padding and the order apart.
        linear = config.attention != "softmax"
        kind = "bidirectional" if linear else config.mask
        keep = visible(kind, attention_mask, segments, hidden)
        scale = None
        if config.log_n != "none":
            seen = keep
            if seen is None:
                seen = torch.ones(1, hidden.shape[1], dtype=torch.bool, device=hidden.device)
            count = count_keys(seen, causal=linear and config.mask == "causal")
            length = config.log_n_length
            if config.log_n == "trained":
                scale = log_n_scale(count, base_length=length, min_n=config.log_n_min)
            else:
                scale = post_hoc_log_n_scale(count, training_length=length)
        return Mixing(config, keep, self._angles(hidden, positions), scale)

    def _angles(self, hidden: Tensor, positions: Tensor | None) -> Tensor | None:
        """Compute [L, d / 2] or [B, 1, L, d / 2] angles of rotary positions."""
        config = self.config
        if config.positions != "rope":
            return None
        width = config.hidden_size // config.num_attention_heads
        if positions is None:
            places = torch.arange(hidden.shape[1], device=hidden.device)
            return rope_angles(places, width, base=config.rope_base)
        if positions.ndim not in (2, 3):
            raise invalid("position_ids", tuple(positions.shape), "[B, L] or [B, L, 2]")
        angles = rope_angles if positions.ndim == 2 else rope2d_angles
        return angles(positions, width, base=config.rope_base)[:, None]
