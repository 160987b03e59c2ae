"""An encoder that gives each text, or pair of texts, a label: the model of text classification.

The encoder's configuration is nested in ours, so a saved folder needs nothing else. A text that is
longer than the window comes as several pieces, whose vectors are averaged by their tokens before
the one linear layer sees them.

Axes: B texts, P pieces of a text, L tokens, D hidden size, C labels
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from kexue._check import invalid
from kexue.models.encoder_loading import without_pooler
from kexue.models.nested_config import encoder_config_of, without_place
from kexue.models.sentences import POOLINGS
from kexue.sentences.pooling import pool

_DEVIATION = 0.02  # of the weights that the linear layer begins with, as in BERT


class ClassifierConfig(PreTrainedConfig):
    """What a `ClassifierModel` is made of.

    Args:
        encoder_config: configuration of the encoder, or the dict it was saved as.
        pooling: "P1" (first token), "P2" (BERT's pooler without its tanh), "P3" (mean over the
            last layer) or "P4" (mean over the first and the last layer).
        head_dropout: dropout between the vector and the linear layer.
        window: most tokens of a piece, special tokens included.
        pairs: whether it labels pairs of texts.
        id2label: the labels.
        options: whatever `PreTrainedConfig` takes.

    Raises:
        ValueError: if `pooling` is unknown.

    Example:
        >>> from transformers import BertConfig
        >>> config = ClassifierConfig(BertConfig(), id2label={0: "good", 1: "bad"})
        >>> config.pooling, config.labels
        ('P3', ['good', 'bad'])
    """

    model_type = "kexue-classifier"

    def __init__(
        self,
        encoder_config: PreTrainedConfig | dict[str, Any] | None = None,
        *,
        pooling: str = "P3",
        head_dropout: float = 0.0,
        window: int = 512,
        pairs: bool = False,
        **options: Any,
    ) -> None:
        if pooling not in POOLINGS:
            raise invalid("pooling", pooling, ", ".join(map(repr, POOLINGS)))
        self.encoder_config = encoder_config_of(encoder_config)
        self.pooling = pooling
        self.head_dropout = head_dropout
        self.window = window
        self.pairs = pairs
        super().__init__(**options)

    def to_dict(self) -> dict[str, Any]:
        """Give the configuration as a JSON object that names no place but itself.

        Returns:
            A new dict.
        """
        return without_place(super().to_dict())

    @property
    def labels(self) -> list[str]:
        """The labels in the order of the linear layer."""
        return [self.id2label[i] for i in range(len(self.id2label))]


@dataclass
class ClassifierOutput(ModelOutput):
    """Output of `ClassifierModel`.

    Attributes:
        loss: scalar, where labels were given.
        logits: [B, C], the logarithms of the probabilities up to a number that a text shares.
        vectors: [B, D], what the linear layer sees.

    Example:
        >>> ClassifierOutput(logits=torch.zeros(2, 3)).logits.shape
        torch.Size([2, 3])
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    vectors: Tensor | None = None


class ClassifierModel(PreTrainedModel):
    """Any encoder that AutoModel loads, a pooling, and one linear layer.

    Args:
        config: a `ClassifierConfig` with an encoder.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        ...     intermediate_size=64, vocab_size=50)
        >>> model = ClassifierModel(ClassifierConfig(encoder, id2label={0: "a", 1: "b", 2: "c"}))
        >>> model(torch.tensor([[2, 7, 3]])).logits.shape
        torch.Size([1, 3])
    """

    config_class = ClassifierConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        if config.encoder_config is None:
            raise invalid("encoder_config", None, "the configuration of an encoder")
        kept = {} if config.pooling == "P2" else without_pooler(config.encoder_config)
        self.encoder = AutoModel.from_config(config.encoder_config, **kept)
        self.check_pooler()
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(config.encoder_config.hidden_size, len(config.id2label))
        nn.init.trunc_normal_(self.head.weight, std=_DEVIATION)
        nn.init.zeros_(self.head.bias)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep what encoder and head have drawn for themselves."""

    def check_pooler(self) -> None:
        """Refuse the pooling "P2" with an encoder that has no pooler.

        Raises:
            ValueError: if that is so.
        """
        if self.config.pooling == "P2" and not hasattr(
            getattr(self.encoder, "pooler", None), "dense"
        ):
            given = f"P2 with a {type(self.encoder).__name__}, which has no pooler"
            raise invalid("pooling", given, "P1, P3 or P4 without a pooler", "Try P3.")

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
        piece_weights: Tensor | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> ClassifierOutput:
        """Give each text its logits and, where the labels are given, compute the loss.

        Args:
            input_ids: [B, L], or [B, P, L] for texts in pieces.
            attention_mask: the same shape, 1 = keep; everything by default. A piece of which
                nothing is kept is none.
            token_type_ids: the same shape, for encoders that take them.
            piece_weights: [B, P] how much each piece counts; equal by default.
            labels: [B] numbers of the labels.
            inputs_embeds: [B, L, E] in place of `input_ids`, what the table of tokens gives.

        Returns:
            Loss, logits and vectors.
        """
        options = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        if input_ids is not None and input_ids.ndim == 3:
            vectors = self._vectors_of_pieces(input_ids, attention_mask, piece_weights, options)
        else:
            words = {"inputs_embeds": inputs_embeds} if input_ids is None else {}
            vectors = self.vectors(input_ids, attention_mask, **options, **words)
        logits = self.head(self.dropout(vectors))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return ClassifierOutput(loss=loss, logits=logits, vectors=vectors)

    def vectors(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Give each piece its vector.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 1 = keep; everything by default.
            token_type_ids: [B, L], for encoders that take them.
            inputs_embeds: [B, L, E] in place of `input_ids`.

        Returns:
            [B, D].
        """
        words = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
        options = {"token_type_ids": token_type_ids, **words}
        given = {name: value for name, value in options.items() if value is not None}
        if attention_mask is None:
            first = input_ids if inputs_embeds is None else inputs_embeds[..., 0]
            attention_mask = torch.ones_like(first, dtype=torch.long)
        all_layers = self.config.pooling == "P4"
        output = self.encoder(
            attention_mask=attention_mask, output_hidden_states=all_layers, **given
        )
        states = output.hidden_states if all_layers else [output.last_hidden_state]
        pooler = self.encoder.pooler.dense if self.config.pooling == "P2" else None
        return pool(states, attention_mask, how=self.config.pooling, pooler=pooler)

    def _vectors_of_pieces(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        weights: Tensor | None,
        options: dict[str, Tensor],
    ) -> Tensor:
        """Average the vectors of each text's pieces."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        there = attention_mask.any(-1)  # [B, P]
        chosen = {name: value[there] for name, value in options.items()}
        found = self.vectors(input_ids[there], attention_mask[there], **chosen)  # [pieces, D]
        weights = there.to(found.dtype) if weights is None else weights.to(found.dtype) * there
        shares = weights / weights.sum(1, keepdim=True)
        texts = there.nonzero()[:, 0]
        total = found.new_zeros(len(input_ids), found.shape[1])
        return total.index_add(0, texts, found * shares[there].unsqueeze(1))
