"""A trained decoder on texts eight times as long as those it was trained on.

Claim: beyond the length of training the loss of plain RoPE rises by half a nat and more; with
ReRoPE and Leaky ReRoPE it stays within 0.1 nats of that of the same text read in pieces of the
training length. None of them is trained, and none changes a weight. NTK-mixed is shown beside them;
stretched eight times it loses within the training length as well, and nothing is claimed of it.

A second decoder is trained, from the same start on the same texts, with Inverse Leaky ReRoPE, which
meets the far distances in training and reads with plain RoPE and stock kernels: its loss rises less
than half as much as that of RoPE.

The decoders are trained here on bytes of English Wikipedia, in pieces of `--context`: 2 layers of
width 128, a few minutes. They read the beginnings of articles that they have not seen.

`--weights FILE.bin` takes a decoder of llama2.c instead, with stories that it writes itself within
its context, one after the other, because such files have no tokenizer. A file whose model cannot
continue its own stories is refused. `--figure FILE.png` draws the loss by position.
"""

import argparse
import json
import lzma
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import one_thread, write_json
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from kexue.models.ntk import register_ntk
from kexue.models.rerope import apply_rerope, remove_rerope

TESTS = ["tests/models/test_rerope.py", "tests/models/test_ntk.py", "tests/positions/test_ntk.py"]
TIMED = False

