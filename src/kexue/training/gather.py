"""The rows of all processes, one after another, as one process would hold them."""

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """Count the processes that train together.

    Returns:
        1 where torch.distributed was not started.

    Example:
        >>> process_count()
        1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_rows(count: int, *, device: torch.device | str = "cpu") -> slice:
    """Find where the rows of this process lie among those of all processes.

    Args:
        count: rows of this process. All processes have to call, each with its own number.
        device: where to talk: that of the rows, as nccl needs a GPU.

    Returns:
        The slice of `gather_rows` that holds them.

    Example:
        >>> own_rows(3)
        slice(0, 3, None)
    """
    if process_count() == 1:
        return slice(0, count)
    start = sum(_counts(count, torch.device(device))[: dist.get_rank()])
    return slice(start, start + count)


def gather_rows(rows: Tensor) -> Tensor:
    """Put the rows of all processes one after another, in the order of their ranks.

    A loss on gathered vectors needs its labels gathered too.

    Args:
        rows: [b, ...] rows of this process; b may differ from process to process, the rest not.
            All processes have to call.

    Returns:
        [sum of b, ...], the same in every process, without gradient. With one process: the rows.

    Example:
        >>> gather_rows(torch.tensor([3, 4]))
        tensor([3, 4])
    """
    rows = rows.detach()
    if process_count() == 1:
        return rows
    counts = _counts(len(rows), rows.device)
    # Bytes: not every backend knows every type of numbers.
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    mine = padded.flatten().view(torch.uint8)
    parts = [torch.empty_like(mine) for _ in counts]
    dist.all_gather(parts, mine)
    shaped = [part.view(rows.dtype).view(padded.shape) for part in parts]
    return torch.cat([part[:count] for part, count in zip(shaped, counts, strict=True)])


def _counts(count: int, device: torch.device) -> list[int]:
    """How many rows each process has."""
    mine = torch.tensor([count], device=device)
    parts = [torch.empty_like(mine) for _ in range(process_count())]
    dist.all_gather(parts, mine)
    return torch.cat(parts).tolist()
