"""Gradients of any loss on vectors, in memory that does not grow with the batch.

A loss that compares all texts of a batch needs all vectors at once, but not all graphs:

    1. encode chunk after chunk without graphs; keep the vectors H, note the random state of each
    2. L = loss(H), G = dL / dH; what the loss itself learns gets its gradients here
    3. encode each chunk again with the same random numbers; go on backwards from its rows of G

The gradients are those of one big graph on the same chunks, dropout included. Of the last chunks
the graphs are kept, so that they need no third step.

Post: https://kexue.fm/archives/8471 (which takes G of InfoNCE in closed form)
Paper: https://arxiv.org/abs/2101.06983, equations 5 to 8
Axes: B texts, b texts of a chunk, D features
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from kexue._check import invalid
from kexue.training.batch_statistics import uses_batch_statistics
from kexue.training.gather import gather_rows, own_rows, process_count
from kexue.training.random_state import RandomState, random_devices, repeated, take_random_state
from kexue.training.replicas import backward_and_average, silent_replicas
from kexue.training.token_chunks import Chunk, Inputs, count_rows, plan_chunks, take_chunk

Encode = Callable[[Any], Tensor]

# How far, relatively, the vectors of both passes may lie apart: kernels of half precision that add
# in any order stay far below, forgotten randomness far above.
_DRIFT = 0.02


def cached_backward(
    encode: Encode | Sequence[Encode],
    loss: Callable[..., Tensor],
    inputs: Inputs | Sequence[Inputs],
    *,
    chunk_size: int | None = None,
    tokens_per_chunk: int | None = None,
    keep_graphs: int = 1,
    gather: bool = False,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """Add the gradients of a loss on the vectors of a batch to all that it depends on.

    Takes the place of `loss(encode(inputs)).backward()`. Clip gradients and step afterwards.

    Args:
        encode: what makes vectors [b, D] of b texts; gets a tensor or a dict of tensors as in
            `inputs`. A list has one for each column. Its dropout is repeated exactly; randomness
            that is not torch's is refused, because the vectors of the second pass differ, and so
            is BatchNorm in training mode.
        loss: makes a scalar of the vectors [B, D] of all texts, in their order: one argument for
            each column.
        inputs: a tensor [B, ...], or a mapping of names to such tensors as tokenizers give it, or
            a list or tuple of those: several columns, as anchors, positives and negatives, each of
            which may have its own B.
        chunk_size: texts that are encoded at once, at most.
        tokens_per_chunk: texts times longest text of a chunk, at most; needs "attention_mask".
            Texts are sorted by length and lose the padding that their chunk does not need. A
            longer text makes a chunk of its own. One of the two rules must be given; both hold
            where both are.
        keep_graphs: how many of the last chunks are encoded once only, because their graphs are
            kept while the loss is computed, and used up before any other graph is made. The first
            one hardly adds to the peak; each further one adds the memory of a chunk.
        gather: have the loss see the vectors of all processes, in the order of their ranks. Each
            process computes the loss of the whole batch and gives its own texts their gradients,
            so that the average over processes, which DistributedDataParallel takes, is the
            gradient of one process with the whole batch. Labels that the loss uses must be
            gathered too, by `gather_rows`. Parameters of the loss have the same gradients in every
            process; they may be the wrapped model's own.
        scaler: scales the loss, once, where float16 needs it; `scaler.step` takes it off again.
            Put autocast into `encode`.

    Returns:
        The loss, a scalar without graph, not scaled.

    Raises:
        ValueError: if inputs, chunks or vectors do not fit, the loss is no scalar that depends on
            something that learns, or the second pass of `encode` gives other vectors.

    Example:
        >>> from kexue.losses.contrastive import info_nce
        >>> model = torch.nn.Linear(6, 4)
        >>> questions, answers = torch.rand(2, 100, 6)
        >>> def loss(q, a):
        ...     return info_nce(q, a, temperature=0.05)
        >>> value = cached_backward(model, loss, [questions, answers], chunk_size=8)
        >>> plain = torch.autograd.grad(loss(model(questions), model(answers)), model.weight)
        >>> torch.allclose(model.weight.grad, plain[0], atol=1e-4)
        True
    """
    if keep_graphs < 0:
        raise invalid("keep_graphs", keep_graphs, "0 or more")
    rules = {"chunk_size": chunk_size, "tokens_per_chunk": tokens_per_chunk}
    columns = _columns(encode, inputs)
    for column in columns:
        column.plan = plan_chunks(column.inputs, **rules)
    last = sum(len(column.plan) for column in columns) - keep_graphs
    for column in columns:
        _first_pass(column, last)
        last -= len(column.plan)
        _join(column, gather)
    value = _differentiate(loss, columns, scaler)
    _second_pass(columns)
    return value


@dataclass(eq=False)
class _Part:
    """A chunk between its two passes; `vectors` only where their graph is kept."""

    column: "_Column"
    chunk: Chunk
    state: RandomState
    vectors: Tensor | None

    def encode(self, *, graph: bool) -> Tensor:
        with torch.set_grad_enabled(graph):
            return self.column.encode(take_chunk(self.column.inputs, self.chunk))


@dataclass(eq=False)
class _Column:
    """Texts, what encodes them, and all that is known of their vectors."""

    encode: Encode
    inputs: Inputs
    plan: list[Chunk] = field(default_factory=list)
    parts: list[_Part] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)  # of the chunks, without graphs
    replicas: list[DistributedDataParallel] = field(default_factory=list)
    learns: bool = False
    leaf: Tensor | None = None  # [B, D] of all processes where they are gathered
    own: slice = field(default_factory=lambda: slice(None))  # the rows of this process
    share: int = 1  # how many processes average this gradient


def _columns(encode: Encode | Sequence[Encode], inputs: Inputs | Sequence[Inputs]) -> list[_Column]:
    columns = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not isinstance(encode, list | tuple):
        encode = [encode] * len(columns)
    if len(encode) != len(columns) or not columns:
        given = f"{len(encode)} encoders for {len(columns)} columns"
        raise invalid("encode", given, "one for all columns, or a list with one for each")
    return [_Column(*pair) for pair in zip(encode, columns, strict=True)]


def _first_pass(column: _Column, last: int) -> None:
    """Encode all chunks, keeping the graphs from chunk number `last` on."""
    devices = random_devices(column.inputs)
    for number, chunk in enumerate(column.plan):
        part = _Part(column, chunk, take_random_state(devices), None)
        with ExitStack() as stack:
            if number == 0:
                column.replicas = stack.enter_context(silent_replicas())
            _unsynchronised(stack, column.replicas if number else ())
            # The graph of the first chunk, even if it is dropped at once, says what learns.
            vectors = part.encode(graph=number == 0 or number >= last)
        _check_vectors(column, chunk, vectors)
        column.learns = column.learns or vectors.requires_grad
        if number >= last and vectors.requires_grad:
            part.vectors = vectors
        column.parts.append(part)
        column.vectors.append(vectors.detach())
        # Or its graph would live on during the next chunk
        del vectors


def _unsynchronised(stack: ExitStack, replicas: Sequence[DistributedDataParallel]) -> None:
    for replica in replicas:
        stack.enter_context(replica.no_sync())


def _check_vectors(column: _Column, chunk: Chunk, vectors: Tensor) -> None:
    """Refuse what is not one vector for each text."""
    if not isinstance(vectors, Tensor):
        fix = "Have it return a tensor, as in model(**chunk).last_hidden_state[:, 0]."
        raise invalid("encode", f"a function that gives {type(vectors).__name__}", "[b, D]", fix)
    rows, total = chunk.rows, count_rows(column.inputs)
    count = len(range(*rows.indices(total))) if isinstance(rows, slice) else len(rows)
    before = column.vectors[0].shape[1:] if column.vectors else vectors.shape[1:]
    if vectors.ndim < 2 or len(vectors) != count or vectors.shape[1:] != before:
        shape = ", ".join(map(str, (count, *before) if column.vectors else (count, "D")))
        raise invalid("the vectors of a chunk", tuple(vectors.shape), f"({shape})")
    if not column.vectors and uses_batch_statistics(vectors):
        raise invalid(
            "encode",
            "a model with BatchNorm in training mode",
            "one without statistics over the batch",
            "A chunk has others than the whole batch, and both passes would update them: call "
            ".eval() on those layers, or use LayerNorm or GroupNorm.",
        )


def _join(column: _Column, gather: bool) -> None:
    """Put the vectors back into the order of the texts, as leaves of the loss."""
    total = count_rows(column.inputs)
    leaf = column.vectors[0].new_empty(total, *column.vectors[0].shape[1:])
    for part, vectors in zip(column.parts, column.vectors, strict=True):
        leaf[part.chunk.rows] = vectors
    column.vectors.clear()
    if gather:
        column.share = process_count()
        column.own = own_rows(total, device=leaf.device)
        leaf = gather_rows(leaf)
    column.leaf = leaf.requires_grad_(column.learns)


def _differentiate(
    loss: Callable[..., Tensor], columns: list[_Column], scaler: torch.amp.GradScaler | None
) -> Tensor:
    """Compute the loss and its gradients by the vectors."""
    with torch.enable_grad():
        value = loss(*(column.leaf for column in columns))
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise invalid("the loss", shape, "a scalar tensor", "Take the mean over the texts.")
        if not value.requires_grad:
            fix = "Is everything frozen, or was something detached?"
            raise invalid("the loss", "a constant", "one that depends on what learns", fix)
        scaled = value if scaler is None else scaler.scale(value)
    with _outside_autocast(scaled):
        scaled.backward()
    return value.detach()


def _outside_autocast(x: Tensor) -> torch.autocast:
    """Keep products of the backward pass from being rounded once more."""
    return torch.autocast(x.device.type, enabled=False)


def _second_pass(columns: list[_Column]) -> None:
    """Go on backwards from the vectors, chunk after chunk."""
    parts = [part for c in columns if c.leaf.grad is not None for part in c.parts]
    kept = [part for part in parts if part.vectors is not None]
    parts = kept[::-1] + [part for part in parts if part.vectors is None]
    # The last part of a replica is what sets its averaging off, which begins with a forward pass.
    final = {replica: part for part in parts for replica in part.column.replicas}
    for part in final.values():
        part.vectors = None
    drift = [_finish(part, final) for part in parts]
    worst = max((d for d in map(float, drift) if d > _DRIFT), default=None)
    if worst is not None:
        raise invalid(
            "encode",
            f"a function whose vectors differ by {worst:.0%} when a chunk is encoded again",
            "one that repeats itself when torch's random state does",
            "Take randomness from torch, and keep no state between calls.",
        )


def _finish(part: _Part, final: dict[DistributedDataParallel, _Part]) -> Tensor:
    """Go backwards through a chunk, and measure how far its vectors are from the first ones."""
    column, rows = part.column, part.chunk.rows
    gradient = column.leaf.grad[column.own][rows] * column.share
    before = column.leaf.detach()[column.own][rows]
    with ExitStack() as stack:
        _unsynchronised(stack, [r for r, last in final.items() if last is not part])
        vectors, part.vectors = part.vectors, None
        if vectors is None:
            with repeated(part.state):
                vectors = part.encode(graph=True)
        stack.enter_context(_outside_autocast(vectors))
        backward_and_average(vectors, gradient, [r for r, last in final.items() if last is part])
    return (vectors.detach() - before).norm() / before.norm()
