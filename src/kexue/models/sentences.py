"""An encoder that gives each text one vector: the model of sentence similarity and search.

The encoder's configuration is nested in ours, so a saved folder needs nothing else.

Post: https://kexue.fm/archives/8321 (poolings), https://kexue.fm/archives/8069 (the linear map)
Axes: B texts, L tokens, D hidden size, E features of a vector
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from kexue._check import invalid
from kexue.models.encoder_loading import load_encoder, without_pooler
from kexue.models.nested_config import encoder_config_of, without_place
from kexue.sentences.pooling import pool

POOLINGS = ("P1", "P2", "P3", "P4")


class SentenceConfig(PreTrainedConfig):
    """What a `SentenceModel` is made of.

    Args:
        encoder_config: configuration of the encoder, or the dict it was saved as.
        pooling: "P1" (first token), "P2" (BERT's pooler without its tanh), "P3" (mean over the
            last layer) or "P4" (mean over the first and the last layer).
        features: E, the width after a linear map such as a whitening; None has no such map.
        window: most tokens of a piece, special tokens included. A longer text is cut into pieces,
            whose vectors are averaged by their number of tokens.
        options: whatever `PreTrainedConfig` takes.

    Raises:
        ValueError: if `pooling` is unknown.

    Example:
        >>> from transformers import BertConfig
        >>> SentenceConfig(BertConfig(hidden_size=96), features=32).dimension
        32
    """

    model_type = "kexue-sentences"

    def __init__(
        self,
        encoder_config: PreTrainedConfig | dict[str, Any] | None = None,
        *,
        pooling: str = "P3",
        features: int | None = None,
        window: int = 512,
        **options: Any,
    ) -> None:
        if pooling not in POOLINGS:
            raise invalid("pooling", pooling, ", ".join(map(repr, POOLINGS)))
        self.encoder_config = encoder_config_of(encoder_config)
        self.pooling = pooling
        self.features = features
        self.window = window
        super().__init__(**options)

    def to_dict(self) -> dict[str, Any]:
        """Give the configuration as a JSON object that names no place but itself.

        Returns:
            A new dict.
        """
        return without_place(super().to_dict())

    @property
    def dimension(self) -> int:
        """E, the number of features of a vector."""
        return self.encoder_config.hidden_size if self.features is None else self.features


@dataclass
class SentenceOutput(ModelOutput):
    """Output of `SentenceModel`.

    Attributes:
        vectors: [B, E].

    Example:
        >>> import torch
        >>> SentenceOutput(vectors=torch.zeros(2, 3)).vectors.shape
        torch.Size([2, 3])
    """

    vectors: Tensor | None = None


class SentenceModel(PreTrainedModel):
    """Any encoder that AutoModel loads, a pooling, and a linear map where there is one.

    Args:
        config: a `SentenceConfig` with an encoder.

    Example:
        >>> import torch
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        ...     intermediate_size=64, vocab_size=50)
        >>> model = SentenceModel(SentenceConfig(encoder))
        >>> model(torch.tensor([[2, 7, 3]])).vectors.shape
        torch.Size([1, 32])
    """

    config_class = SentenceConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: SentenceConfig) -> None:
        super().__init__(config)
        if config.encoder_config is None:
            raise invalid("encoder_config", None, "the configuration of an encoder")
        kept = {} if config.pooling == "P2" else without_pooler(config.encoder_config)
        self.encoder = AutoModel.from_config(config.encoder_config, **kept)
        _check_pooler(self.encoder, config.pooling)
        self.projection: nn.Linear | None = None
        if config.features is not None:
            self.projection = nn.Linear(config.encoder_config.hidden_size, config.features)
        # What only training needs: a predictor, a classifier, a temperature. Taken off at its end.
        self.objective: nn.Module | None = None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep what the encoder has drawn for itself."""

    @classmethod
    def from_encoder(
        cls,
        name: str,
        *,
        pooling: str = "P3",
        window: int = 512,
        dropout: float | None = None,
    ) -> "SentenceModel":
        """Put a pooling on an encoder.

        Args:
            name: a folder, or a name on the Hub.
            pooling: as in `SentenceConfig`.
            window: as in `SentenceConfig`.
            dropout: as in `load_encoder`.

        Returns:
            The model.

        Raises:
            OSError: if there is no such encoder.
            ValueError: if the pooling is unknown or needs a pooler that the encoder lacks.
        """
        encoder = load_encoder(name, dropout=dropout, pooler=pooling == "P2")
        model = cls(SentenceConfig(encoder.config, pooling=pooling, window=window))
        model.encoder = encoder
        return model

    def set_projection(self, linear: nn.Linear) -> None:
        """Put a linear map behind what is there, such as `Whitening.as_linear` makes.

        Args:
            linear: from the present E features to new ones.

        Raises:
            ValueError: if it does not take the present features.
        """
        if linear.in_features != self.config.dimension:
            raise invalid("linear.in_features", linear.in_features, f"{self.config.dimension}")
        weight = linear.weight.detach().to("cpu", torch.float64)
        bias = torch.zeros(len(weight), dtype=torch.float64)
        if linear.bias is not None:
            bias += linear.bias.detach().cpu()
        if self.projection is not None:
            bias += weight @ self.projection.bias.detach().to("cpu", torch.float64)
            weight = weight @ self.projection.weight.detach().to("cpu", torch.float64)
        self.projection = nn.Linear(weight.shape[1], len(weight)).to(self.device, self.dtype)
        with torch.no_grad():
            self.projection.weight.copy_(weight)
            self.projection.bias.copy_(bias)
        self.config.features = len(weight)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
    ) -> SentenceOutput:
        """Give each text its vector.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 = keep; everything by default.
            token_type_ids: [B, L], for encoders that take them.

        Returns:
            The vectors [B, E].
        """
        options = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        all_layers = self.config.pooling == "P4"
        output = self.encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            output_hidden_states=all_layers,
            **options,
        )
        states = output.hidden_states if all_layers else [output.last_hidden_state]
        pooler = self.encoder.pooler.dense if self.config.pooling == "P2" else None
        vectors = pool(states, attention_mask, how=self.config.pooling, pooler=pooler)
        return SentenceOutput(
            vectors=vectors if self.projection is None else self.projection(vectors)
        )


def _check_pooler(encoder: PreTrainedModel, pooling: str) -> None:
    if pooling == "P2" and not hasattr(getattr(encoder, "pooler", None), "dense"):
        given = f"P2 with a {type(encoder).__name__}, which has no pooler"
        raise invalid("pooling", given, "P1, P3 or P4 without a pooler", "Try P4.")
