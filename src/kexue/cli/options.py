"""What several commands read from their options."""

import json
from typing import Any


def named_value(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; the value is JSON where it can be.

    Args:
        text: as given to `--option`.

    Returns:
        Name, with underscores, and value.

    Raises:
        ValueError: if there is no name or no value.

    Example:
        >>> named_value("weight-decay=0.05")
        ('weight_decay', 0.05)
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--option is {text!r}; allowed: NAME=VALUE, as in weight_decay=0.05.")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value
