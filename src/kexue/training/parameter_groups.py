"""Learning rates by part of the model: a fresh head learns faster than a pretrained encoder."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from kexue._check import invalid


def learning_rate_factors(
    names: Iterable[str], multipliers: Mapping[str, float]
) -> dict[str, float]:
    """Find the factor of each parameter: that of the longest prefix of its name, otherwise 1.

    A prefix ends where a part of the name ends: `head` covers `head.bias` and not `header.bias`.

    Args:
        names: names of the trainable parameters, as `named_parameters` gives them.
        multipliers: factor by prefix.

    Returns:
        The factor by name, in the order of `names`.

    Raises:
        ValueError: a prefix belongs to no parameter.

    Example:
        >>> learning_rate_factors(["encoder.bias", "head.bias"], {"head": 10.0})
        {'encoder.bias': 1.0, 'head.bias': 10.0}
    """
    names = list(names)
    by_prefix = {f"{prefix.rstrip('.')}.": float(m) for prefix, m in multipliers.items()}
    for prefix in by_prefix:
        if not any(f"{name}.".startswith(prefix) for name in names):
            heads = ", ".join(sorted({name.split(".")[0] for name in names}))
            raise invalid(
                "learning_rate_multipliers",
                prefix.rstrip("."),
                f"how the name of a trainable parameter begins ({heads}, ...)",
            )
    longest = sorted(by_prefix, key=len, reverse=True)
    return {
        name: next((by_prefix[prefix] for prefix in longest if f"{name}.".startswith(prefix)), 1.0)
        for name in names
    }


def multiply_learning_rates(
    optimizer: torch.optim.Optimizer, model: nn.Module, multipliers: Mapping[str, float]
) -> None:
    """Split the groups of a fresh optimiser so that each part of the model has its own rate.

    Every other option of a group, such as its weight decay, stays with its parameters. Schedules
    scale the rate of each group alike, so the factors hold throughout.

    Args:
        optimizer: before its first step and before a schedule is made for it; changed in place.
        model: whose parameters it optimises.
        multipliers: factor on the learning rate by prefix of the parameter's name.

    Raises:
        ValueError: a prefix belongs to no trainable parameter.

    Example:
        >>> model = nn.ModuleDict({"encoder": nn.Linear(1, 1), "head": nn.Linear(1, 1)})
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> multiply_learning_rates(optimizer, model, {"head": 10.0})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 1.0]
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    factors = learning_rate_factors(trainable, multipliers)
    factor_of = {trainable[name]: factor for name, factor in factors.items()}
    # The rate of the first group is the one that the Trainer logs.
    ordered = sorted(set(factors.values()), key=lambda factor: (factor != 1, factor))
    optimizer.param_groups[:] = [
        {**group, "params": members, "lr": group["lr"] * factor}
        for factor in ordered
        for group in optimizer.param_groups
        if (members := [p for p in group["params"] if factor_of[p] == factor])
    ]
