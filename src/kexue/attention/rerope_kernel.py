"""The ReRoPE family's attention from torch's fused kernel for the CPU.

    near: each query with the `window` keys up to itself       (o1, l1), a band
    far:  queries window.. with keys ..n - window, causal      (o2, l2), a square
    l = logaddexp(l1, l2),   o = o1 + sigmoid(l2 - l1) (o2 - o1)

The two are soft averages over parts of one row of scores; the log-sum-exp of each part weighs them
exactly. The same holds backwards: given the *whole* row's result and log-sum-exp, the kernel's
backward pass of a part gives that part's share of the gradient. Cost: n window + (n - window)^2 / 2
scores, about as many as plain causal attention has.

Post: https://kexue.fm/archives/9708
Axes: B texts, H heads of queries, K heads of keys and values, n tokens, D features of a head
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from kexue.attention.rerope_blocks import Inputs

# Queries of a band that share one call: few enough to waste little beside the window, enough to
# keep the kernel busy.
_BAND = 128


class _Part(NamedTuple):
    """A piece of the scores: queries of `rows`, keys of `keys`."""

    rows: slice
    keys: slice
    far: bool
    band: Tensor | None


def kernel_fits(inputs: Inputs) -> bool:
    """Tell whether the fused kernel can do this work, and gains by it.

    Args:
        inputs: queries, keys, values and settings.

    Returns:
        Whether `attend_kernel` takes these inputs: on the CPU, float32 or float64, as many queries
        as keys and more than a few, no mask, features side by side in memory.

    Example:
        >>> q = torch.zeros(1, 2, 64, 8)
        >>> kernel_fits(Inputs(q, q, q, q, q, None, window=16, scale=1.0))
        True
        >>> q = q.bfloat16()  # the kernel is slow in half precision
        >>> kernel_fits(Inputs(q, q, q, q, q, None, window=16, scale=1.0))
        False
    """
    q, k, v = inputs[:3]
    return (
        q.device.type == "cpu"
        and q.dtype in (torch.float32, torch.float64)
        and q.shape[2] == k.shape[2] >= 32
        and v.shape[3] == q.shape[3]
        and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
        and inputs.mask is None
        # It would read beside what is given.
        and all(x.stride(-1) == 1 for x in inputs[:5])
    )


def attend_kernel(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Mix the values by fused near and far attention.

    Args:
        inputs: queries, keys, values and settings that `kernel_fits`.

    Returns:
        The mixed values [B, H, n, D] and the log-sum-exp of each query's scores [B, H, n].

    Example:
        >>> q = k = torch.zeros(1, 1, 32, 2)
        >>> v = torch.arange(32.0)[:, None].repeat(1, 1, 1, 2)
        >>> out, _ = attend_kernel(Inputs(q, k, v, q, k, None, window=4, scale=1.0))
        >>> out[0, 0, -1]
        tensor([15.5000, 15.5000])
    """
    q = inputs.q
    # In memory as [B, n, H, D], which is what models want next.
    out = q.new_empty(q.shape[0], q.shape[2], q.shape[1], q.shape[3]).transpose(1, 2)
    lse = q.new_empty(q.shape[:3])
    for part in _parts(q.shape[2], inputs.window, q):
        mixed, sums = _call(inputs, part)
        if part.band is not None:
            far, far_sums = out[:, :, part.rows], lse[:, :, part.rows]
            mixed = torch.lerp(mixed, far, (far_sums - sums).sigmoid().unsqueeze(-1))
            sums = torch.logaddexp(sums, far_sums)
        out[:, :, part.rows], lse[:, :, part.rows] = mixed, sums
    return out, lse


def backward_kernel(inputs: Inputs, out: Tensor, lse: Tensor, grad: Tensor) -> list[Tensor]:
    """Compute the gradients by the fused kernel's backward pass.

    Args:
        inputs: what `attend_kernel` was given.
        out: [B, H, n, D] what it returned.
        lse: [B, H, n] what it returned.
        grad: [B, H, n, D] gradient of the result.

    Returns:
        The gradients of q, k, v, q_far and k_far.

    Example:
        >>> q = k = torch.zeros(1, 1, 32, 2)
        >>> inputs = Inputs(q, k, k + 1, q, k, None, window=4, scale=1.0)
        >>> grads = backward_kernel(inputs, *attend_kernel(inputs), torch.ones_like(q))
        >>> grads[2].sum().round()
        tensor(64.)
    """
    grads = [torch.zeros_like(x) for x in inputs[:5]]
    groups = inputs.groups
    for part in _parts(inputs.q.shape[2], inputs.window, inputs.q):
        row = (_grouped(x[:, :, part.rows], groups) for x in (out, lse, grad))
        found = _call_backward(inputs, part, *row)
        query, key = (3, 4) if part.far else (0, 1)
        rows, keys = part.rows, part.keys
        for target, place, new in ((query, rows, 0), (key, keys, 1), (2, keys, 2)):
            share = found[new] if target == query or groups == 1 else found[new].sum(1)
            held = grads[target][:, :, place]
            held += share.reshape(held.shape)
    return grads


def _parts(n: int, window: int, like: Tensor) -> Iterator[_Part]:
    """Cut the scores of n tokens into pieces for the kernel; the far square comes first."""
    if n > window:
        yield _Part(slice(window, n), slice(0, n - window), far=True, band=None)
    yield _Part(slice(0, min(n, window)), slice(0, min(n, window)), far=False, band=None)
    if n > window:
        # Row a of a band sees the keys a to a + window - 1 of its slice.
        shape = (min(_BAND, n - window), min(_BAND, n - window) + window - 1)
        outside = like.new_ones(shape, dtype=torch.bool)
        outside = ~outside.triu_() | outside.triu(window)
        band = like.new_zeros(shape).masked_fill_(outside, -torch.inf)
    for start in range(window, n, _BAND):
        stop = min(start + _BAND, n)
        keys, rows = slice(start - window + 1, stop), stop - start
        yield _Part(slice(start, stop), keys, far=False, band=band[:rows, : rows + window - 1])


def _call(inputs: Inputs, part: _Part) -> tuple[Tensor, Tensor]:
    """Run the kernel on one part."""
    q, k, v = _operands(inputs, part)
    mixed, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, part.band is None, attn_mask=part.band, scale=inputs.scale
    )
    shape = (len(inputs.q), inputs.q.shape[1])
    return mixed.reshape(*shape, *mixed.shape[2:]), sums.reshape(*shape, -1)


def _operands(inputs: Inputs, part: _Part) -> tuple[Tensor, Tensor, Tensor]:
    """Take the tensors of a part; heads that share keys lie in the axis of heads."""
    q, k = (inputs.q_far, inputs.k_far) if part.far else (inputs.q, inputs.k)
    groups = inputs.groups
    k, v = k[:, :, part.keys], inputs.v[:, :, part.keys]
    if groups > 1:
        k, v = (x.flatten(0, 1).unsqueeze(1).expand(-1, groups, -1, -1) for x in (k, v))
    return _grouped(q[:, :, part.rows], groups), k, v


def _grouped(x: Tensor, groups: int) -> Tensor:
    return x if groups == 1 else x.reshape(-1, groups, *x.shape[2:])


def _call_backward(
    inputs: Inputs, part: _Part, out: Tensor, lse: Tensor, grad: Tensor
) -> tuple[Tensor, ...]:
    """Run the kernel's backward pass on one part."""
    q, k, v = _operands(inputs, part)
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        *(grad, q, k, v, out, lse, 0.0, part.band is None),
        attn_mask=part.band,
        scale=inputs.scale,
    )
