"""Training arguments: those of transformers, and what fine-tuning on texts needs besides."""

from dataclasses import dataclass, field
from typing import ClassVar

from transformers import TrainingArguments

from kexue._check import invalid


@dataclass
class TaskTrainingArguments(TrainingArguments):
    """Hold every option of `transformers.TrainingArguments` and six more.

    Other defaults than there suit fine-tuning: a warm-up over the first tenth of the steps, weight
    decay 0.01 (never on biases and norms), two checkpoints kept, all columns handed to the
    collator. Gradient checkpointing is never re-entrant.

    Args:
        length_buckets: make batches of texts of nearly equal length where the lengths are known;
            otherwise `train_sampling_strategy` decides.
        length_jitter: relative noise on the lengths, see `LengthBucketSampler`.
        tokens_per_batch: padded tokens per batch and device, instead of
            `per_device_train_batch_size` texts; short texts then form larger batches.
        longest_first: begin training with the longest texts, so that memory fails at once or not.
        learning_rate_multipliers: factor on `learning_rate` by prefix of the parameter's name, as
            in `{"head": 10, "head.transitions": 100}`; the longest prefix wins.
        average_decay: score and hand over a running average of the weights with this decay, such as
            0.999; None for the weights themselves.

    Raises:
        ValueError: an option is out of its range, or the token budget lacks length buckets.

    Example:
        >>> args = TaskTrainingArguments("run", learning_rate_multipliers={"head": 10.0})
        >>> args.to_dict()["learning_rate_multipliers"]
        {'head': 10.0}
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [
        *TrainingArguments._VALID_DICT_FIELDS,
        "learning_rate_multipliers",
    ]

    per_device_train_batch_size: int = field(
        default=16, metadata={"help": "Texts per batch and device."}
    )
    warmup_steps: float = field(
        default=0.1, metadata={"help": "Steps of warm-up; below 1, their share of all steps."}
    )
    weight_decay: float = field(
        default=0.01, metadata={"help": "Weight decay; biases and norms have none."}
    )
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints kept; the best one is never deleted."}
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Hide from the collator what the model does not take."}
    )
    length_buckets: bool = field(
        default=True, metadata={"help": "Make batches of texts of nearly equal length."}
    )
    length_jitter: float = field(
        default=0.05, metadata={"help": "Relative noise on the lengths, so that batches vary."}
    )
    tokens_per_batch: int | None = field(
        default=None, metadata={"help": "Padded tokens per batch and device, instead of texts."}
    )
    longest_first: bool = field(
        default=True, metadata={"help": "Begin with the longest texts: memory fails at once."}
    )
    learning_rate_multipliers: dict[str, float] | str | None = field(
        default=None, metadata={"help": "Factors on the learning rate by parameter-name prefix."}
    )
    average_decay: float | None = field(
        default=None, metadata={"help": "Decay of a running average of the weights."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average_decay is not None and not 0 <= self.average_decay < 1:
            raise invalid("average_decay", self.average_decay, "from 0 to below 1, such as 0.999")
        # Re-entrant checkpointing loses gradients where no input of a layer requires one.
        self.activation_checkpointing_kwargs = {
            **(self.activation_checkpointing_kwargs or {}),
            "use_reentrant": False,
        }
        self.gradient_checkpointing_kwargs = self.activation_checkpointing_kwargs
        # Pinned memory serves copies to a GPU; without one torch warns in every epoch.
        self.dataloader_pin_memory = self.dataloader_pin_memory and self.device.type != "cpu"
        self._check_buckets()
        self._check_multipliers()

    def _check_buckets(self) -> None:
        """Refuse a token budget that nothing would keep to."""
        if self.tokens_per_batch is None:
            return
        if self.tokens_per_batch < 1:
            raise invalid("tokens_per_batch", self.tokens_per_batch, "1 or more")
        if not self.length_buckets:
            raise invalid(
                "length_buckets",
                False,
                "True together with tokens_per_batch",
                "Drop tokens_per_batch, or leave length_buckets as it is.",
            )

    def _check_multipliers(self) -> None:
        """Refuse factors that are no numbers or would turn a gradient round."""
        multipliers = self.learning_rate_multipliers or {}
        if not isinstance(multipliers, dict):
            raise invalid(
                "learning_rate_multipliers", multipliers, "an object, as in {'head': 10.0}"
            )
        for prefix, factor in multipliers.items():
            if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not factor >= 0:
                raise invalid(f"learning_rate_multipliers[{prefix!r}]", factor, "a number from 0")
