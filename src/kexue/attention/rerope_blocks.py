"""The ReRoPE family's attention by blocks of queries, in plain torch, for every device.

    s_ij = <q_i, k_j>  if i - j < window  else <q'_i, k'_j>,      j <= i

A block of queries holds its scores with all keys before it and nothing else, so memory grows with
the number of tokens, not with its square. The backward pass computes the scores anew from the
log-sum-exp of each query. The last query belongs to the last key, so that queries may be fewer
than keys: a step of decoding is one block with one query.

Post: https://kexue.fm/archives/9708
Axes: B texts, H heads of queries, K heads of keys and values, G = H / K, L queries, S keys,
    D features of a head, l queries of one block, e keys up to the end of the block
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Scores that one block holds, where there are texts enough to fill it: higher blocks only wait for
# memory, lower ones do not keep the matrix products busy.
_SCORES = 2**22
_HIGHEST = 256


class Inputs(NamedTuple):
    """What `rerope_attend` is given: [B, H, L, D] queries, [B, K, S, D] keys, [B, K, S, E] values.

    The mask is None or bool and broadcasts to [B, H, L, S].
    """

    q: Tensor
    k: Tensor
    v: Tensor
    q_far: Tensor
    k_far: Tensor
    mask: Tensor | None
    window: int
    scale: float

    @property
    def groups(self) -> int:
        """Tell how many heads of queries share a head of keys."""
        return self.q.shape[1] // self.k.shape[1]


class _Block(NamedTuple):
    """Queries `rows`, which are tokens `first` to `end` on the axis of keys.

    All of them are near to the keys from `far_to` on and far from the keys before `near_from`;
    in between it depends.
    """

    rows: slice
    first: int
    end: int
    near_from: int
    far_to: int


def attend_blocks(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Mix the values, block after block.

    Args:
        inputs: queries, keys, values and settings.

    Returns:
        The mixed values [B, H, L, E] and the log-sum-exp of each query's scores [B, H, L], in
        float32 for half precision. A query that may see nothing gets zeros and plus infinity.
    """
    batch, heads, queries, _ = inputs.q.shape
    wide = torch.promote_types(inputs.q.dtype, torch.float32)
    out = inputs.v.new_empty(batch, heads, queries, inputs.v.shape[-1])
    lse = inputs.q.new_empty(batch, heads, queries, dtype=wide)
    q, k, v, q_far, k_far = _by_key_head(inputs)
    height, space = _workspace(inputs)
    spare = torch.empty_like(space, dtype=wide)
    for block in _blocks(inputs, height):
        scores = _scores((q, k, q_far, k_far), block, inputs, space)
        weights = spare.flatten()[: scores.numel()].view_as(scores)
        torch.softmax(scores, -1, dtype=wide, out=weights)
        # Where the largest score is s and its share p, the logarithm of the sum is s - log p.
        sums = scores.amax(-1).to(wide) - weights.amax(-1).log()
        if inputs.mask is not None:
            nothing = scores.amax(-1) == -torch.inf
            weights.masked_fill_(nothing.unsqueeze(-1), 0)
            sums = sums.masked_fill(nothing, torch.inf)
        mixed = weights.to(v.dtype) @ v[:, : block.end]
        rows = block.rows.stop - block.rows.start
        out[:, :, block.rows] = mixed.view(batch, heads, rows, -1)
        lse[:, :, block.rows] = sums.view(batch, heads, rows)
    return out, lse


def backward_blocks(inputs: Inputs, out: Tensor, lse: Tensor, grad: Tensor) -> list[Tensor]:
    """Compute the gradients, block after block, with the scores made anew.

    Args:
        inputs: what `attend_blocks` was given.
        out: [B, H, L, E] what it returned.
        lse: [B, H, L] what it returned.
        grad: [B, H, L, E] gradient of the result.

    Returns:
        The gradients of q, k, v, q_far and k_far.
    """
    tensors, wide = _by_key_head(inputs), lse.dtype
    q, k, v, q_far, k_far = tensors
    grads = [
        torch.zeros_like(x, dtype=wide, memory_format=torch.contiguous_format) for x in tensors
    ]
    delta = (grad.to(wide) * out.to(wide)).sum(-1)
    delta, lse, grad = (x.reshape(*q.shape[:3], *x.shape[3:]) for x in (delta, lse, grad))
    height, space = _workspace(inputs)
    for block in _blocks(inputs, height):
        scores = _scores((q, k, q_far, k_far), block, inputs, space)
        lse_rows, delta_rows = (x[:, :, block.rows].flatten(1).unsqueeze(-1) for x in (lse, delta))
        grad_rows, values = grad[:, :, block.rows].flatten(1, 2), v[:, : block.end]
        weights = (scores - lse_rows).exp_()
        grads[2][:, : block.end].baddbmm_(weights.mT, grad_rows.to(wide))
        slope = (grad_rows @ values.mT).to(wide).sub_(delta_rows).mul_(weights)
        _add_slopes(tensors, block, slope.mul_(inputs.scale), grads, inputs)
    return [g.view(x.shape).to(x.dtype) for g, x in zip(grads, inputs[:5], strict=True)]


