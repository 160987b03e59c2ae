"""An encoder with a head that marks spans: the model of named entity recognition.

The encoder's configuration is nested in ours, so a saved folder needs nothing else: loading it
never goes back to the place the encoder came from.

Axes: B windows, L tokens, D hidden size, T entity types, K spans of a window
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from kexue._check import invalid
from kexue.heads import EfficientGlobalPointer, GlobalPointer, LinearChainCRF, ScoredSpan
from kexue.models.encoder_loading import without_pooler
from kexue.models.nested_config import encoder_config_of, without_place

HEADS = ("efficient", "standard", "crf")


class EntityConfig(PreTrainedConfig):
    """What an `EntityModel` is made of.

    Args:
        encoder_config: configuration of the encoder, or the dict it was saved as.
        head: "efficient" (EfficientGlobalPointer), "standard" (GlobalPointer) or "crf".
        head_size: width of query and key in the two pointer heads.
        head_dropout: dropout between encoder and head.
        token_dropout: share of tokens that training hides behind the mask token.
        mask_token_id: the mask token, where `token_dropout` is not 0.
        window: most tokens of a window, special tokens included.
        overlap: tokens that neighbouring windows of a long text share.
        thresholds: calibrated logit for each type, in the order of the labels; None means 0.
        flat: entities do not overlap, so the best set of spans that do not is what is found.
        id2label: entity types.
        options: whatever `PreTrainedConfig` takes.

    Raises:
        ValueError: if `head` is unknown, or tokens are to be hidden without a mask token.

    Example:
        >>> from transformers import BertConfig
        >>> config = EntityConfig(BertConfig(), id2label={0: "person", 1: "place"})
        >>> config.head, config.encoder_config.model_type, config.num_labels
        ('efficient', 'bert', 2)
    """

    model_type = "kexue-entities"

    def __init__(
        self,
        encoder_config: PreTrainedConfig | dict[str, Any] | None = None,
        *,
        head: str = "efficient",
        head_size: int = 64,
        head_dropout: float = 0.0,
        token_dropout: float = 0.0,
        mask_token_id: int | None = None,
        window: int = 512,
        overlap: int = 128,
        thresholds: Sequence[float] | None = None,
        flat: bool = False,
        **options: Any,
    ) -> None:
        if head not in HEADS:
            raise invalid("head", head, ", ".join(map(repr, HEADS)))
        if token_dropout and mask_token_id is None:
            raise invalid("token_dropout", token_dropout, "0 for a tokenizer without a mask token")
        self.encoder_config = encoder_config_of(encoder_config)
        self.head = head
        self.head_size = head_size
        self.head_dropout = head_dropout
        self.token_dropout = token_dropout
        self.mask_token_id = mask_token_id
        self.window = window
        self.overlap = overlap
        self.thresholds = None if thresholds is None else list(thresholds)
        self.flat = flat
        super().__init__(**options)

    def to_dict(self) -> dict[str, Any]:
        """Give the configuration as a JSON object that names no place but itself.

        Returns:
            A new dict.
        """
        return without_place(super().to_dict())

    @property
    def labels(self) -> list[str]:
        """Entity types in the order of the head."""
        return [self.id2label[i] for i in range(len(self.id2label))]


@dataclass
class EntityOutput(ModelOutput):
    """Output of `EntityModel`.

    Attributes:
        loss: scalar, where spans were given.
        last_hidden_state: [B, L, D] encoder states.

    Example:
        >>> EntityOutput(loss=torch.tensor(0.5)).loss
        tensor(0.5000)
    """

    loss: Tensor | None = None
    last_hidden_state: Tensor | None = None


class EntityModel(PreTrainedModel):
    """Any encoder that AutoModel loads, and a head over spans.

    Args:
        config: an `EntityConfig` with an encoder.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        ...     intermediate_size=64, vocab_size=50)
        >>> model = EntityModel(EntityConfig(encoder, id2label={0: "person", 1: "place"}))
        >>> ids = torch.tensor([[2, 7, 8, 9, 3]])
        >>> span_mask = torch.tensor([[False, True, True, True, False]])
        >>> spans = torch.tensor([[[1, 1, 2]]])
        >>> model(input_ids=ids, span_mask=span_mask, spans=spans).loss.shape
        torch.Size([])
    """

    config_class = EntityConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: EntityConfig) -> None:
        super().__init__(config)
        if config.encoder_config is None:
            raise invalid("encoder_config", None, "the configuration of an encoder")
        self.encoder = AutoModel.from_config(
            config.encoder_config, **without_pooler(config.encoder_config)
        )
        width = config.encoder_config.hidden_size
        types = len(config.id2label)
        self.dropout = nn.Dropout(config.head_dropout)
        if config.head == "crf":
            self.head = LinearChainCRF(width, types)
        else:
            kind = GlobalPointer if config.head == "standard" else EfficientGlobalPointer
            self.head = kind(width, types, head_size=config.head_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep what encoder and head have drawn for themselves."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        span_mask: Tensor | None = None,
        spans: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> EntityOutput:
        """Encode windows and, where gold spans are given, compute the loss.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 = keep.
            span_mask: [B, L] bool, True for tokens that may begin or end a span; special tokens and
                padding are False.
            spans: [B, K, 3] gold (type, start, end), ends included, padded with -1.
            token_type_ids: [B, L], for encoders that take them.

        Returns:
            Loss and states.
        """
        options = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        if self.training and self.config.token_dropout and span_mask is not None:
            hide = torch.rand(input_ids.shape, device=input_ids.device) < self.config.token_dropout
            input_ids = input_ids.masked_fill(hide & span_mask, self.config.mask_token_id)
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **options)[0]
        loss = None
        if spans is not None:
            loss = self.head.loss(self.dropout(hidden), span_mask, spans)
        return EntityOutput(loss=loss, last_hidden_state=hidden)

    @torch.no_grad()
    def decode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        span_mask: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        threshold: Sequence[float] | float = 0.0,
        limit: int | None = None,
    ) -> list[list[ScoredSpan]]:
        """Find the spans of a batch of windows.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 = keep.
            span_mask: [B, L] bool.
            token_type_ids: [B, L], for encoders that take them.
            threshold: one logit, or one for each type; the CRF has none.
            limit: keep only so many spans of a window.

        Returns:
            For each window its (type, start, end, score) in token places, both ends included.
        """
        output = self(input_ids, attention_mask, token_type_ids=token_type_ids)
        hidden = output.last_hidden_state
        if self.config.head == "crf":
            return self.head.decode(hidden, span_mask)
        return self.head.decode(hidden, span_mask, threshold=threshold, limit=limit)
