"""What a folder holds, told from its configuration alone."""

import json
from pathlib import Path

from kexue.models.mini import encoder_place


def model_type(folder: str | Path) -> str | None:
    """Say which kind of model a folder holds.

    Args:
        folder: a model folder, or a run folder that holds it as `model`.

    Returns:
        The model type of its config.json, such as "kexue-entities"; None where there is none.

    Example:
        >>> model_type("mini"), model_type("runs/none")
        ('kexue', None)
    """
    try:
        text = Path(encoder_place(str(folder)), "config.json").read_text("utf-8")
        found = json.loads(text).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
