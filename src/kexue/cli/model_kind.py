"""Which task a trained model is for, so that one command serves all."""

from pathlib import Path

from kexue._check import invalid

_TASKS = {"kexue-entities": "ner", "kexue-classifier": "classification"}


def task_of(folder: Path) -> str:
    """Say which task the model of a folder was trained for.

    Args:
        folder: a model folder, or a run folder.

    Returns:
        "ner" or "classification".

    Raises:
        ValueError: if it holds no model, or one of another kind.
    """
    from kexue.tasks.model_folder import model_type

    kind = model_type(folder)
    if kind in _TASKS:
        return _TASKS[kind]
    commands = " or ".join(f"`kexue train {task}`" for task in _TASKS.values())
    allowed = f"a folder with a config.json of model type {' or '.join(map(repr, _TASKS))}"
    has = f"It holds {kind!r}." if kind else "It holds no model."
    raise invalid("folder", str(folder), allowed, f"{has} Train one with {commands}.")


def refuse_entity_options(threshold: float | None, flat: bool | None) -> None:
    """Refuse, for a classifier, options that only entities have.

    Args:
        threshold: of `--threshold`.
        flat: of `--flat` or `--nested`.

    Raises:
        ValueError: if one was given.
    """
    for name, value in (("threshold", threshold), ("flat", flat)):
        if value is not None:
            raise invalid(name, value, "nothing for a classifier", "It gives each text one label.")
