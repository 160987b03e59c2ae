"""The part of a Trainer that lets something else than a backward pass add the gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

# Called with the Trainer, the model as wrapped for its processes and what the collator made.
AddGradients = Callable[[Any, nn.Module, dict[str, Any]], Tensor]


class OwnGradients(ABC):
    """Takes gradients from `add_gradients` where there is one; mixed in before a Trainer.

    Example:
        >>> OwnGradients.add_gradients is None
        True
    """

    add_gradients: AddGradients | None = None

    @abstractmethod
    def _texts(self, batch: Mapping[str, Any]) -> int:
        """Count the texts of a batch."""

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Add the gradients of a batch.

        Args:
            model: the model, wrapped for its processes.
            inputs: what the collator made.
            num_items_in_batch: labels in all batches of the step, where counted.

        Returns:
            The loss of the batch.
        """
        if self.add_gradients is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        return self.add_gradients(self, model, self._prepare_inputs(inputs))

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Estimate what a batch costs.

        Args:
            inputs: what the collator made.

        Returns:
            Operations; 0 where `add_gradients` decides what is computed.
        """
        return 0 if self.add_gradients is not None else super().floating_point_ops(inputs)
