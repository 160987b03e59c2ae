"""Nonlinear recurrences in parallel against torch.nn.RNN: where it wins, and by how much.

Aims, float32, one thread, CPU time, a layer of spectral radius 0.8 and inputs from N(0, 1):

1. The states are those of torch.nn.RNN to 1e-5 and the gradients to 1e-3 of the largest, at every
   size that is timed; this is checked first.
2. At batch 1, d <= 4 and T = 16384: at least 4 times faster forward, and at least 12 times forward
   and backward.
3. A map of sizes says where it wins. Where it would lose it runs the loop of torch.nn.RNN, so that
   nowhere on the map it takes more than 1.25 times as long.
4. Outside the regime that forgets, with spectral radii up to 3, what does not converge falls back
   on the loop; it takes at most 2.5 times as long as the loop alone.

"newton" is Newton's method alone (DEER), from a first sweep of pieces side by side, without a loop
to fall back on: what the choice between methods is worth. `--device cuda` runs wide and long
recurrences on a GPU, by wall time.
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from timing import Timing, interleaved, one_thread, write_json
from torch import Tensor, nn

from kexue.numerics.parallel_modules import ParallelRNN, parallelize
from kexue.numerics.parallel_rnn import solve_recurrence
from kexue.numerics.recurrence_cells import CellWeights, rnn_recurrence

TESTS = [
    "tests/numerics/test_scan.py",
    "tests/numerics/test_scan_orders.py",
    "tests/numerics/test_recurrence_adjoint.py",
    "tests/numerics/test_recurrence_blocks.py",
    "tests/numerics/test_recurrence_cells.py",
    "tests/numerics/test_recurrence_problem.py",
    "tests/numerics/test_recurrence_solvers.py",
    "tests/numerics/test_parallel_rnn.py",
    "tests/numerics/test_parallel_modules.py",
]

RADIUS = 0.8
LARGEST = 2**22  # numbers of a state over all times, beyond which a cell of the map is left out
NARROW = 8  # features up to which Newton's method alone is timed


def layer(width: int, radius: float, *, device: str = "cpu") -> tuple[nn.RNN, ParallelRNN]:
    """Make a layer of torch with a spectral radius, and its parallel twin."""
    torch.manual_seed(0)
    module = nn.RNN(width, width)
    with torch.no_grad():
        size = torch.linalg.eigvals(module.weight_hh_l0).abs().max()
        module.weight_hh_l0.mul_(radius / size)
    module = module.to(device)
    return module, parallelize(module)


def draw(times: int, batch: int, width: int, *, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(times, batch, width, generator=generator).to(device)


def newton_alone(module: nn.RNN) -> Callable[[Tensor], Tensor]:
    cell = rnn_recurrence(CellWeights(*module.all_weights[0]))

    def states(inputs: Tensor) -> Tensor:
        start = inputs.new_zeros((*inputs.shape[1:-1], module.hidden_size))
        return solve_recurrence(cell, start, inputs, fallback=False).states

    return states


def train(run: Callable[[Tensor], Tensor], module: nn.RNN, inputs: Tensor) -> list[Tensor]:
    """Run forward and backward; give the gradients."""
    return torch.autograd.grad(run(inputs).square().mean(), list(module.parameters()))


def check(run: Callable[[Tensor], Tensor], module: nn.RNN, inputs: Tensor) -> dict[str, float]:
    """Compare states and gradients with those of torch, before anything is timed."""
    with torch.no_grad():
        states = (run(inputs) - module(inputs)[0]).abs().max().item()
    assert states < 1e-5, f"states differ by {states}"
    pairs = zip(
        train(run, module, inputs), train(lambda u: module(u)[0], module, inputs), strict=True
    )
    slopes = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
    assert slopes < 1e-3, f"gradients differ by {slopes}"
    return {"states": states, "gradients": slopes}


def measure(
    runs: dict[str, Callable[[Tensor], Tensor]], module: nn.RNN, inputs: Tensor, rounds: int
) -> dict[str, dict[str, Timing]]:
    """Time all methods, forward alone and with the backward pass."""

    def forward(run):
        with torch.no_grad():
            return run(inputs)

    return {
        "forward": interleaved(
            {name: lambda r=run: forward(r) for name, run in runs.items()}, rounds=rounds
        ),
        "both": interleaved(
            {name: lambda r=run: train(r, module, inputs) for name, run in runs.items()},
            rounds=rounds,
        ),
    }


def cell(
    times: int, batch: int, width: int, *, radius: float, rounds: int, device: str = "cpu"
) -> dict:
    """Measure one size: what is compared, how it was solved, the seconds and the ratios."""
    module, twin = layer(width, radius, device=device)
    inputs = draw(times, batch, width, device=device)
    runs = {"nn.RNN": lambda u: module(u)[0], "kexue": lambda u: twin(u)[0]}
    # Chaos has no states to agree on but those of the same loop.
    errors = check(runs["kexue"], module, inputs) if radius <= 1 else {}
    if radius <= 1 and width <= NARROW:
        runs["newton"] = newton_alone(module)
        errors["newton"] = check(runs["newton"], module, inputs)["states"]
    with torch.no_grad():
        runs["kexue"](inputs)
    solution = twin.solutions[0]
    timings = measure(runs, module, inputs, rounds)
    clock = "cpu" if device == "cpu" else "wall"
    seconds = {
        part: {name: getattr(timing, clock) for name, timing in found.items()}
        for part, found in timings.items()
    }
    return {
        "times": times,
        "batch": batch,
        "width": width,
        "radius": radius,
        "solution": solution,
        "errors": errors,
        "seconds": seconds,
        "times_faster": {
            part: {name: found["nn.RNN"] / found[name] for name in found if name != "nn.RNN"}
            for part, found in seconds.items()
        },
    }


def show(found: dict) -> None:
    ratios = found["times_faster"]
    newton = ratios["forward"].get("newton")
    print(
        f"  T {found['times']:6} b {found['batch']:3} d {found['width']:3} "
        f"radius {found['radius']:4}: nn.RNN {found['seconds']['forward']['nn.RNN'] * 1e3:8.2f} "
        f"and {found['seconds']['both']['nn.RNN'] * 1e3:8.2f} ms, "
        f"forward {ratios['forward']['kexue']:6.2f} x, both {ratios['both']['kexue']:6.2f} x, "
        f"{found['solution']['method']} after {found['solution']['iterations']}"
        + ("" if newton is None else f"; newton {newton:.2f} and {ratios['both']['newton']:.2f} x"),
        flush=True,
    )


def sizes(options: argparse.Namespace) -> list[tuple[int, int, int]]:
    grid = itertools.product(options.times, options.batches, options.widths)
    return [(t, b, d) for t, b, d in grid if t * b * d <= LARGEST]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, nargs="+")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--widths", type=int, nargs="+")
    parser.add_argument("--radii", type=float, nargs="*", default=[0.5, 0.95, 1.0, 1.2, 1.5, 2, 3])
    options = parser.parse_args(argv)
    on_gpu = options.device == "cuda"
    options.times = options.times or ([10_000, 100_000] if on_gpu else [256, 1024, 4096, 16384])
    options.batches = options.batches or ([1, 8] if on_gpu else [1, 4, 16, 64])
    options.widths = options.widths or ([16, 32, 64] if on_gpu else [1, 2, 4, 8, 16, 32, 64])
    settings = {"rounds": options.rounds, "device": options.device}
    result = {"device": options.device, "map": [], "regimes": []}
    with one_thread():
        print(f"sizes, spectral radius {RADIUS}")
        for times, batch, width in sizes(options):
            result["map"].append(cell(times, batch, width, radius=RADIUS, **settings))
            show(result["map"][-1])
        print("regimes")
        for radius, width in itertools.product(options.radii, (4, 16)):
            longest = max(options.times)
            result["regimes"].append(cell(longest, 1, width, radius=radius, **settings))
            show(result["regimes"][-1])
    write_json(options.json, result)


if __name__ == "__main__":
    main()
