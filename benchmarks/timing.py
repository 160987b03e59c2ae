"""Compare functions by CPU time, wall time and peak memory, in one process and on one thread.

A benchmark calls `interleaved` with all its methods at once: they take turns, so that a slow minute
of the machine hits every method alike. The median process CPU time is what a claim is made of.
"""

import json
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds for one call: median and least of all rounds, process CPU time and wall time."""

    cpu: float
    cpu_min: float
    wall: float
    wall_min: float
    rounds: int

    def to_dict(self) -> dict[str, float]:
        """Give the figures as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"cpu {self.cpu * 1e3:10.2f} ms (least {self.cpu_min * 1e3:10.2f}), "
            f"wall {self.wall * 1e3:10.2f} ms (least {self.wall_min * 1e3:10.2f})"
        )


@contextmanager
def one_thread():
    """Run the block with one torch thread, then restore the number there was."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def interleaved(
    functions: dict[str, Callable[[], object]], *, rounds: int, warmup: int = 1
) -> dict[str, Timing]:
    """Time functions in turns on one thread.

    Args:
        functions: the methods by name; each does the same work and takes no argument.
        rounds: measured calls of each function, at least 1.
        warmup: calls of each function before the measured ones, which are thrown away.

    Returns:
        One `Timing` per name, in the order given.
    """
    cpu: dict[str, list[float]] = {name: [] for name in functions}
    wall: dict[str, list[float]] = {name: [] for name in functions}
    with one_thread():
        for turn in range(-warmup, rounds):
            for name, function in functions.items():
                wall_start, cpu_start = time.perf_counter(), time.process_time()
                function()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                cpu_end, wall_end = time.process_time(), time.perf_counter()
                if turn >= 0:
                    cpu[name].append(cpu_end - cpu_start)
                    wall[name].append(wall_end - wall_start)
    return {
        name: Timing(
            cpu=statistics.median(cpu[name]),
            cpu_min=min(cpu[name]),
            wall=statistics.median(wall[name]),
            wall_min=min(wall[name]),
            rounds=rounds,
        )
        for name in functions
    }


def peak_memory(function: Callable[[], object], *, warmup: int = 1) -> int:
    """Measure the most bytes of tensors that are alive at once during a call.

    Every allocation and release that torch makes is counted, so the figure is exact and the same
    in every run, unlike the resident memory of the process. What was allocated before the call
    is not counted.

    Args:
        function: what to measure; takes no argument.
        warmup: calls before the measured one, so that buffers made once are not counted.

    Returns:
        The peak in bytes, on the CPU and on a GPU together.
    """
    for _ in range(warmup):
        function()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        # The result is kept until the profiler has stopped: it is part of the peak.
        result = function()
        alive = peak = 0
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    del result
    return peak


def write_json(path: str | Path | None, result: dict) -> None:
    """Write what a benchmark measured, for `run.py` to collect; `None` writes nothing."""
    if path is not None:
        Path(path).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
