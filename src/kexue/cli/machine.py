"""What the machine offers: devices, threads, number formats, room; and whether a head computes."""

import os
import platform
import shutil
from pathlib import Path

from kexue.cli.installation import Check

_VARIABLES = ("HF_HUB_OFFLINE", "HF_HOME", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE", "OMP_NUM_THREADS")
_SCARCE = 2 * 2**30


def device_checks() -> list[Check]:
    """Look for accelerators, threads and bfloat16.

    Returns:
        One check each.

    Example:
        >>> [check.name for check in device_checks()][-2:]
        ['threads', 'bfloat16']
    """
    import torch

    checks = []
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        checks.append(Check(f"cuda:{index}", f"{found.name}, {_size(found.total_memory)}"))
    if torch.backends.mps.is_available():
        checks.append(Check("mps", "available"))
    cpu = platform.processor() or platform.machine()
    checks.append(Check("cpu", f"{cpu}, {torch.backends.cpu.get_cpu_capability()}"))
    threads, cores = torch.get_num_threads(), os.cpu_count()
    checks.append(Check("threads", f"{threads} of {cores} cores"))
    checks.append(Check("bfloat16", _bfloat16(torch.cuda.is_available())))
    return checks


def _bfloat16(cuda: bool) -> str:
    if cuda:
        import torch

        return "in hardware" if torch.cuda.is_bf16_supported(including_emulation=False) else "slow"
    flags = Path("/proc/cpuinfo")
    known = flags.read_text(encoding="utf-8", errors="replace") if flags.exists() else ""
    return "in hardware" if "amx_bf16" in known or "avx512_bf16" in known else "works, not faster"


def environment_checks(environment: dict[str, str]) -> list[Check]:
    """Show the variables that decide whether and where models are downloaded from.

    Args:
        environment: usually `os.environ`.

    Returns:
        One check each.

    Example:
        >>> environment_checks({"HF_HUB_OFFLINE": "1"})[0].value
        '1'
    """
    return [Check(name, environment.get(name, "not set")) for name in _VARIABLES]


def space_checks(folder: Path) -> list[Check]:
    """Look for room on the disk and in memory.

    Args:
        folder: where runs are going to be written.

    Returns:
        One check each; a note below 2 GB.

    Example:
        >>> [check.name for check in space_checks(Path("."))]
        ['free disk', 'free memory']
    """
    free = {"free disk": shutil.disk_usage(folder).free, "free memory": _free_memory()}
    return [
        Check(name, "unknown")
        if size is None
        else Check(name, _size(size), "note" if size < _SCARCE else "ok")
        for name, size in free.items()
    ]


def _free_memory() -> int | None:
    """Read how many bytes can be had without swapping; None where the system does not say."""
    table = Path("/proc/meminfo")
    if not table.exists():
        return None
    rows = dict(line.split(":", 1) for line in table.read_text(encoding="utf-8").splitlines())
    free = rows.get("MemAvailable", "").split()
    return int(free[0]) * 1024 if free else None


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB"


def head_check() -> list[Check]:
    """Compute the loss of a head on random numbers in two ways, with its gradient.

    Returns:
        One check; a problem if the two differ.

    Example:
        >>> head_check()[0].state
        'ok'
    """
    import torch

    from kexue.heads import EfficientGlobalPointer
    from kexue.losses import sparse_multilabel_loss

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 12, 16, generator=generator).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        head = EfficientGlobalPointer(16, 2)
    mask = torch.ones(1, 12, dtype=torch.bool)
    loss = head.loss(hidden, mask, [[(0, 2, 5), (1, 0, 11)]])
    positives = torch.tensor([[[2 * 12 + 5], [11]]])
    plain = sparse_multilabel_loss(head(hidden, mask).flatten(2), positives).mean()
    (slope,) = torch.autograd.grad(loss, hidden)
    (expected,) = torch.autograd.grad(plain, hidden)
    error = max((loss - plain).abs().item(), (slope - expected).abs().max().item())
    if error < 1e-4:
        return [Check("self-check", f"loss {loss:.3f}, two ways agree to {error:.0e}")]
    return [Check("self-check", f"two ways to compute a loss differ by {error:.2g}", "problem")]
