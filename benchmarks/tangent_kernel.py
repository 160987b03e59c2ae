"""Tangent kernels: factors of layers against the gradients of single examples by torch.func.

Aims, float32, one thread, CPU time, with either allocator:

1. A network of three linear layers with one output, 256 by 256 examples and 83,000 parameters, and
   96 by 96 examples and 641,000 parameters: at least 15 times faster than `vmap(jacrev(f))` and in
   at most a tenth of its memory. The kernels agree to a relative 1e-5.

What is not aimed at is told as well: three outputs, and a small transformer, whose layers have as
many places as a text has tokens, so that less is left to gain. The peers are torch's own guide to
tangent kernels, all Jacobians contracted layer by layer, and a loop of backward passes, one for
each example and output.
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timing import interleaved, peak_memory, write_json
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from kexue.analysis.tangent_kernel import tangent_kernel

TESTS = [
    "tests/analysis/test_tangent_kernel.py",
    "tests/analysis/test_layer_calls.py",
    "tests/analysis/test_layer_gradients.py",
]


class Texts(nn.Module):
    """A transformer of one layer over embeddings, its mean, and one score."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.table, self.heads = nn.Embedding(vocabulary, width), 4
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.score = nn.Linear(width, 1)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.table(ids)
        parts = [
            layer(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        weights = (parts[0] @ parts[1].mT * parts[0].shape[-1] ** -0.5).softmax(-1)
        seen = (weights @ parts[2]).transpose(1, 2).flatten(2)
        hidden = self.first(hidden + self.mixed(seen))
        hidden = self.second(hidden + self.narrow(F.gelu(self.widen(hidden))))
        return self.score(hidden.mean(1)).squeeze(1)


def perceptron(inputs: int, width: int, outputs: int | None) -> nn.Module:
    last = [nn.Linear(width, outputs or 1)] + ([] if outputs else [nn.Flatten(0)])
    return nn.Sequential(
        nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), *last
    )


def mapped(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Form all Jacobians, and contract them layer by layer."""
    values = {name: value.detach() for name, value in model.named_parameters()}

    def outputs(some: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(model, some, (one[None],)).flatten()

    rows = vmap(jacrev(outputs), (None, 0))
    first, second = rows(values, x), rows(values, y)
    pairs = [
        torch.einsum("ncp,mdp->nmcd", first[n].flatten(2), second[n].flatten(2)) for n in values
    ]
    return torch.stack(pairs).sum(0)


def looped(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Go back once for each example and output."""

    def rows(inputs: Tensor) -> Tensor:
        found = []
        for one in inputs:
            outputs = model(one[None]).flatten()
            slopes = [
                torch.autograd.grad(output, list(model.parameters()), retain_graph=True)
                for output in outputs
            ]
            found.append(torch.stack([torch.cat([g.flatten() for g in row]) for row in slopes]))
        return torch.stack(found)

    return torch.einsum("ncp,mdp->nmcd", rows(x), rows(y))


def setting(
    model: nn.Module, draw: Callable[[int], Tensor], examples: int, rounds: int
) -> dict[str, object]:
    """Time one model."""
    x, y = draw(examples), draw(examples)

    def ours() -> Tensor:
        found = tangent_kernel(model, x, y)
        return found if found.ndim == 4 else found[..., None, None]

    methods = {
        "kexue": ours,
        "vmap(jacrev)": lambda: mapped(model, x, y),
        "loop": lambda: looped(model, x, y),
    }
    exact = mapped(model.double(), *(v.double() if v.is_floating_point() else v for v in (x, y)))
    model.float()
    errors = {
        name: ((method().double() - exact).abs().max() / exact.abs().max()).item()
        for name, method in methods.items()
    }
    assert errors["kexue"] < 1e-5, f"the kernels differ by {errors['kexue']}"
    memory = {name: peak_memory(method) for name, method in methods.items()}
    cpu = interleaved(methods, rounds=rounds)
    return {
        "parameters": sum(value.numel() for value in model.parameters()),
        "examples": examples,
        "cpu": {name: timing.to_dict() for name, timing in cpu.items()},
        "peak_bytes": memory,
        "relative_error": errors,
        "times_faster": {name: cpu[name].cpu / cpu["kexue"].cpu for name in methods},
        "times_less_memory": {name: memory[name] / memory["kexue"] for name in methods},
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the examples to take")
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    settings = {
        "83k parameters": (perceptron(64, 256, None), lambda n: torch.randn(n, 64), 256),
        "641k parameters": (perceptron(128, 738, None), lambda n: torch.randn(n, 128), 96),
        "three outputs": (perceptron(64, 256, 3), lambda n: torch.randn(n, 64), 96),
        "texts": (Texts(500, 64), lambda n: torch.randint(0, 500, (n, 32)), 32),
    }
    result: dict[str, object] = {"seed": 0, "settings": {}}
    for title, (model, draw, examples) in settings.items():
        figures = setting(model, draw, max(2, int(options.scale * examples)), options.rounds)
        result["settings"][title] = figures
        print(f"{title}: {figures['parameters']:,} parameters, {figures['examples']} examples")
        for name, timing in figures["cpu"].items():
            print(
                f"  {name:14} {timing['cpu'] * 1e3:9.2f} ms {figures['times_faster'][name]:6.1f} x"
                f"  {figures['peak_bytes'][name] / 2**20:8.1f} MB"
                f" {figures['times_less_memory'][name]:6.1f} x"
                f"  error {figures['relative_error'][name]:.0e}"
            )
    write_json(options.json, result)


if __name__ == "__main__":
    main()
