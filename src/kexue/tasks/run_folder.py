"""What training runs are on disk: a plan that is kept to, arguments, folders that are whole."""

import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

import kexue
from kexue._check import invalid
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.atomic import write_atomically
from kexue.training.checkpoints import latest_checkpoint

# What decides the outcome; other versions of libraries may go on with a run.
_DECISIVE = ("settings", "options", "data")


def run_arguments(
    folder: str | Path, options: Mapping[str, Any], *, usual: Mapping[str, Any]
) -> TaskTrainingArguments:
    """Make the training arguments of a run.

    Args:
        folder: the run folder.
        options: fields of `TaskTrainingArguments` that the user has chosen.
        usual: those that the task chooses where the user does not.

    Returns:
        The arguments; checkpoints go into the folder `checkpoints` of the run.

    Raises:
        ValueError: if there is no such field, or a value is not allowed.

    Example:
        >>> run_arguments("run", {"seed": 7}, usual={"seed": 1}).seed
        7
    """
    fixed = {
        # Without a GPU, mixed precision has to be asked for on the CPU.
        "use_cpu": not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        "output_dir": str(Path(folder) / "checkpoints"),
        "report_to": "none",
        "disable_tqdm": True,
        "save_only_model": False,
    }
    try:
        return TaskTrainingArguments(**{**fixed, **usual, **options})
    except TypeError as error:
        raise ValueError(
            f"{error}. Options are the fields of transformers.TrainingArguments."
        ) from None


def versions() -> dict[str, str]:
    """List the versions that a run is made with.

    Returns:
        Versions by name.

    Example:
        >>> sorted(versions())
        ['kexue', 'python', 'torch', 'transformers']
    """
    return {
        "kexue": kexue.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def point_to_resume(
    folder: str | Path, plan: Mapping[str, Any], *, resume: bool, instead: str = ""
) -> Path | None:
    """Find the checkpoint to go on from; refuse to mix two runs in one folder.

    Args:
        folder: the run folder.
        plan: what decides the outcome, as "settings", "options" and "data".
        resume: whether to go on with a run.
        instead: a sentence that says what to do where another plan is wanted.

    Returns:
        The last whole checkpoint, or None where nothing has been trained.

    Raises:
        ValueError: if the folder holds a run and `resume` is False, or it holds another run.

    Example:
        >>> point_to_resume("a-folder-that-is-not-there", {}, resume=False) is None
        True
    """
    written = Path(folder) / "run.json"
    if not written.is_file():
        return None
    if not resume:
        raise invalid(
            "out",
            str(folder),
            "a folder without a run",
            "Add --resume to go on with it, or choose another folder.",
        )
    old = json.loads(written.read_text(encoding="utf-8"))
    planned = json.loads(as_json(plan))
    differ = [key for key in _DECISIVE if old.get(key) != planned.get(key)]
    if differ:
        fix = f"Its run.json has other {' and '.join(differ)}; choose another folder."
        raise invalid("out", str(folder), "the folder of the same run", f"{fix} {instead}".strip())
    return latest_checkpoint(Path(folder) / "checkpoints")


def write_plan(folder: str | Path, plan: Mapping[str, Any], args: TaskTrainingArguments) -> None:
    """Write what a run is going to do, unless it is a run that goes on.

    Args:
        folder: the run folder.
        plan: any JSON object.
        args: of the run; of several processes the first writes, once all have looked for a run.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     args = run_arguments(folder, {}, usual={})
        ...     write_plan(folder, {"settings": {}}, args)
        ...     point_to_resume(folder, {"settings": {}}, resume=True) is None
        True
    """
    args.distributed_state.wait_for_everyone()
    path = Path(folder) / "run.json"
    if args.should_save and not path.is_file():
        write_atomically(path, as_json(plan))


def hub_name(encoder: str, *, made_here: Collection[str]) -> str | None:
    """Give the name of an encoder if it is one of the Hub, which is worth a link in a card.

    Args:
        encoder: a name on the Hub, or a folder, which is nobody else's business.
        made_here: words that stand for an encoder which is no other's.

    Returns:
        The name, or None.

    Example:
        >>> hub_name("org/base", made_here=["new"])
        'org/base'
    """
    local = Path(encoder).exists() or encoder.count("/") > 1
    return None if local or encoder in made_here else encoder


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Write a folder that is there as a whole or not at all.

    Args:
        path: the folder; what was there before stays until all is written.

    Yields:
        An empty folder beside it that takes its place at the end.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_folder(Path(folder, "model")) as fresh:
        ...         _ = (fresh / "a.txt").write_text("a")
        ...     [part.name for part in Path(folder).iterdir()]
        ['model']
    """
    path = Path(path)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    # A process that was killed leaves its own behind.
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(left)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if path.exists():
            path.replace(old)
        fresh.replace(path)
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def as_json(content: object) -> str:
    r"""Write an object for people and programs.

    Args:
        content: what JSON can hold; everything else is written as its text.

    Returns:
        Indented JSON with a line break at its end.

    Example:
        >>> as_json({"place": "北京"})
        '{\n  "place": "北京"\n}\n'
    """
    return json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n"
