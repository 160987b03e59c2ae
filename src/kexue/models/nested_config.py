"""The configuration of an encoder inside that of a task model: a folder needs nothing else."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig


def encoder_config_of(given: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig | None:
    """Read the configuration of an encoder.

    Args:
        given: the configuration, or the dict it was saved as.

    Returns:
        The configuration; None for None.

    Example:
        >>> encoder_config_of({"model_type": "bert", "hidden_size": 96}).hidden_size
        96
    """
    if not isinstance(given, dict):
        return given
    rest = {key: value for key, value in given.items() if key != "model_type"}
    return AutoConfig.for_model(given.get("model_type", ""), **rest)


def without_place(saved: dict[str, Any]) -> dict[str, Any]:
    """Take off where an encoder was loaded from.

    Args:
        saved: a configuration as a dict, with "encoder_config" inside; changed in place.

    Returns:
        The same dict.

    Example:
        >>> without_place({"encoder_config": {"_name_or_path": "my/folder", "hidden_size": 96}})
        {'encoder_config': {'hidden_size': 96}}
    """
    if isinstance(saved.get("encoder_config"), dict):
        saved["encoder_config"].pop("_name_or_path", None)
    return saved
