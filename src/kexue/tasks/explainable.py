"""Any folder with a model that can be explained, by what its configuration says of it."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from kexue._check import invalid
from kexue.models import EntityConfig, SentenceConfig, encoder_place, load_tokenizer
from kexue.tasks.embedding import SentenceEncoder
from kexue.tasks.explaining import ModelWithTokenizer
from kexue.tasks.ner import EntityRecognizer

_HEADS = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForMaskedLM": AutoModelForMaskedLM,
    "ForCausalLM": AutoModelForCausalLM,
    "LMHeadModel": AutoModelForCausalLM,
}


def load_explainable(
    folder: str | Path, *, similarity: bool = False, device: str | None = None
) -> EntityRecognizer | SentenceEncoder | ModelWithTokenizer:
    """Load a model that can be explained.

    Args:
        folder: "mini", a model folder, or the run folder that holds it as `model`.
        similarity: whether the similarity of two texts is to be explained; any encoder will do.
        device: where to put it; a GPU where there is one, by default.

    Returns:
        What `explain` takes.

    Raises:
        ValueError: if there is no such model, or nothing in it that could be explained.

    Example:
        >>> type(load_explainable("mini", similarity=True)).__name__
        'SentenceEncoder'
    """
    inner = Path(folder, "model")
    place = inner if (inner / "config.json").is_file() else Path(encoder_place(str(folder)))
    config = _config(place, folder)
    kind = config.get("model_type")
    if kind == EntityConfig.model_type:
        return EntityRecognizer.from_pretrained(place, device=device)
    kinds = config.get("architectures") or [""]
    head = next((head for head in _HEADS if str(kinds[0]).endswith(head)), None)
    classifies = head == "ForSequenceClassification"
    if kind == SentenceConfig.model_type or (similarity and not classifies):
        return SentenceEncoder.from_pretrained(folder, device=device)
    if head is None:
        allowed = "an entity recogniser, a sentence encoder, or a model of transformers that ends "
        allowed += f"in {', '.join(_HEADS)}"
        fix = "With --other, any encoder can be asked why two texts are similar."
        raise invalid("model", f"{folder}, a {kinds[0] or kind}", allowed, fix)
    model = _HEADS[head].from_pretrained(place, local_files_only=True)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return ModelWithTokenizer(model.eval().to(device), load_tokenizer(place, local=True))


def _config(place: Path, folder: str | Path) -> dict[str, Any]:
    file = place / "config.json"
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        fix = "kexue train writes one; 'mini' is the encoder that comes with the library."
        raise invalid("model", str(folder), "a folder with the config.json of a model", fix)
    return found
