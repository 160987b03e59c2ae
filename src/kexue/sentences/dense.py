"""A linear layer as a module of sentence-transformers, in folders that load without this package.

Post: https://kexue.fm/archives/8069
Axes: D features given, K features made
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from kexue._check import invalid
from kexue.sentences.whitening_files import replace_file

# The names that the versions from 2 on know
_DENSE, _NORMALIZE = "sentence_transformers.models.Dense", "sentence_transformers.models.Normalize"


def save_dense(layer: nn.Linear, folder: str | Path) -> None:
    """Write a layer as a folder for `sentence_transformers.models.Dense.load`.

    Args:
        layer: from D to K features, as `Whitening.as_linear` makes it; written in float32.
        folder: where config.json and model.safetensors go; made where it is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_dense(nn.Linear(4, 2), folder)
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['config.json', 'model.safetensors']
    """
    from safetensors.torch import save

    config = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": layer.bias is not None,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    named = layer.state_dict()
    tensors = {f"linear.{name}": named[name].float().cpu().contiguous() for name in named}
    replace_file(Path(folder, "model.safetensors"), save(tensors, {"format": "pt"}))
    replace_file(Path(folder, "config.json"), _json(config))


def append_dense(
    layer: nn.Linear, source: str | Path, folder: str | Path, *, normalize: bool = False
) -> None:
    """Copy the folder of a sentence-transformers model, with a layer after its last module.

    Args:
        layer: from D to K features, fitted on what `encode` of the model gives.
        source: the folder that `SentenceTransformer.save` wrote.
        folder: the new one; it must not exist, and appears when it is complete.
        normalize: scale the result to length 1 by one more module.

    Raises:
        ValueError: if `source` holds no such model, or `folder` exists.

    Example:
        >>> append_dense(nn.Linear(4, 2), "nowhere", "new")
        Traceback (most recent call last):
        ValueError: source is 'nowhere'; allowed: a folder with modules.json. Write the model ...
    """
    source, folder = Path(source), Path(folder)
    listing = source / "modules.json"
    if not listing.is_file():
        fix = "Write the model by SentenceTransformer(name).save(folder) first."
        raise invalid("source", str(source), "a folder with modules.json", fix)
    if folder.exists():
        raise invalid("folder", str(folder), "a folder that does not exist", "Name another one.")
    modules = json.loads(listing.read_text("utf-8"))
    number = len(modules)
    modules.append(_entry(number, f"{number}_Dense", _DENSE))
    if normalize:
        modules.append(_entry(number + 1, f"{number + 1}_Normalize", _NORMALIZE))
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(source, beside)
        save_dense(layer, beside / f"{number}_Dense")
        if normalize:
            (beside / f"{number + 1}_Normalize").mkdir()
        (beside / "modules.json").write_bytes(_json(modules))
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _entry(number: int, path: str, kind: str) -> dict[str, Any]:
    """Describe a module as modules.json does."""
    return {"idx": number, "name": str(number), "path": path, "type": kind}


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