CORPUS = Path(__file__).parents[2] / "shared/data/corpora/enwiki_sample.jsonl.xz"
BOS = 1
ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def read_articles(count: int, shortest: int) -> list[Tensor]:
    """Read the first articles of so many bytes or more; what is not ASCII becomes "?"."""
    articles: list[Tensor] = []
    with lzma.open(CORPUS, "rt", encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["text"].encode("ascii", "replace")
            if len(text) >= shortest:
                articles.append(torch.frombuffer(bytearray(text), dtype=torch.uint8).long())
            if len(articles) == count:
                break
    return articles


def train(
    articles: list[Tensor], *, context: int, steps: int, seed: int, far: float | None = None
) -> LlamaForCausalLM:
    """Train a small decoder on pieces of `context` bytes, on request with a far step above 1."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        rope_parameters=dict(ROPE),
    )
    model, data = LlamaForCausalLM(config), torch.cat(articles)
    if far is not None:
        apply_rerope(model, window=context // 4, step=far)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        starts = torch.randint(0, len(data) - context, (2048 // context, 1))
        texts = data[starts + torch.arange(context + 1)]
        logits = model(texts[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    if far is not None:
        remove_rerope(model)
    return model.eval()


def read_llama2c(path: Path) -> LlamaForCausalLM:
    """Read a model of llama2.c: seven integers, then tensors in float32, one after the other."""
    data = path.read_bytes()
    width, inner, layers, heads, key_heads, words, length = struct.unpack("7i", data[:28])
    values = torch.frombuffer(bytearray(data[28:]), dtype=torch.float32)
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=length,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=None,
        rope_parameters=dict(ROPE),
    )
    key_width, layer = width // heads * key_heads, "layers.{}."
    shapes = {
        "embed_tokens": (words, width),
        layer + "input_layernorm": (layers, width),
        layer + "self_attn.q_proj": (layers, width, width),
        layer + "self_attn.k_proj": (layers, key_width, width),
        layer + "self_attn.v_proj": (layers, key_width, width),
        layer + "self_attn.o_proj": (layers, width, width),
        layer + "post_attention_layernorm": (layers, width),
        layer + "mlp.gate_proj": (layers, inner, width),
        layer + "mlp.down_proj": (layers, width, inner),
        layer + "mlp.up_proj": (layers, inner, width),
        "norm": (width,),
    }
    model, start = LlamaForCausalLM(config).eval(), 0
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        stop = start + torch.Size(shape).numel()
        tensor, start = values[start:stop].view(shape), stop
        for number, part in enumerate(tensor if layer in name else [tensor]):
            turned = "q_proj" in name or "k_proj" in name
            weight = halves(part, width // heads) if turned else part
            state[f"{name.format(number)}.weight"] = weight
    model.model.load_state_dict(state)
    return model


def halves(weight: Tensor, width: int) -> Tensor:
    """Lay pairs of neighbours, as in llama2.c, out as two halves, as in transformers."""
    return weight.unflatten(0, (-1, width // 2, 2)).transpose(1, 2).flatten(0, 2)


@torch.no_grad()
def write_stories(model: LlamaForCausalLM, tokens: int) -> list[Tensor]:
    """Sample whole stories within the context until they have so many tokens together."""
    context, stories, count = model.config.max_position_embeddings, [], 0
    while count < tokens:
        start = torch.full((64, 1), BOS)
        rows = model.generate(start, max_length=context, do_sample=True, top_k=0, pad_token_id=0)
        for row in rows:
            # What the context cuts off is no whole story.
            for first, last in pairwise((row == BOS).nonzero().flatten().tolist()):
                stories.append(row[first:last])
                count += last - first
    return stories


def chain(stories: list[Tensor], length: int) -> list[Tensor]:
    """Chain stories to texts of `length` tokens and one, each beginning with a story."""
    texts, held = [], []
    for story in stories:
        held.append(story)
        if sum(map(len, held)) > length:
            texts.append(torch.cat(held)[: length + 1])
            held = []
    return texts


@torch.no_grad()
def losses(model: LlamaForCausalLM, texts: Tensor) -> Tensor:
    """Give the mean loss [L] of predicting the next token, at each position."""
    total = torch.zeros(texts.shape[1] - 1)
    for text in texts:
        logits = model(text[None, :-1], use_cache=False).logits[0]
        total += F.cross_entropy(logits, text[1:], reduction="none")
    return total / len(texts)


def methods(trained: LlamaForCausalLM, length: int) -> dict[str, Callable[[], LlamaForCausalLM]]:
    """Say how to make the model that reads by each method."""
    register_ntk()
    context = trained.config.max_position_embeddings

    def model(**rope: object) -> LlamaForCausalLM:
        config = LlamaConfig(**trained.config.to_dict())
        config.rope_parameters = {**ROPE, **rope}
        made = LlamaForCausalLM(config).eval()
        made.load_state_dict(trained.state_dict())
        return made

    def rectified(window: int, *, step: float = 0.0, log_n: bool = False) -> LlamaForCausalLM:
        made = model()
        apply_rerope(made, window=window, step=step, training_length=context if log_n else None)
        return made

    # The farthest distance that is shown is half of the context.
    step = (context / 2 - context // 4) / (length - 1 - context // 4)
    quarter, half = context // 4, context // 2
    return {
        "RoPE": model,
        "NTK-mixed": lambda: model(rope_type="ntk_mixed", factor=length / context),
        f"ReRoPE, window {quarter}": lambda: rectified(quarter),
        f"ReRoPE, window {half}": lambda: rectified(half),
        f"Leaky ReRoPE, window {quarter}": lambda: rectified(quarter, step=step),
        f"ReRoPE, window {half}, log n": lambda: rectified(half, log_n=True),
    }


def draw(curves: dict[str, Tensor], context: int, path: str) -> None:
    """Draw the loss by position, each point a mean over as many positions as fit 64 times."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.add_subplot()
    colors = ["#D55E00", "#E69F00", "#56B4E9", "#0072B2", "#009E73", "#CC79A7", "#F0E442", "black"]
    for (name, curve), color in zip(curves.items(), colors, strict=False):
        wide = max(1, len(curve) // 64)
        means = curve[: len(curve) // wide * wide].view(-1, wide).mean(-1)
        places = torch.arange(len(means)) * wide + wide / 2
        style = "--" if "pieces" in name else "-"
        axes.plot(places, means, style, color=color, label=name, linewidth=1.5)
    axes.axvline(context, color="black", linewidth=0.8, label="length of training")
    axes.set(xlabel="position", ylabel="loss of the next token, nats")
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=150)


def prepare(
    options: argparse.Namespace,
) -> tuple[LlamaForCausalLM, LlamaForCausalLM | None, Tensor]:
    """Give the trained decoder, the one trained with Inverse Leaky ReRoPE, and texts to read."""
    if options.weights is None:
        length = options.times * options.context
        articles = read_articles(400, length + 1)
        unseen, seen = articles[: options.texts], articles[options.texts :]
        texts = torch.stack([article[: length + 1] for article in unseen])
        same = {"context": options.context, "steps": options.steps, "seed": options.seed}
        # The farthest distance of training is to be shown as at least that of the texts to read.
        return train(seen, **same), train(seen, **same, far=2.0 * options.times), texts
    model = read_llama2c(Path(options.weights))
    torch.manual_seed(options.seed)
    context = model.config.max_position_embeddings
    length = options.times * context
    texts = torch.stack(chain(write_stories(model, (options.texts + 1) * length), length))
    own = losses(model, texts[:, : context + 1]).mean()
    if own > 2:
        raise SystemExit(
            f"{options.weights}: the model gives its own stories a loss of {own:.2f} nats within "
            "its context; these weights are not in the layout of llama2.c, or not whole."
        )
    return model, None, texts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--figure", help="where to draw the loss by position, a PNG file")
    parser.add_argument("--weights", help="a decoder in the layout of llama2.c, in place of ours")
    parser.add_argument("--context", type=int, default=256, help="bytes of a piece in training")
    parser.add_argument("--times", type=int, default=8, help="length of texts over the context")
    parser.add_argument("--texts", type=int, default=24)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if options.weights is None and not CORPUS.is_file():
        parser.error(f"{CORPUS.name} is absent from ../shared/data/corpora")
    with one_thread():
        trained, inverse, texts = prepare(options)
        length, context = texts.shape[1] - 1, trained.config.max_position_embeddings
        made = methods(trained, length).items()
        curves = {name: losses(make(), texts) for name, make in made}
        if inverse is not None:
            curves["Inverse Leaky ReRoPE, trained"] = losses(inverse, texts)
        pieces = [texts[:, i : i + context + 1] for i in range(0, length, context)]
        curves[f"RoPE, in pieces of {context}"] = torch.cat([losses(trained, p) for p in pieces])
    edges = [0, *(context * 2**i for i in range(options.times.bit_length()))]
    shown = list(pairwise([edge for edge in edges if edge <= length]))
    print(f"{'loss at positions':30}" + "".join(f"{f'{a}-{b}':>12}" for a, b in shown))
    result = {"seed": options.seed, "texts": len(texts), "context": context, "loss": {}}
    for name, curve in curves.items():
        means = {f"{a}-{b}": curve[a:b].mean().item() for a, b in shown}
        result["loss"][name] = means
        print(f"{name:30}" + "".join(f"{mean:12.3f}" for mean in means.values()))
    if options.figure:
        draw(curves, context, options.figure)
    write_json(options.json, result)


if __name__ == "__main__":
    main()
