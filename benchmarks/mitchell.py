"""Mitchell products: against a Python loop, and a matrix product of them against the exact one.

Aims, one thread, CPU time, Gaussian float32 numbers:

1. A million products: at least 300 times faster than a Python loop over the article's rule (frexp,
   cases, ldexp). "struct" is the quickest loop that was found: bits by struct, no case looked at.
2. A product of 256 x 256 matrices: at most 10 times the time of the exact one.

What is compared gives the same results, bit by bit (sums of products: but for the order of adding),
and that is checked first. Exact products are faster in any case: this imitates cheaper hardware.
"zeros" has a zero in every second place of the left factor, "any" an infinity somewhere, which
sends all products of a matrix the long way. "broadcast" multiplies [N, K, 1] with [K, M] in memory.
Backward times are those of both gradients, without the product itself.
"""

import argparse
import math
import struct
from collections.abc import Callable

import torch
from timing import interleaved, write_json
from torch import Tensor

from kexue.numerics.mitchell import mitchell_divide, mitchell_multiply, mitchell_sqrt
from kexue.numerics.mitchell_matmul import mitchell_matmul

TESTS = [
    "tests/numerics/test_mitchell.py",
    "tests/numerics/test_mitchell_combine.py",
    "tests/numerics/test_mitchell_sums.py",
    "tests/numerics/test_mitchell_matmul.py",
]

_TWO_FLOATS, _TWO_WORDS = struct.Struct("<ff"), struct.Struct("<II")
_FLOAT, _WORD = struct.Struct("<f"), struct.Struct("<I")


def by_cases(a: float, b: float) -> float:
    """Multiply as the article writes it down."""
    if not (a and b):
        return 0.0
    (s, n), (t, m) = math.frexp(a), math.frexp(b)
    sign = 1.0 if (s < 0) == (t < 0) else -1.0
    fraction = 2 * abs(s) - 1 + 2 * abs(t) - 1
    if fraction < 1:
        return sign * math.ldexp(1 + fraction, n + m - 2)
    return sign * math.ldexp(fraction, n + m - 1)


def by_struct(a: float, b: float) -> float:
    """Multiply ordinary numbers by adding their bits."""
    x, y = _TWO_WORDS.unpack(_TWO_FLOATS.pack(a, b))
    return _FLOAT.unpack(_WORD.pack((x + y - 0x3F800000) & 0xFFFFFFFF))[0]


def per_product(
    functions: dict[str, tuple[int, Callable[[], object]]], rounds: int
) -> dict[str, float]:
    """Time functions in turns; give nanoseconds for each of the products that they make."""
    times = interleaved({name: f for name, (_, f) in functions.items()}, rounds=rounds)
    return {name: times[name].cpu / count * 1e9 for name, (count, _) in functions.items()}


def products(count: int, looped: int, rounds: int, generator: torch.Generator) -> dict:
    a, b = torch.randn(2, count, generator=generator)
    zeros = a * (torch.arange(count) % 2)
    arrays = a.numpy(), b.numpy()
    doubles, halves = (a.double(), b.double()), (a.bfloat16(), b.bfloat16())
    integers = (a * 1000).long(), (b * 1000).long()
    few = list(zip(a[:looped].tolist(), b[:looped].tolist(), strict=True))
    for loop in (by_cases, by_struct):
        expected = torch.tensor([loop(x, y) for x, y in few])
        assert torch.equal(mitchell_multiply(a, b)[:looped], expected), loop.__name__
    times = per_product(
        {
            "Python loop": (looped, lambda: [by_cases(x, y) for x, y in few]),
            "struct loop": (looped, lambda: [by_struct(x, y) for x, y in few]),
            "torch": (count, lambda: mitchell_multiply(a, b)),
            "NumPy": (count, lambda: mitchell_multiply(*arrays)),
            "zeros": (count, lambda: mitchell_multiply(zeros, b)),
            "float64": (count, lambda: mitchell_multiply(*doubles)),
            "bfloat16": (count, lambda: mitchell_multiply(*halves)),
            "integers": (count, lambda: mitchell_multiply(*integers)),
            "quotients": (count, lambda: mitchell_divide(a, b)),
            "roots": (count, lambda: mitchell_sqrt(a)),
            "exact": (count, lambda: a * b),
        },
        rounds,
    )
    loops = ("Python loop", "struct loop")
    ratios = {
        f"{ours} against the {loop}": times[loop] / times[ours]
        for ours in ("torch", "NumPy", "zeros")
        for loop in loops
    }
    return {"products": count, "looped": looped, "ns_per_product": times, "times_faster": ratios}


def broadcast(a: Tensor, b: Tensor) -> Tensor:
    return mitchell_multiply(a.unsqueeze(2), b).sum(1)


def matrices(size: int, rounds: int, generator: torch.Generator) -> dict:
    a, b, grad = torch.randn(3, size, size, generator=generator)
    zeros, any_numbers = a * (torch.arange(size) % 2), a.clone()
    any_numbers[0, 0] = torch.inf
    if size <= 256:
        assert torch.allclose(mitchell_matmul(a, b), broadcast(a, b), rtol=1e-4, atol=1e-4)
    functions = {
        "exact": lambda: a @ b,
        "kexue": lambda: mitchell_matmul(a, b),
        "zeros": lambda: mitchell_matmul(zeros, b),
        "zeros in both": lambda: mitchell_matmul(zeros, zeros),
        "any": lambda: mitchell_matmul(any_numbers, b),
    }
    if size <= 256:
        functions["broadcast"] = lambda: broadcast(a, b)
    for mode in ("exact", "mitchell", "straight"):
        left, right = a.clone().requires_grad_(), b.clone().requires_grad_()
        result = mitchell_matmul(left, right, backward=mode)
        functions[f"backward, {mode}"] = lambda result=result, pair=(left, right): (
            torch.autograd.grad(result, pair, grad, retain_graph=True)
        )
    times = interleaved(functions, rounds=rounds)
    return {
        "size": size,
        "cpu": {name: timing.cpu for name, timing in times.items()},
        "times_the_exact": {n: t.cpu / times["exact"].cpu for n, t in times.items()},
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--products", type=int, default=2**20)
    parser.add_argument("--looped", type=int, default=100_000, help="products of the loops")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    generator = torch.Generator().manual_seed(options.seed)
    looped = min(options.looped, options.products)
    single = products(options.products, looped, options.rounds, generator)
    for name, time in single["ns_per_product"].items():
        print(f"{name:12} {time:8.2f} ns a product")
    for name, ratio in single["times_faster"].items():
        print(f"{name}: {ratio:.0f} times faster")
    found = []
    for size in options.sizes:
        figures = matrices(size, options.rounds, generator)
        found.append(figures)
        for name, time in figures["cpu"].items():
            ratio = figures["times_the_exact"][name]
            print(f"{size}^3 {name:18} {time * 1e3:9.2f} ms {ratio:8.1f} times the exact one")
    write_json(options.json, {"seed": options.seed, "single": single, "matrices": found})


if __name__ == "__main__":
    main()
