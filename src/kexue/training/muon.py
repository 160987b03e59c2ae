"""Muon for the matrices of a model, AdamW for everything else, as one optimiser.

    M <- momentum of the gradient,   W <- W - lr (0.2 sqrt(max(n, m)) U V' + decay W),   M = U S V'

Orthogonalising the step moves every direction of a matrix alike, the rare ones as far as the
frequent ones. The factor gives its steps AdamW's size, so that one learning rate serves both.

Post: https://kexue.fm/archives/10592
Paper: https://arxiv.org/abs/2502.16982
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from kexue._check import invalid


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """List the weights that Muon is meant for: those of linear layers between hidden states.

    Args:
        model: any model. Not listed are embeddings, and layers tied to them or as tall as the
            tallest of them.

    Returns:
        The weights, each once, in the order of the model.

    Example:
        >>> [tuple(w.shape) for w in matrices(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)))]
        [(2, 4)]
    """
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    used = {id(table.weight) for table in tables}
    # The vocabulary alone: a table of positions may be as tall as a hidden state is wide.
    entries = max((table.num_embeddings for table in tables), default=0)
    found = {
        id(m.weight): m.weight
        for m in model.modules()
        if isinstance(m, nn.Linear) and m.weight.requires_grad and m.out_features != entries
    }
    return [weight for key, weight in found.items() if key not in used]


class MuonAdamW(Optimizer):
    """Train a model's matrices by Muon and the rest by AdamW.

    Args:
        model: what is trained.
        lr: learning rate of both.
        weight_decay: of both; biases, norms and other vectors have none.
        momentum: of Muon, from 0 to below 1.
        betas: of AdamW.

    Raises:
        ValueError: if the model has no matrix for Muon.

    Example:
        >>> model = nn.Linear(4, 2)
        >>> optimizer = MuonAdamW(model, lr=0.1)
        >>> model(torch.ones(1, 4)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        wide = matrices(model)
        if not wide:
            raise invalid("model", type(model).__name__, "a model with linear layers", "Use AdamW.")
        chosen = {id(weight) for weight in wide}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        muon = Muon(
            wide,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        self.parts: list[Optimizer] = [muon]
        if groups:
            self.parts.append(AdamW(groups, lr=lr, betas=betas))
        # The parts' own groups: a schedule that changes a rate here changes it there.
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take one step.

        Args:
            closure: computes the loss anew, with gradients.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Give the states of both parts.

        Returns:
            What `load_state_dict` takes.
        """
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state_dict: from `state_dict` of an optimiser of the same model.
        """
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        # Loading gave the parts new groups.
        self.param_groups = [group for part in self.parts for group in part.param_groups]
