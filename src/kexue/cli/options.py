"""What several commands read from their options."""

import json
from collections.abc import Mapping
from typing import Any

from kexue._check import invalid


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


def chosen_sizes(sizes: Mapping[str, int | None], *, new: bool, kind: str) -> dict[str, int]:
    """Keep the sizes that were given, which only an encoder with random weights can take.

    Args:
        sizes: of the encoder by option, None where the option was not given.
        new: whether the encoder is one with random weights.
        kind: what `--encoder` is called for such a one.

    Returns:
        The sizes that were given.

    Raises:
        ValueError: if there are some and the encoder is a trained one.

    Example:
        >>> chosen_sizes({"layers": 4, "width": None}, new=True, kind="scratch")
        {'layers': 4}
    """
    given = {name: size for name, size in sizes.items() if size is not None}
    for name, size in given.items():
        if not new:
            fix = f"A trained encoder has the size it has: add --encoder {kind}, or leave it out."
            raise invalid(name, size, "a size for an encoder with random weights alone", fix)
    return given
