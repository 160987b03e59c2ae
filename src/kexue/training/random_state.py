"""Take the state of random numbers down, and repeat what was drawn from there.

Dropout is then the same in a computation that is done again. What is repeated leaves the global
generators as it found them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor


class RandomState(NamedTuple):
    """The state of the global generators of torch.

    Attributes:
        cpu: of the CPU.
        devices: of each accelerator.

    Example:
        >>> take_random_state([]).devices
        {}
    """

    cpu: Tensor
    devices: dict[torch.device, Tensor]


def random_devices(inputs: Tensor | Mapping[str, Tensor]) -> list[torch.device]:
    """List the accelerators that a computation may draw random numbers on.

    Args:
        inputs: what it starts from.

    Returns:
        The devices of the inputs and, once CUDA is in use, the current CUDA device: a function
        may bring its inputs there itself.

    Example:
        >>> random_devices(torch.zeros(1)) if not torch.cuda.is_initialized() else []
        []
    """
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    found = [x.device for x in tensors]
    if torch.cuda.is_initialized():
        found.append(torch.device("cuda", torch.cuda.current_device()))
    return list(dict.fromkeys(d for d in found if d.type not in ("cpu", "meta")))


def take_random_state(devices: list[torch.device]) -> RandomState:
    """Take the state of the generators of the CPU and of some accelerators down.

    Args:
        devices: the accelerators.

    Returns:
        What `repeated` starts from.

    Example:
        >>> take_random_state([]).cpu.dtype
        torch.uint8
    """
    return RandomState(torch.get_rng_state(), {d: _of_device(d) for d in devices})


@contextmanager
def repeated(state: RandomState) -> Iterator[None]:
    """Draw the same random numbers in the block as were drawn after `state` was taken.

    Args:
        state: from `take_random_state`.

    Yields:
        Nothing; afterwards the generators go on where they were before.

    Example:
        >>> state = take_random_state([])
        >>> first = torch.rand(3)
        >>> with repeated(state):
        ...     torch.equal(torch.rand(3), first)
        True
    """
    before = take_random_state(list(state.devices))
    _restore(state)
    try:
        yield
    finally:
        _restore(before)


def _of_device(device: torch.device) -> Tensor:
    module = torch.get_device_module(device)
    # Apple's has one device, and takes no argument.
    return module.get_rng_state() if device.type == "mps" else module.get_rng_state(device)


def _restore(state: RandomState) -> None:
    torch.set_rng_state(state.cpu)
    for device, kept in state.devices.items():
        module = torch.get_device_module(device)
        module.set_rng_state(*([kept] if device.type == "mps" else [kept, device]))
