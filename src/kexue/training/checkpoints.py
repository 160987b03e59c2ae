"""Find the checkpoint to resume from, also where the last one was being written at a crash."""

import json
import logging
import re
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

logger = logging.getLogger(__name__)

# Each must be there in one of its spellings: one process, several, or sharded (FSDP, DeepSpeed).
_PARTS = {
    "model": ("model.safetensors", "model.safetensors.index.json", "pytorch_model_fsdp*"),
    "optimizer": ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"),
    "scheduler": ("scheduler.pt", "global_step*"),
    "random state": ("rng_state*.pth",),
    "trainer state": ("trainer_state.json",),
}


def checkpoint_fault(checkpoint: str | Path) -> str | None:
    """Say why training cannot resume from a checkpoint.

    Model, optimiser, schedule, random state and the Trainer's state must be there, and every file
    of theirs must be whole; the contents are not loaded.

    Args:
        checkpoint: a folder that the Trainer wrote.

    Returns:
        What is missing or broken, or `None` where nothing is.

    Example:
        >>> checkpoint_fault("run/checkpoint-0")
        'there is no model (model.safetensors)'
    """
    folder = Path(checkpoint)
    for part, patterns in _PARTS.items():
        if not any(list(folder.glob(pattern)) for pattern in patterns):
            return f"there is no {part} ({patterns[0]})"
    for path in sorted(folder.iterdir()):
        fault = _file_fault(path)
        if fault is not None:
            return f"{path.name} {fault}"
    return None


def _file_fault(path: Path) -> str | None:
    """Say what is wrong with one file; kinds of files that are not known are trusted."""
    try:
        if path.suffix == ".safetensors":
            # Opening compares the header with the size of the file.
            with safe_open(path, framework="pt"):
                pass
        elif path.suffix in {".pt", ".pth", ".bin"}:
            # torch.save writes a zip archive, whose directory comes last.
            with zipfile.ZipFile(path) as archive:
                archive.infolist()
        elif path.suffix == ".json":
            return _json_fault(path)
    except (OSError, SafetensorError, zipfile.BadZipFile) as error:
        return f"cannot be read: {error}"
    return None


def _json_fault(path: Path) -> str | None:
    """Say what is wrong with a JSON file, or which shard its index names in vain."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        return f"cannot be read: {error}"
    if path.name.endswith(".index.json"):
        for shard in sorted(set(content["weight_map"].values())):
            if not (path.parent / shard).is_file():
                return f"names {shard}, which is missing"
    return None


def latest_checkpoint(folder: str | Path) -> Path | None:
    """Find the newest checkpoint in a run folder that training can resume from.

    A checkpoint that was not written to its end, or whose deletion was interrupted, is passed
    over with a warning that names it and its fault.

    Args:
        folder: the run's `output_dir`.

    Returns:
        The checkpoint's folder for `TaskTrainer.train(resume_from_checkpoint=...)`, or `None`
        where there is none.

    Example:
        >>> latest_checkpoint("a-folder-that-is-not-there") is None
        True
    """
    steps = {
        path: int(found[1])
        for path in Path(folder).glob("checkpoint-*")
        if path.is_dir() and (found := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    for path in sorted(steps, key=steps.__getitem__, reverse=True):
        fault = checkpoint_fault(path)
        if fault is None:
            return path
        logger.warning("%s is incomplete and passed over: %s", path, fault)
    return None
