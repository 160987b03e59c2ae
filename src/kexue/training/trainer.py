"""The stock Trainer with length buckets, a task's own score and learning rates by part."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedModel, Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import seed_worker

from kexue._check import invalid
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.averaging import AveragesWeights, Averaging, WeightAverage
from kexue.training.own_gradients import AddGradients, OwnGradients
from kexue.training.parameter_groups import multiply_learning_rates
from kexue.training.sampler import LengthBucketSampler


class TaskTrainer(OwnGradients, AveragesWeights, Trainer):
    """Train a task's model: everything that `transformers.Trainer` does, and six things more.

    - Batches hold texts of nearly equal length where `lengths` are given (`LengthBucketSampler`),
      a fixed number of texts each or as many as fit into `args.tokens_per_batch`.
    - `evaluate` calls `score(model)` in place of the stock prediction loop, so the figures that
      early stopping, `load_best_model_at_end`, `metric_for_best_model` and hyper-parameter search
      see are those of the task, such as `eval_f1`.
    - `args.learning_rate_multipliers` gives parts of the model their own learning rate.
    - `args.average_decay` scores, chooses and hands over a running average of the weights.
    - `add_gradients` takes the place of the backward pass, as `CachedStep` for contrastive losses.
    - Accumulated batches and processes weigh by their number of texts, so that a step's gradient
      is the mean over its texts also where batches differ in size. The model's loss must be the
      mean over the texts of a batch.

    Resuming is exact when the collator draws no random numbers: the rest of the run is bit for
    bit what it would have been without a break.

    In several processes each calls `score` with its own copy of the model. A score that shards
    the texts must gather before it counts, because every process decides by its own figures
    whether to stop.

    Args:
        model: the model; or give `model_init`.
        args: the arguments; `TaskTrainingArguments("tmp_trainer")` by default.
        lengths: tokens of each training example, in the dataset's order.
        score: figures of a model by name, without prefix; called in evaluation mode, without
            gradients and in the mixed precision of training.
        add_gradients: takes the place of the backward pass: called with this Trainer, the model as
            wrapped for its processes and what the collator made, it adds the gradients of the batch
            and returns its loss.
        trainer_options: whatever else `transformers.Trainer` takes, by keyword. `eval_dataset`
            is not needed where a `score` is given.

    Raises:
        ValueError: `lengths` do not fit the dataset, or a token budget was given without lengths.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1,
        ...     num_attention_heads=1, intermediate_size=8)
        >>> trainer = TaskTrainer(BertForSequenceClassification(config),
        ...     TaskTrainingArguments("run", report_to="none", disable_tqdm=True),
        ...     score=lambda model: {"f1": 0.5})
        >>> trainer.evaluate()["eval_f1"]
        {'eval_f1': '0.5', ...
        0.5
    """

    args: TaskTrainingArguments

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: TaskTrainingArguments | None = None,
        *,
        lengths: Sequence[int] | None = None,
        score: Callable[[PreTrainedModel], Mapping[str, float]] | None = None,
        add_gradients: AddGradients | None = None,
        **trainer_options: Any,
    ) -> None:
        args = TaskTrainingArguments("tmp_trainer") if args is None else args
        if score is not None and trainer_options.get("eval_dataset") is None:
            # The stock class wants to see a dataset before it evaluates at all.
            trainer_options["eval_dataset"] = []
        self.lengths = lengths
        self.score = score
        self.add_gradients = add_gradients
        self._step_weight: Callable[[int], float | torch.Tensor] | None = None
        super().__init__(model, args, **trainer_options)
        if args.average_decay is not None:
            self.add_callback(Averaging(self))
        # Otherwise the stock class counts labels and leaves the division by accumulated batches
        # to the model, wherever forward() takes **kwargs.
        self.model_accepts_loss_kwargs = False
        self._check_lengths()

    def _check_lengths(self) -> None:
        """Refuse lengths that belong to another dataset, and a budget without lengths."""
        if self.lengths is None:
            if self.args.tokens_per_batch is not None:
                raise invalid(
                    "lengths", None, "the tokens of each training example with tokens_per_batch"
                )
        elif self.train_dataset is None or len(self.lengths) != len(self.train_dataset):
            examples = "none" if self.train_dataset is None else len(self.train_dataset)
            raise invalid("lengths", self.lengths, f"one per training example ({examples})")

    # Batches

    def get_train_dataloader(self) -> DataLoader:
        """Make the loader of training batches, of length buckets where they apply.

        Returns:
            The loader, already split among the processes.
        """
        if self.lengths is None or not self.args.length_buckets:
            return super().get_train_dataloader()
        args, sampler = self.args, self._bucket_sampler()
        loader = self.accelerator.prepare(
            DataLoader(
                self.train_dataset,
                batch_sampler=sampler,
                collate_fn=self._get_collator_with_removed_columns(self.data_collator, "training"),
                num_workers=args.dataloader_num_workers,
                pin_memory=args.dataloader_pin_memory,
                persistent_workers=args.dataloader_persistent_workers,
                prefetch_factor=args.dataloader_prefetch_factor,
                multiprocessing_context=args.dataloader_multiprocessing_context,
                worker_init_fn=partial(
                    seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index
                ),
            )
        )
        if loader.batch_sampler is not sampler:
            # After resuming, the epoch reaches only the outermost two samplers, and with several
            # processes ours is the third.
            loader.batch_sampler.set_epoch = sampler.set_epoch
        return loader

    def _bucket_sampler(self) -> LengthBucketSampler:
        """Build the sampler from the arguments and the batch size that memory allowed."""
        args = self.args
        rule = {"batch_size": self._train_batch_size}
        if args.tokens_per_batch is not None:
            # auto_find_batch_size lowers the number of texts; the budget follows in proportion.
            budget = args.tokens_per_batch * max(1, args.n_gpu)
            rule = {"tokens_per_batch": budget * self._train_batch_size // args.train_batch_size}
        return LengthBucketSampler(
            self.lengths,
            **rule,
            seed=args.seed if args.data_seed is None else args.data_seed,
            jitter=args.length_jitter,
            drop_last=args.dataloader_drop_last,
            processes=args.world_size,
            longest_first=args.longest_first,
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        """Hand the lengths to the stock group-by-length sampling, which else has to guess them."""
        if self.lengths is None or self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        texts = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(texts, lengths=list(self.lengths))

    # Loss

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor | int | None]:
        """Fetch the batches of one step and learn how much each of them weighs.

        Args:
            epoch_iterator: the epoch's batches.
            num_batches: how many of them make a step.
            device: where the model is.

        Returns:
            The batches, and the number of labels in them where the stock class counts it.
        """
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.add_gradients is not None:
            return batches, items
        processes = self.accelerator.num_processes
        total: int | torch.Tensor = sum(self._texts(batch) for batch in batches)
        if processes > 1:
            total = self.accelerator.reduce(torch.tensor(total, device=device), "sum")
        shares = len(batches) * processes
        self._step_weight = lambda texts: texts * shares / total
        return batches, items

    def _texts(self, batch: Mapping[str, Any]) -> int:
        """Count the texts of a batch."""
        return len(batch[getattr(self.model, "main_input_name", "input_ids")])

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Compute the loss of a batch, weighted by its share of the texts of the step.

        Args:
            model: the model, wrapped for its processes.
            inputs: what the collator made.
            return_outputs: also return what the model returned.
            num_items_in_batch: labels in all batches of the step, where counted.

        Returns:
            The loss, with the model's output where asked for.
        """
        texts = self._texts(inputs)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if model.training and self._step_weight is not None and self.compute_loss_func is None:
            # Exactly 1 where all batches of the step have one size.
            loss = loss * self._step_weight(texts)
        return (loss, outputs) if return_outputs else loss

    # Optimiser

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimiser, with a group of its own for each learning-rate multiplier.

        Args:
            model: the model to optimise; the Trainer's by default.

        Returns:
            The optimiser; groups with multiplier 1 come first, so their rate is the one logged.

        Raises:
            ValueError: no trainable parameter has one of the prefixes.
        """
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if fresh and self.args.average_decay is not None:
            self.average = WeightAverage(self.model, decay=self.args.average_decay)
        if fresh and self.args.learning_rate_multipliers:
            multiply_learning_rates(
                optimizer,
                self.model if model is None else model,
                self.args.learning_rate_multipliers,
            )
        return optimizer

    # Score

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Score the model, log the figures and hand them to the callbacks.

        Args:
            eval_dataset: examples for the stock prediction loop, which then runs in place of
                `score`.
            ignore_keys: for the stock prediction loop.
            metric_key_prefix: put before each figure's name.

        Returns:
            The figures by prefixed name, with the seconds it took as `eval_runtime`.
        """
        if self.score is None or eval_dataset is not None:
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        start = time.perf_counter()
        figures = self._score_model()
        metrics = {
            name
            if name.startswith(f"{metric_key_prefix}_")
            else f"{metric_key_prefix}_{name}": value
            for name, value in figures.items()
        }
        metrics[f"{metric_key_prefix}_runtime"] = round(time.perf_counter() - start, 4)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _score_model(self) -> dict[str, float]:
        """Call `score` with model and optimiser in evaluation mode, and restore the mode."""
        training = self.model.training
        self.model.eval()
        # Schedule-free optimisers keep other weights for evaluation.
        if callable(getattr(self.optimizer, "eval", None)):
            self.optimizer.eval()
        try:
            average = nullcontext() if self.average is None else self.average.applied()
            with torch.no_grad(), self.accelerator.autocast(), average:
                return {name: float(value) for name, value in self.score(self.model).items()}
        finally:
            self.model.train(training)
