"""Any encoder that AutoModel knows, with no more parts than its task uses."""

import inspect

from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from kexue.models.config import KexueConfig


def load_encoder(
    name: str, *, dropout: float | None = None, pooler: bool = False
) -> PreTrainedModel:
    """Load any encoder that AutoModel knows, without a pooling layer it would not use.

    Args:
        name: a folder, or a name on the Hub.
        dropout: for a `KexueModel`, the dropout in its layers in place of the one that it was
            pre-trained with, which is none. What others are made with stays.
        pooler: keep the pooling layer, where there is one.

    Returns:
        The encoder.

    Raises:
        OSError: if there is no such encoder.

    Example:
        >>> load_encoder("runs/none")
        Traceback (most recent call last):
        OSError: ...
    """
    config = AutoConfig.from_pretrained(name)
    choose_dropout(config, dropout)
    options = {} if pooler else without_pooler(config)
    return AutoModel.from_pretrained(name, config=config, **options)


def choose_dropout(config: PreTrainedConfig, dropout: float | None) -> None:
    """Set the dropout of an encoder that kexue pre-trained, which was done without.

    Args:
        config: of the encoder; changed in place. Others than a `KexueConfig` keep what they have.
        dropout: 0 to 1; None changes nothing.

    Example:
        >>> config = KexueConfig(hidden_dropout=0.0)
        >>> choose_dropout(config, 0.1)
        >>> config.hidden_dropout
        0.1
    """
    if dropout is not None and isinstance(config, KexueConfig):
        config.hidden_dropout = dropout


def without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """Say how a model is made without a pooling layer.

    One that never gets a gradient makes distributed training fail.

    Args:
        config: of the model.

    Returns:
        Options of the model's class; none where it has no such layer.

    Example:
        >>> from transformers import BertConfig
        >>> without_pooler(BertConfig())
        {'add_pooling_layer': False}
    """
    kind = AutoModel._model_mapping[type(config)]
    takes = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if takes else {}


def longest_input(encoder: PreTrainedModel) -> int:
    """Say how many tokens an encoder takes.

    Args:
        encoder: the encoder.

    Returns:
        The number of its positions, without those that RoBERTa and its kin lose to padding; 10^9
        where there is no limit.

    Example:
        >>> from transformers import RobertaConfig
        >>> small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> config = RobertaConfig(**small, max_position_embeddings=514, intermediate_size=8)
        >>> longest_input(AutoModel.from_config(config))
        512
    """
    longest = getattr(encoder.config, "max_position_embeddings", None) or 10**9
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    lost = getattr(table, "padding_idx", None)
    return longest - (0 if lost is None else lost + 1)