def _by_key_head(inputs: Inputs) -> list[Tensor]:
    """Lay queries out as [B K, G, L, D] and keys and values as [B K, S, D]."""
    q, k, v, q_far, k_far = inputs[:5]
    q, q_far = (x.reshape(-1, inputs.groups, *x.shape[2:]) for x in (q, q_far))
    return [q, k.flatten(0, 1), v.flatten(0, 1), q_far, k_far.flatten(0, 1)]


def _workspace(inputs: Inputs) -> tuple[int, Tensor]:
    """Choose how many queries a block has, and make room for its scores."""
    (batch, heads, queries, _), keys = inputs.q.shape, inputs.k.shape[2]
    height = min(queries, _HIGHEST, max(16, _SCORES // (batch * heads * keys)))
    return height, inputs.q.new_empty(batch * heads * height, keys)


def _blocks(inputs: Inputs, height: int) -> Iterator[_Block]:
    queries, keys = inputs.q.shape[2], inputs.k.shape[2]
    for start in range(0, queries, height):
        stop = min(start + height, queries)
        first, end = keys - queries + start, keys - queries + stop
        near_from, far_to = max(0, first - inputs.window + 1), max(0, end - inputs.window)
        yield _Block(slice(start, stop), first, end, near_from, max(near_from, far_to))


def _scores(tensors: tuple[Tensor, ...], block: _Block, inputs: Inputs, space: Tensor) -> Tensor:
    """Compute the scaled scores [B K, G l, e] of a block, minus infinity where not allowed."""
    q, k, q_far, k_far = tensors
    q, q_far = (x[:, :, block.rows].flatten(1, 2) * inputs.scale for x in (q, q_far))
    low, high = block.near_from, block.far_to
    scores = space.flatten()[: q.shape[0] * q.shape[1] * block.end].view(*q.shape[:2], block.end)
    torch.bmm(q, k[:, low : block.end].mT, out=scores[..., low:])
    torch.bmm(q_far, k_far[:, :low].mT, out=scores[..., :low])
    if high > low:
        far, both = q_far @ k_far[:, low:high].mT, scores[..., low:high]
        both.copy_(torch.where(_is_near(block, inputs), both, far))
    return _hide(scores, block, inputs)


def _is_near(block: _Block, inputs: Inputs) -> Tensor:
    """Tell [G l, far_to - near_from] which keys of the mixed ones are near."""
    device = inputs.q.device
    query = torch.arange(block.first, block.end, device=device)
    key = torch.arange(block.near_from, block.far_to, device=device)
    return (query.unsqueeze(-1) - key < inputs.window).repeat(inputs.groups, 1)


def _hide(scores: Tensor, block: _Block, inputs: Inputs) -> Tensor:
    """Write minus infinity over the scores of later keys and of those that the mask hides."""
    rows = block.end - block.first
    if rows > 1:
        later = torch.ones(rows, rows, dtype=torch.bool, device=scores.device).triu_(1)
        own = scores[..., block.first :].unflatten(1, (-1, rows))
        own.masked_fill_(later, -torch.inf)
    if inputs.mask is not None:
        mask = inputs.mask[..., : block.end]
        mask = mask if mask.shape[2] == 1 else mask[:, :, block.rows]
        shape = (len(inputs.q), inputs.q.shape[1], rows, block.end)
        scores.view(shape).masked_fill_(~mask, -torch.inf)
    return scores


def _add_slopes(
    tensors: list[Tensor], block: _Block, slope: Tensor, grads: list[Tensor], inputs: Inputs
) -> None:
    """Carry the gradient of a block's scores [B K, G l, e] on to queries and keys."""
    low, high = block.near_from, block.far_to
    is_near, both = _is_near(block, inputs), slope[..., low:high].clone()
    parts = ((0, 1, low, block.end, ~is_near), (3, 4, 0, high, is_near))
    for query, key, first, last, hidden in parts:
        slope[..., low:high] = both.masked_fill(hidden, 0)
        part = slope[..., first:last]
        rows = tensors[query][:, :, block.rows]
        found = part @ tensors[key][:, first:last].to(part.dtype)
        grads[query][:, :, block.rows] = found.view_as(rows)
        grads[key][:, first:last].baddbmm_(part.mT, rows.flatten(1, 2).to(part.dtype))
