"""ReRoPE: a prompt and a step of decoding, against plain RoPE and against re-rotating the cache.

Claims, for one text, 8 heads of width 64, float32, window 512, one thread, CPU time:

1. A prompt of 8192 tokens: at most 1.3 times plain causal attention by torch's fused kernel (with
   a warm allocator the turning of far queries and keys included), in memory that grows with the
   length; two matrices of scores, as the method was published, take several times that and memory
   by the square.
2. A step of decoding with 32768 tokens in the cache: at most 1.1 times plain RoPE, and with a warm
   allocator at least 4 times faster than turning the keys of the cache anew.

"plain" has its keys turned already and does nothing but attention. "attention" is ReRoPE with both
pairs made; "turned" makes the far pair and its tables from what a model hands over, as the plug-in
for transformers does in the first layer; the others find the tables made. For decoding, "in a
cache" includes adding the step's key and value to a cache of transformers (plain) or to ours. "two
matrices" and "re-rotated" are the published way, written down from its description: raw keys in the
cache, all of them turned at each step.

The backward pass, which Inverse Leaky ReRoPE needs, is timed at the shorter lengths.
"""

import argparse

import torch
import torch.nn.functional as F
from timing import interleaved, peak_memory, write_json
from torch import Tensor
from transformers import LlamaConfig
from transformers.cache_utils import DynamicLayer
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from kexue.attention.rerope import rerope_attend
from kexue.models.rerope_cache import TwoKeyLayer
from kexue.models.rerope_pair import FarPair

TESTS = [
    "tests/attention/test_rerope.py",
    "tests/models/test_rerope.py",
    "tests/models/test_rerope_cache.py",
    "tests/models/test_rerope_pair.py",
]

HEADS, WIDTH, WINDOW = 8, 64, 512
SCALE = WIDTH**-0.5


def make_pair() -> FarPair:
    config = LlamaConfig(hidden_size=HEADS * WIDTH, num_attention_heads=HEADS)
    return FarPair(LlamaRotaryEmbedding(config), apply_rotary_pos_emb, WINDOW, 0.0, None)


def turn(pair: FarPair, x: Tensor, places: Tensor) -> Tensor:
    """Turn raw queries or keys as the model does."""
    return apply_rotary_pos_emb(x, x[:, :1], *pair.rotary(x, places))[0]


def draw(count: int, length: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, HEADS, length, WIDTH, generator=generator) for _ in range(count)]


def two_matrices(q: Tensor, k: Tensor, raw_q: Tensor, raw_k: Tensor, v: Tensor, pair: FarPair):
    """Both matrices of scores and a choice between them, as published."""
    places = torch.arange(q.shape[2])
    r = places.unsqueeze(-1) - places
    far_q = turn(pair, raw_q, torch.full((1, q.shape[2]), float(WINDOW)))
    near, far = q @ k.mT * SCALE, far_q @ raw_k.mT * SCALE
    scores = torch.where(r < WINDOW, near, far).masked_fill(r < 0, -torch.inf)
    return scores.softmax(-1) @ v


def prompt(length: int, rounds: int, longest_peer: int) -> dict:
    """Time a prompt."""
    pair, places = make_pair(), torch.arange(length).unsqueeze(0)
    raw_q, raw_k, v = draw(3, length)
    q, k = turn(pair, raw_q, places), turn(pair, raw_k, places)
    far_q, far_k = pair.query(q, places), pair.key(k, places)

    def turned():
        pair._held = None
        return rerope_attend(
            q, k, v, pair.query(q, places), pair.key(k, places), window=WINDOW, scale=SCALE
        )

    methods = {
        "plain": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "attention": lambda: rerope_attend(q, k, v, far_q, far_k, window=WINDOW, scale=SCALE),
        "turned": turned,
    }
    if length <= longest_peer:
        methods["two matrices"] = lambda: two_matrices(q, k, raw_q, raw_k, v, pair)
        error = (methods["two matrices"]() - turned()).abs().max().item()
        assert error < 1e-5, f"the methods differ by {error}"
    timings = interleaved(methods, rounds=rounds)
    return {
        "time": {name: timing.to_dict() for name, timing in timings.items()},
        "peak_bytes": {name: peak_memory(method) for name, method in methods.items()},
    }


