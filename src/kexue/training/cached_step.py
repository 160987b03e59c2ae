"""A step of training on the vectors of a whole batch, in memory that the batch does not fill.

Post: https://kexue.fm/archives/8471
Paper: https://arxiv.org/abs/2101.06983
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kexue._check import invalid
from kexue.training.cached_gradients import cached_backward
from kexue.training.gather import gather_rows
from kexue.training.token_chunks import plan_chunks, take_chunk
from kexue.training.trainer import TaskTrainer

Objective = Callable[[Sequence[Tensor], Mapping[str, Any]], Tensor]


class CachedStep:
    """What a `TaskTrainer` takes as `add_gradients` for losses that compare all texts of a batch.

    `per_device_train_batch_size` is then the effective batch of a process; memory is decided by
    `tokens_per_chunk` alone, and the gradients are exact, see `cached_backward`. In several
    processes the loss sees the vectors of all of them.

    The model gives an output with `vectors` [B, D]; the collator makes {"columns": [inputs of the
    model, ...], and tensors [B, ...] by name}.

    Args:
        objective: makes a scalar of the vectors, one tensor for each column, and of the batch's
            other tensors. Its parameters must be the model's, as in `model.objective`.
        tokens_per_chunk: texts times longest text that go through the model at once.
        momentum: also hand the objective "targets": the vectors that the running average of the
            model gives, without gradients. Needs `average_decay`.

    Raises:
        ValueError: when it is called, if batches are to be accumulated, or `momentum` lacks an
            average.

    Example:
        >>> CachedStep(lambda vectors, batch: vectors[0].sum()).tokens_per_chunk
        4096
    """

    def __init__(
        self, objective: Objective, *, tokens_per_chunk: int = 4096, momentum: bool = False
    ) -> None:
        self.objective = objective
        self.tokens_per_chunk = tokens_per_chunk
        self.momentum = momentum

    def __call__(self, trainer: TaskTrainer, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Add the gradients of a batch, and return its loss."""
        self._check(trainer)
        batch = dict(inputs)
        columns = batch.pop("columns")
        batch = {name: gather_rows(rows) for name, rows in batch.items()}
        if self.momentum:
            batch["targets"] = [gather_rows(self.targets(trainer, column)) for column in columns]

        def loss(*vectors: Tensor) -> Tensor:
            return self.objective(vectors, batch)

        return cached_backward(
            lambda chunk: model(**chunk).vectors,
            loss,
            columns,
            tokens_per_chunk=self.tokens_per_chunk,
            gather=True,
            scaler=trainer.accelerator.scaler,
        )

    def _check(self, trainer: TaskTrainer) -> None:
        accumulated = trainer.args.gradient_accumulation_steps
        if accumulated != 1:
            fix = "Make per_device_train_batch_size larger: it costs no memory here."
            raise invalid("gradient_accumulation_steps", accumulated, "1", fix)
        if self.momentum and trainer.average is None:
            raise invalid("average_decay", None, "a decay such as 0.99 for targets that follow")

    @torch.no_grad()
    def targets(self, trainer: TaskTrainer, column: Mapping[str, Tensor]) -> Tensor:
        """Encode a column with the average of the weights.

        Args:
            trainer: whose model and average are meant.
            column: inputs of the model.

        Returns:
            [B, D] vectors in the order of the rows.
        """
        found: Tensor | None = None
        with trainer.average.applied(), trainer.accelerator.autocast():
            for chunk in plan_chunks(column, tokens_per_chunk=self.tokens_per_chunk):
                vectors = trainer.model(**take_chunk(column, chunk)).vectors
                if found is None:
                    found = vectors.new_empty(len(column["input_ids"]), vectors.shape[1])
                found[chunk.rows] = vectors
        return found
