"""Which model an index was built with, so that no other one is asked for its queries."""

import hashlib
from pathlib import Path
from typing import Any

# A model is known by what it makes of these, whatever its files look like.
_PROBES = ("科学空间", "A sentence to know a model by.", "3.14159, 2.71828")
_NEAR = 1e-3  # rounding differs between machines by a thousandth of this


def model_facts(name: str, encoder: Any) -> dict[str, Any]:
    """Describe a model for an index that is being made.

    Args:
        name: folder, or another name it is loaded by.
        encoder: the sentence encoder.

    Returns:
        JSON values: the name, a hash of the weights where it is a folder, some vectors.
    """
    is_folder = name != "mini" and Path(name).is_dir()
    return {
        "model": str(Path(name).absolute()) if is_folder else name,
        "weights": weights_hash(name),
        "probes": encoder(list(_PROBES), batch_size=len(_PROBES)).tolist(),
    }


def weights_hash(name: str) -> str | None:
    """Hash the weights of a model.

    Args:
        name: "mini", the model folder, or the run folder that holds it as `model`.

    Returns:
        A hash, or None where there are no safetensors.

    Example:
        >>> weights_hash("runs/none") is None
        True
    """
    from kexue.models import encoder_place

    folder = Path(encoder_place(name))
    files = sorted(folder.rglob("*.safetensors"))
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.relative_to(folder).as_posix().encode())
        with file.open("rb") as stream:
            while part := stream.read(2**20):
                whole.update(part)
    return whole.hexdigest() if files else None


def refuse_other_weights(facts: dict[str, Any], name: str) -> None:
    """Refuse a model folder with other weights, before it is loaded.

    Args:
        facts: of the index.
        name: of the model.

    Raises:
        ValueError: if the weights differ.

    Example:
        >>> refuse_other_weights({"weights": None}, "runs/none")
    """
    found = weights_hash(name)
    if facts.get("weights") and found and found != facts["weights"]:
        raise ValueError(
            f"{name}: its weights are not those the index was built with. {_way(facts)}"
        )


def refuse_other_model(facts: dict[str, Any], name: str, encoder: Any) -> None:
    """Refuse a model whose vectors are others than those of the model of the index.

    Args:
        facts: of the index.
        name: of the model.
        encoder: the sentence encoder.

    Raises:
        ValueError: if the vectors differ by more than rounding.
    """
    import numpy as np

    from kexue.sentences.rows import unit_rows

    if "probes" not in facts:
        return
    kept = np.asarray(facts["probes"])
    found = encoder(list(_PROBES), batch_size=len(_PROBES))
    if kept.shape != found.shape or ((unit_rows(kept) - unit_rows(found)) ** 2).sum() > _NEAR:
        raise ValueError(
            f"{name}: it makes other vectors than the model the index was built with. {_way(facts)}"
        )


def _way(facts: dict[str, Any]) -> str:
    return f"Use that one ({facts.get('model')}), or build another index."
