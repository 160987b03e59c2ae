"""Where a training stands: what every kind of progress display follows."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


def short_count(count: float) -> str:
    """Write a large number in three digits.

    Args:
        count: from 0.

    Returns:
        The number in thousands (k), millions (M) or billions (B).

    Example:
        >>> short_count(8192), short_count(60_000_000), short_count(1_500_000_000)
        ('8.19k', '60M', '1.5B')
    """
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        # What would be rounded up to the next unit belongs to it.
        if count >= 0.9995 * unit:
            return f"{count / unit:.3g}{name}"
    return f"{count:.3g}"


@dataclass
class Standing:
    """Where a run stands, and how fast this process has come there.

    Args:
        step: optimiser steps done.
        steps: steps of the whole run.
        epochs: epochs of the whole run.
        name: the figure that chooses the best model, such as "f1".
        greater: whether more of it is better.
        began: the step this process began at, above 0 in a run that goes on from a checkpoint.
        started: when that was, by `time.perf_counter`.
        epoch: epochs done, with fraction.
        loss: of the last log.
        learning_rate: of the last log.
        score: the figure `name` of the last evaluation.
        best: the best of all evaluations.
        evaluating: whether an evaluation runs at the moment.
        tokens_per_step: where each step has the same number of tokens and a run is measured by
            them, not by epochs.

    Example:
        >>> standing = Standing(50, 200, 4, "f1", True, began=0, started=time.perf_counter() - 10)
        >>> standing.left
        '0:00:30'
    """

    step: int
    steps: int
    epochs: int
    name: str
    greater: bool
    began: int
    started: float
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    score: float | None = None
    best: float | None = None
    evaluating: bool = False
    tokens_per_step: int | None = None

    @property
    def speed(self) -> float | None:
        """Steps per second, evaluations included."""
        done = self.step - self.began
        return done / max(time.perf_counter() - self.started, 1e-9) if done else None

    @property
    def measure(self) -> str:
        """What the run is measured by."""
        return "epoch" if self.tokens_per_step is None else "tokens"

    @property
    def whole(self) -> str:
        """Epochs or tokens of the whole run."""
        if self.tokens_per_step is None:
            return str(self.epochs)
        return short_count(self.steps * self.tokens_per_step)

    def reached(self, decimals: int) -> str:
        """Say how far the run is.

        Args:
            decimals: of the epoch.

        Returns:
            Epochs or tokens done.
        """
        if self.tokens_per_step is None:
            return f"{self.epoch:.{decimals}f}"
        return short_count(self.step * self.tokens_per_step)

    @property
    def left(self) -> str:
        """Time to the last step at this speed."""
        if self.speed is None:
            return "?"
        return str(timedelta(seconds=round((self.steps - self.step) / self.speed)))

    @property
    def elapsed(self) -> str:
        """Time since the first step of this process."""
        return str(timedelta(seconds=round(time.perf_counter() - self.started)))

    def scored(self, figures: dict[str, float]) -> bool:
        """Take up the figures of an evaluation.

        Args:
            figures: by name, without prefix.

        Returns:
            Whether they are the best so far.
        """
        self.evaluating = False
        self.score = figures.get(self.name)
        if self.score is None:
            return False
        worse = self.best is not None and (
            self.score <= self.best if self.greater else self.score >= self.best
        )
        self.best = self.best if worse else self.score
        return not worse

    def figures(self) -> list[tuple[str, str]]:
        """List what is known.

        Returns:
            Names and values as they are shown.
        """
        known = [
            ("loss", self.loss, ".4f"),
            ("lr", self.learning_rate, ".2e"),
            (self.name, self.score, ".4f"),
            ("best", self.best, ".4f"),
        ]
        speed = []
        if self.speed is not None and self.tokens_per_step is not None:
            speed = [("tokens/s", short_count(self.speed * self.tokens_per_step))]
        elif self.speed is not None:
            speed = [("steps/s", f"{self.speed:.3g}")]
        numbers = [(name, f"{value:{form}}") for name, value, form in known if value is not None]
        return [*numbers, *speed, ("ETA", self.left)]


class FollowTraining(TrainerCallback, ABC):
    """Follow a training; a subclass shows it.

    Args:
        tokens_per_step: where a run is measured by tokens, not by epochs.

    Example:
        >>> FollowTraining()
        Traceback (most recent call last):
        TypeError: Can't instantiate abstract class FollowTraining...
    """

    def __init__(self, *, tokens_per_step: int | None = None) -> None:
        self._tokens_per_step = tokens_per_step
        self._standing: Standing | None = None

    @abstractmethod
    def _begin(self, standing: Standing) -> None:
        """Show that the training begins."""

    @abstractmethod
    def _logged(self, standing: Standing) -> None:
        """Show new loss and learning rate."""

    @abstractmethod
    def _evaluated(self, standing: Standing, figures: dict[str, float], best: bool) -> None:
        """Show the figures of an evaluation."""

    @abstractmethod
    def _end(self, standing: Standing) -> None:
        """Show that it is over."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin at the step the run begins at; only the first process shows anything."""
        if not state.is_world_process_zero:
            return
        name = (args.metric_for_best_model or "f1").removeprefix("eval_")
        greater = args.greater_is_better
        self._standing = Standing(
            step=state.global_step,
            steps=state.max_steps,
            epochs=state.num_train_epochs,
            name=name,
            greater=not name.endswith("loss") if greater is None else greater,
            began=state.global_step,
            started=time.perf_counter(),
            epoch=state.epoch or 0.0,
            best=state.best_metric,
            tokens_per_step=self._tokens_per_step,
        )
        self._begin(self._standing)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the step."""
        if self._standing is not None:
            self._standing.step = state.global_step
            self._standing.epoch = state.epoch or 0.0
            self._standing.evaluating = control.should_evaluate

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Notice that an evaluation follows."""
        if self._standing is not None:
            self._standing.evaluating = control.should_evaluate

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take up loss and learning rate; the figures of an evaluation come by another event."""
        if self._standing is not None and "loss" in (logs or {}):
            self._standing.loss = float(logs["loss"])
            self._standing.learning_rate = logs.get("learning_rate")
            self._logged(self._standing)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the figures."""
        figures = {
            name.removeprefix("eval_"): value
            for name, value in (metrics or {}).items()
            if name.startswith("eval_")
        }
        if self._standing is not None and figures:
            best = self._standing.scored(figures)
            self._evaluated(self._standing, figures, best)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Clear the bar away and say how it went."""
        if self._standing is not None:
            self._end(self._standing)
            self._standing = None
