"""Have models that average their gradients over processes do so once, at the end of a step.

`DistributedDataParallel` talks to the other processes in every backward pass. Where one step has
many of them, all but the last have to be under `no_sync`, forward pass included, and the last one
has to reach every parameter that got a gradient in any of them.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel

from kexue.training.gather import process_count
from kexue.training.graphs import nodes_of


@contextmanager
def silent_replicas() -> Iterator[list[DistributedDataParallel]]:
    """Find the replica that the block calls, however it is hidden, and keep it silent.

    Every `nn.Module` that is called passes a hook of torch, up to the first one that averages its
    gradients. With one process there are none, and there is no hook.

    Yields:
        A list that holds the `DistributedDataParallel` model once it was called. It is under
        `no_sync` from then to the end of the block.

    Example:
        >>> with silent_replicas() as found:
        ...     pass
        >>> found
        []
    """
    found: list[DistributedDataParallel] = []
    with ExitStack() as until_end:
        if process_count() > 1:

            def look(module: nn.Module, _: object) -> None:
                # torch.compile may lie around it; what it has compiled must not see the hook.
                module = getattr(module, "_orig_mod", module)
                if isinstance(module, DistributedDataParallel):
                    hook.remove()
                    found.append(module)
                    until_end.enter_context(module.no_sync())

            hook = register_module_forward_pre_hook(look)
            until_end.callback(hook.remove)
        yield found


def backward_and_average(
    root: Tensor, gradient: Tensor, replicas: Iterable[DistributedDataParallel]
) -> None:
    """Go backwards for the last time in a step; gradients of earlier times are averaged with it.

    A replica waits until each of its parameters has got a gradient. Those that only earlier
    backward passes reached, as a temperature that the loss took from the model, get a 0 here.

    Args:
        root: what to go backwards from.
        gradient: its gradient.
        replicas: the models whose averaging this pass sets off.

    Example:
        >>> import torch
        >>> weight = torch.ones(2, requires_grad=True)
        >>> backward_and_average(3 * weight, torch.ones(2), [])
        >>> weight.grad
        tensor([3., 3.])
    """
    # A replica that looks for unused parameters itself does not wait for these.
    waiting = [r for r in replicas if not r.find_unused_parameters]
    nothing = [p.flatten()[:0].sum() for r in waiting for p in _left_out(root, r)]
    torch.autograd.backward([root, *nothing], [gradient, *map(torch.zeros_like, nothing)])


def _left_out(root: Tensor, replica: DistributedDataParallel) -> list[nn.Parameter]:
    """List the parameters that have a gradient but are not in the graph of `root`."""
    reached = {id(node.variable) for node in nodes_of(root) if hasattr(node, "variable")}
    return [p for p in replica.parameters() if p.grad is not None and id(p) not in reached]
