"""Attention over residual scores (RealFormer): 12 layers against plain SDPA and the usual form.

Claims, at 1 text of n = 1024 tokens, 8 heads of 64 features, 12 layers, float32, one thread, CPU
time of attention alone:

1. The forward pass holds one copy of the scores where it may overwrite the layer below.
2. It is faster than the usual form (scores, sum, softmax and product one after the other), which
   holds three copies, and so is training.
3. How far above plain SDPA, which makes no scores at all, the forward pass lies is reported. The
   aim is 1.25. The two products, the softmax and one reading and writing of the scores, each at
   the speed of torch's own kernel, are timed beside it: no form made of them is below their sum.
"""

import argparse

import torch
import torch.nn.functional as F
from timing import interleaved, peak_memory, write_json

from kexue.attention import residual_attend

TESTS = ["tests/attention/test_realformer.py"]

HEADS, WIDTH, LAYERS = 8, 64, 12


def draw(length):
    generator = torch.Generator().manual_seed(0)
    shape = (1, HEADS, length, WIDTH)
    return [[torch.randn(shape, generator=generator) for _ in range(3)] for _ in range(LAYERS)]


def plain(layers):
    """Each layer's attention by itself."""
    return [F.scaled_dot_product_attention(*layer) for layer in layers]


def usual(layers):
    """The formula as it stands, a tensor for each of its operations."""
    scores, outputs = 0, []
    for q, k, v in layers:
        scores = q @ k.mT / WIDTH**0.5 + scores
        outputs.append(scores.softmax(-1) @ v)
    return outputs


def residual(layers, *, overwrite=False):
    scores, outputs = None, []
    for q, k, v in layers:
        out, scores = residual_attend(q, k, v, scores, overwrite_previous=overwrite)
        outputs.append(out)
    return outputs


def parts(length):
    """What every form made of torch's kernels does in a layer, part by part and in its cache."""
    rows = 32
    q, k, v = draw(length)[0]
    q, k, v = q[0, 0, :rows], k[0, 0].mT.contiguous(), v[0, 0]
    part, scores = torch.empty(rows, length), torch.zeros(HEADS, length, length)

    def repeated(work):
        def layer():
            with torch.no_grad():
                for _ in range(HEADS * length // rows):
                    work()

        return layer

    return {
        "product of queries and keys": repeated(lambda: torch.mm(q, k, out=part)),
        "softmax": repeated(lambda: part.softmax(-1)),
        "product with values": repeated(lambda: torch.mm(part, v)),
        "reading and writing scores": lambda: scores.add_(1.0),
    }


def inference(method, layers):
    with torch.no_grad():
        return method(layers)


def training(method, layers):
    leaves = [[x.detach().requires_grad_() for x in layer] for layer in layers]
    sum(out.sum() for out in method(leaves)).backward()
    return leaves


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--length", type=int, default=1024)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    layers = draw(options.length)
    methods = {
        "plain SDPA": plain,
        "residual, overwriting": lambda x: residual(x, overwrite=True),
        "residual": residual,
        "usual form": usual,
    }
    copy = 4 * HEADS * options.length**2
    outputs = 4 * LAYERS * HEADS * options.length * WIDTH
    result = {"seed": 0, "length": options.length, "bytes of scores": copy}
    for name, step in (("inference", inference), ("training", training)):
        calls = {
            kind: (lambda method=method, step=step: step(method, layers))
            for kind, method in methods.items()
            if step is inference or "overwriting" not in kind
        }
        timings = interleaved(calls, rounds=options.rounds)
        result[name] = {kind: timing.to_dict() for kind, timing in timings.items()}
        result[f"{name}, peak bytes"] = peaks = {k: peak_memory(c) for k, c in calls.items()}
        base = timings["plain SDPA"].cpu
        for kind, timing in timings.items():
            copies = (peaks[kind] - outputs) / copy
            print(
                f"{name:10} {kind:22} {timing.cpu * 1e3:9.1f} ms, {timing.cpu / base:5.2f} times "
                f"plain, {peaks[kind] / 1e6:7.1f} MB, {copies:5.2f} copies of the scores"
            )
    floor = interleaved(parts(options.length), rounds=options.rounds)
    result["parts of a layer"] = {kind: timing.to_dict() for kind, timing in floor.items()}
    for kind, timing in floor.items():
        print(f"a layer's  {kind:28} {timing.cpu * 1e3:9.2f} ms")
    layer = result["inference"]["plain SDPA"]["cpu"] / LAYERS
    result["floor"] = sum(timing.cpu for timing in floor.values()) / layer
    print(f"all parts of a layer: {result['floor']:.2f} times a layer of plain SDPA")
    write_json(options.json, result)


if __name__ == "__main__":
    main()
