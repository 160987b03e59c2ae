"""Linear attention and Performer against softmax attention and performer-pytorch.

Claims, at 1 text, 8 heads of 64 features, float32, one thread, CPU time, forward and backward:

1. Linear attention (feature map exp) at n = 2048: at least 6 times faster than SDPA, and causal at
   least 3 times faster than causal SDPA.
2. With RoPE, which needs its normaliser apart: at least 5 and 2 times faster.
3. Performer with 256 orthogonal features: faster than performer-pytorch at every n from 256 to
   8192, forwards alone and with the backward pass.
4. Causal Performer: faster than the causal form of performer-pytorch that runs without CUDA.
5. Memory of the causal forms grows with n: the peak at 2 n is about twice that at n.
"""

import argparse
import contextlib
import io
import warnings

import torch
import torch.nn.functional as F
from timing import interleaved, peak_memory, write_json

from kexue.attention import linear_attend, orthogonal_projection, performer_attend
from kexue.positions import rope_angles

TESTS = [
    "tests/attention/test_linear.py",
    "tests/attention/test_performer.py",
    "tests/attention/test_causal_sums.py",
    "tests/attention/test_feature_sums.py",
]

HEADS, WIDTH, FEATURES = 8, 64, 256
# Their causal form without CUDA holds a matrix of features by values for each token of a chunk.
LONGEST_CAUSAL_PEER = 512


def peer(*, causal):
    """Build performer-pytorch's attention; it says on import and in print what it does without."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from performer_pytorch import FastAttention

        return FastAttention(WIDTH, FEATURES, causal=causal)


def draw(length):
    generator = torch.Generator().manual_seed(0)
    shape = (1, HEADS, length, WIDTH)
    return [torch.randn(shape, generator=generator) for _ in range(3)]


def methods(length):
    """List the methods that do the same work on q, k, v of a length."""
    projection = orthogonal_projection(WIDTH, FEATURES, generator=torch.Generator().manual_seed(0))
    angles = rope_angles(torch.arange(length), WIDTH)
    return {
        "SDPA": F.scaled_dot_product_attention,
        "SDPA causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "linear": linear_attend,
        "linear causal": lambda q, k, v: linear_attend(q, k, v, causal=True),
        "linear RoPE": lambda q, k, v: linear_attend(q, k, v, angles=angles),
        "linear RoPE causal": lambda q, k, v: linear_attend(q, k, v, angles=angles, causal=True),
        "Performer": lambda q, k, v: performer_attend(q, k, v, projection),
        "Performer causal": lambda q, k, v: performer_attend(q, k, v, projection, causal=True),
        "performer-pytorch": peer(causal=False),
    }


def forward(method, inputs):
    with torch.no_grad():
        return method(*inputs)


def backward(method, inputs):
    leaves = [x.detach().requires_grad_() for x in inputs]
    method(*leaves).sum().backward()
    return [x.grad for x in leaves]


def at_length(length, rounds):
    inputs, result = draw(length), {}
    for name, step in (("forward", forward), ("forward and backward", backward)):
        calls = {
            kind: (lambda method=method, step=step: step(method, inputs))
            for kind, method in methods(length).items()
        }
        timings = interleaved(calls, rounds=rounds)
        if length <= LONGEST_CAUSAL_PEER:
            # By itself: what it gives back to the system, the method after it would pay for.
            other = peer(causal=True)
            last = {"performer-pytorch causal": lambda step=step, m=other: step(m, inputs)}
            timings |= interleaved(last, rounds=rounds)
        result[name] = {kind: timing.to_dict() for kind, timing in timings.items()}
        if step is backward:
            kinds = ("linear", "linear causal", "Performer", "Performer causal")
            result["peak_bytes"] = {kind: peak_memory(calls[kind]) for kind in kinds}
    return result


def ratios(figures):
    """Say how many times faster than its peer each method is."""
    pairs = {
        "linear": "SDPA",
        "linear causal": "SDPA causal",
        "linear RoPE": "SDPA",
        "linear RoPE causal": "SDPA causal",
        "Performer": "performer-pytorch",
        "Performer causal": "performer-pytorch causal",
    }
    return {
        f"{kind} against {other}": figures[other]["cpu"] / figures[kind]["cpu"]
        for kind, other in pairs.items()
        if other in figures
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192]
    )
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    result = {"seed": 0, "lengths": {}}
    for length in options.lengths:
        # Long ones take seconds a round, and their medians are steady.
        figures = at_length(length, options.rounds if length <= 2048 else 3)
        result["lengths"][str(length)] = figures
        print(f"n = {length}")
        for step in ("forward", "forward and backward"):
            for kind, timing in figures[step].items():
                print(f"  {step:22} {kind:26} {timing['cpu'] * 1e3:9.1f} ms")
            figures[f"ratios, {step}"] = ratios(figures[step])
            for kind, ratio in figures[f"ratios, {step}"].items():
                print(f"  {step:22} {kind} {ratio:.2f}")
        for kind, peak in figures["peak_bytes"].items():
            print(f"  peak {kind:26} {peak / 1e6:9.1f} MB")
    write_json(options.json, result)


if __name__ == "__main__":
    main()