def training_step(length: int, rounds: int) -> dict:
    """Time forward and backward with turned queries and keys given."""
    leaves = [x.requires_grad_() for x in draw(5, length)]
    grad = draw(1, length)[0]

    def plain():
        return F.scaled_dot_product_attention(*leaves[:3], is_causal=True)

    def attention():
        return rerope_attend(*leaves, window=WINDOW, scale=SCALE)

    def backward(function):
        return torch.autograd.grad(function(), leaves, grad, allow_unused=True)

    methods = {f.__name__: (lambda f=f: backward(f)) for f in (plain, attention)}
    timings = interleaved(methods, rounds=rounds)
    return {
        "time": {name: timing.to_dict() for name, timing in timings.items()},
        "peak_bytes": {name: peak_memory(method) for name, method in methods.items()},
    }


def attend_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One query and all keys, as two products."""
    return (q @ k.mT * SCALE).softmax(-1) @ v


def decoding(length: int, rounds: int) -> dict:
    """Time a step of decoding with `length` tokens, the new one included."""
    pair, places = make_pair(), torch.arange(length).unsqueeze(0)
    raw_q, raw_k, v = draw(3, length)
    k = turn(pair, raw_k, places)
    now = places[:, -1:]
    q = turn(pair, raw_q[:, :, -1:], now)
    distances = (now - places).clamp(max=WINDOW)
    plain_layer, our_layer = DynamicLayer(), TwoKeyLayer(pair)
    for layer in (plain_layer, our_layer):
        layer.update(k[:, :, :-1], v[:, :, :-1])
    both, _ = our_layer.update(k[:, :, -1:], v[:, :, -1:])
    near_keys, far_keys = both.unflatten(1, (-1, 2)).unbind(2)
    far_q = pair.query(q, now)

    def re_rotated():
        turned = turn(pair, raw_k, -distances)
        return attend_one(raw_q[:, :, -1:], turned, v)

    def in_our_cache():
        pair._held = None
        # The same step again and again: the row is taken back as if it had never been written.
        our_layer.crop(-1)
        our_layer.rooms[0].filled = our_layer.rooms[1].filled = length - 1
        keys, values = our_layer.update(k[:, :, -1:], v[:, :, -1:])
        near, far = keys.unflatten(1, (-1, 2)).unbind(2)
        far_query = pair.query(q, range(length - 1, length))
        return rerope_attend(q, near, values, far_query, far, window=WINDOW, scale=SCALE)

    def in_a_plain_cache():
        plain_layer.crop(-1)
        keys, values = plain_layer.update(k[:, :, -1:], v[:, :, -1:])
        return attend_one(q, keys, values)

    plain_layer.update(k[:, :, -1:], v[:, :, -1:])
    methods = {
        "plain": lambda: attend_one(q, k, v),
        "plain, fused kernel": lambda: F.scaled_dot_product_attention(q, k, v),
        "attention": lambda: rerope_attend(
            q, near_keys, v, far_q, far_keys, window=WINDOW, scale=SCALE
        ),
        "re-rotated": re_rotated,
        "plain, in a cache": in_a_plain_cache,
        "turned, in a cache": in_our_cache,
    }
    results = [methods[name]() for name in ("attention", "re-rotated", "turned, in a cache")]
    error = max((result - results[0]).abs().max().item() for result in results)
    assert error < 1e-5, f"the methods differ by {error}"
    timings = interleaved(methods, rounds=rounds)
    return {"time": {name: timing.to_dict() for name, timing in timings.items()}}


def show(title: str, figures: dict) -> None:
    """Print times in milliseconds, against plain, and peaks in megabytes."""
    print(title)
    times, peaks = figures["time"], figures.get("peak_bytes", {})
    for name, timing in times.items():
        peak = f"{peaks[name] / 1e6:9.1f} MB" if name in peaks else ""
        ratio = timing["cpu"] / times["plain"]["cpu"]
        print(f"  {name:22} {timing['cpu'] * 1e3:9.2f} ms {ratio:7.2f} x plain {peak}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--caches", type=int, nargs="+", default=[2048, 8192, 32768])
    parser.add_argument("--longest-peer", type=int, default=4096)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    result = {"seed": 0, "prompt": {}, "training step": {}, "decoding": {}}
    with torch.no_grad():
        for length in options.lengths:
            figures = prompt(length, options.rounds, options.longest_peer)
            result["prompt"][str(length)] = figures
            show(f"prompt of {length}", figures)
        for length in options.caches:
            figures = decoding(length, 3 * options.rounds)
            result["decoding"][str(length)] = figures
            show(f"step with {length} in the cache", figures)
    for length in [n for n in options.lengths if n <= options.longest_peer]:
        figures = training_step(length, options.rounds)
        result["training step"][str(length)] = figures
        show(f"training step of {length}", figures)
    write_json(options.json, result)


if __name__ == "__main__":
    main()
