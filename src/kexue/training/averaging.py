"""A running average of the weights: smoother than any of its members, and usually better.

    average <- d average + (1 - d) weights after each step t,   d = min(decay, (1 + t) / (10 + t))

The rule for d lets the average forget the random beginning. Training goes on with the weights
themselves; what is scored, chosen and handed over is the average.

Paper: Polyak and Juditsky 1992, https://doi.org/10.1137/0330046
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback

# Beside the weights in a checkpoint, so that a resumed run goes on with the same average.
AVERAGE_NAME = "average.safetensors"


class WeightAverage:
    """The running average of a model's trainable weights.

    Args:
        model: the model.
        decay: d after many steps, 0 to 1; 0.999 remembers about a thousand steps.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = WeightAverage(model, decay=0.999)
        >>> average.update()
        >>> average.steps
        1
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._names = [name for name, _ in named]
        self._weights = [parameter for _, parameter in named]
        self._averages = [parameter.detach().clone() for parameter in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._averages, [w.detach() for w in self._weights], 1 - decay)

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the average into the model and keep the weights in its place, or the reverse."""
        for weight, average in zip(self._weights, self._averages, strict=True):
            kept = weight.detach().clone()
            weight.copy_(average)
            average.copy_(kept)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the average in the model for a while."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def save(self, path: str | Path) -> None:
        """Write the average.

        Args:
            path: the file.
        """
        tensors = dict(zip(self._names, (a.contiguous() for a in self._averages), strict=True))
        save_file(tensors, path, metadata={"steps": str(self.steps)})

    @torch.no_grad()
    def load(self, path: str | Path) -> None:
        """Read the average back.

        Args:
            path: a file that `save` wrote for the same model.
        """
        with safe_open(path, framework="pt") as file:
            self.steps = int(file.metadata()["steps"])
            for name, average in zip(self._names, self._averages, strict=True):
                average.copy_(file.get_tensor(name))


class AveragesWeights(ABC):
    """The part of a Trainer that keeps an average in its checkpoints; mixed in before it.

    Example:
        >>> AveragesWeights.average is None
        True
    """

    average: WeightAverage | None = None

    @abstractmethod
    def _score_model(self) -> dict[str, float]:
        """Score the model with the average in it."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, and in a checkpoint its average beside it.

        Args:
            output_dir: the folder, `args.output_dir` by default.
            _internal_call: a checkpoint is being written.
        """
        super().save_model(output_dir, _internal_call)
        if _internal_call and self.average is not None and self.args.should_save:
            self.average.save(Path(output_dir or self.args.output_dir) / AVERAGE_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.average is not None:
            self.average.load(Path(checkpoint) / AVERAGE_NAME)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.average is not None:
            self.average.load(Path(self.state.best_model_checkpoint) / AVERAGE_NAME)


class Averaging(TrainerCallback):
    """Keeps a Trainer's average up to date, and leaves it in the model at the end.

    Args:
        trainer: the Trainer.

    Example:
        >>> issubclass(Averaging, TrainerCallback)
        True
    """

    def __init__(self, trainer: AveragesWeights) -> None:
        self.trainer = trainer

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take the weights of this step in."""
        self.trainer.average.update()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Hand over the average in place of the weights."""
        self.trainer.average.exchange()
        self.trainer.average = None
