"""The run's figures as one JSON object a line, whole also after a crash."""

import json
import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kexue.training.atomic import write_atomically


class MetricsLog(TrainerCallback):
    """Append every log of a Trainer to `metrics.jsonl` in its run folder.

    A line holds `step`, `epoch`, `time` (seconds since 1970) and what the Trainer logs, such as
    `loss`, `learning_rate` or `eval_f1`; a number that is not finite is null. When a run goes on
    from a checkpoint, lines that are younger than the checkpoint are dropped, so that the file
    reads like that of an unbroken run; a fresh run begins a fresh file.

    Args:
        path: the file; by default `metrics.jsonl` in the Trainer's `output_dir`.

    Example:
        >>> MetricsLog(path="run/metrics.jsonl").path.name
        'metrics.jsonl'
    """

    def __init__(self, *, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)

    def _file(self, args: TrainingArguments) -> Path:
        return Path(args.output_dir, "metrics.jsonl") if self.path is None else self.path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop what was logged after the checkpoint that the run begins from."""
        path = self._file(args)
        if not state.is_world_process_zero or not path.exists():
            return
        lines = [
            line
            for line in read_metrics(path)
            # A run that had ended and goes on is not at its end there.
            if line["step"] <= state.global_step and "train_runtime" not in line
        ]
        kept = lines if state.global_step else []
        write_atomically(path, "".join(_encode(line) for line in kept))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Append a line and hand it to the operating system."""
        if not state.is_world_process_zero:
            return
        path = self._file(args)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = {"step": state.global_step, "epoch": state.epoch, "time": round(time.time(), 3)}
        with path.open("a", encoding="utf-8") as file:
            file.write(_encode({**line, **(logs or {})}))


def _encode(line: dict[str, Any]) -> str:
    """Write one line; JSON knows neither nan nor infinity, nor the scalars of NumPy and torch."""
    plain = {name: v.item() if hasattr(v, "item") else v for name, v in line.items()}
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in plain.items()
    }
    return json.dumps(finite, ensure_ascii=False) + "\n"


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    r"""Read a file that `MetricsLog` wrote.

    Args:
        path: the file.

    Returns:
        Its lines in order, without a last one that a crash tore.

    Raises:
        ValueError: another line is not a JSON object with a step.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "metrics.jsonl")
        ...     _ = file.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
        ...     read_metrics(file)
        [{'step': 1, 'loss': 0.5}]
    """
    lines = Path(path).read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        # What follows the last line break was never finished, even where it happens to parse.
        if number == len(lines):
            break
        try:
            entry = json.loads(line)
            entry["step"] + 0
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}:{number}: the line is not a JSON object with a step. "
                "Mend or delete the line, or delete the file to begin a new one."
            ) from error
        found.append(entry)
    return found
