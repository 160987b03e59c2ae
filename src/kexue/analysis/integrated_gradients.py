"""Which parts of an input a score comes from, by integrating its gradient along a straight path.

    A_i = (x_i - x'_i) int_0^1 d_i F(x' + a (x - x')) da,      sum_i A_i = F(x) - F(x')

Nodes are added, none of them twice, until the sum of the parts is the difference of the scores, on
the way as well as at its end: an integral may come out right by chance, its beginnings do not. The
article takes the absolute value of each part, which is `magnitude`; the sign says for or against.

Its example multiplies each gradient by the input already scaled, which gives half of what it should
for a linear score.

Post: https://kexue.fm/archives/7533
Paper: https://arxiv.org/abs/1703.01365, equation 1
Axes: B examples, N points, k examples of a chunk, n points at once, "..." the axes of one example
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.analysis.adaptive_integral import AdaptiveIntegral
from kexue.analysis.attributions import Attributions
from kexue.analysis.gradient_path import GradientPath
from kexue.analysis.quadrature import gauss_legendre_rule


def integrated_gradients(
    f: Callable[..., Tensor],
    x: Tensor,
    *,
    baseline: Tensor | None = None,
    tolerance: float = 1e-3,
    given: Sequence[Tensor] = (),
    steps: int | None = None,
    most_steps: int = 383,
    chunk_size: int = 8,
) -> Attributions:
    """Attribute scores to the numbers of their inputs.

    Args:
        f: takes [n, ...] inputs and what is `given`, and returns the score [n] of each, which must
            not depend on the others.
        x: [B, ...] inputs, floating point.
        baseline: where the path begins, of a shape that broadcasts to that of `x`; zeros by
            default. What it shares with `x` gets nothing.
        tolerance: the largest gap, as a share of the difference of the scores, or of a tenth of
            how far the score moves on the way, where that is more; positive.
        given: [B, ...] tensors that go with each input, such as attention masks.
        steps: a fixed number of Gauss-Legendre nodes, as other libraries take; by default as many
            nodes of Fejer's rule, and where, as the tolerance needs.
        most_steps: give up at so many nodes; the result says so and a warning is given.
        chunk_size: points of a path, or inputs, that go through `f` at once. Of the others, only
            the gradients are kept.

    Returns:
        The parts, with their gap; a result for each input.

    Raises:
        ValueError: if an option is out of its range, the baseline does not fit, or `f` does not
            give scores that can be differentiated.

    Example:
        >>> def f(x):
        ...     return (x**3).sum(-1)
        >>> found = integrated_gradients(f, torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
        >>> found.values.round(decimals=4), found.steps
        (tensor([[ 1.,  8.],
                [ 0., -1.]]), tensor([5, 5]))
    """
    _check(x, tolerance, steps, most_steps, chunk_size)
    path = GradientPath(f, x, baseline, given, chunk_size)
    parts = []
    for first in range(0, len(x), chunk_size):
        rows = torch.arange(first, min(first + chunk_size, len(x)), device=x.device)
        parts.append(_attribute(path.of(rows), tolerance, steps, most_steps))
    columns = zip(*parts, strict=True)
    found = Attributions(*(torch.cat(column) for column in columns))
    if not found.converged.all():
        left = int((~found.converged).sum())
        warnings.warn(
            f"{left} of {len(x)} attributions miss their sum by more than {tolerance:g} of it; "
            "allow more steps, or a larger tolerance.",
            RuntimeWarning,
            stacklevel=2,
        )
    return found


def _attribute(
    path: GradientPath, tolerance: float, steps: int | None, most_steps: int
) -> tuple[Tensor, ...]:
    """Compute the fields of `Attributions` for the examples of one chunk."""
    score, start = path.ends()
    if steps is not None:
        return _with_fixed_nodes(path, score, start, tolerance, steps)
    # Nothing can be more exact than the two scores themselves.
    rounding = 16 * path.eps * torch.maximum(score.abs(), start.abs())
    # Where there is no way to go, two ways to compute one score may still differ.
    rounding[(path.difference == 0).flatten(1).all(1)] = torch.inf
    limits = zip(start.tolist(), score.tolist(), rounding.tolist(), strict=True)
    integrals = [
        AdaptiveIntegral(low, high, tolerance, least, most_steps) for low, high, least in limits
    ]
    while todo := [k for k, integral in enumerate(integrals) if not integral.finished]:
        wanted = [torch.from_numpy(integrals[k].wanted) for k in todo]
        counts = [len(places) for places in wanted]
        owner = torch.tensor(todo).repeat_interleave(torch.tensor(counts)).to(score.device)
        slopes, scores = path.evaluate(torch.cat(wanted).to(score.device), owner)
        along = (slopes * path.difference[owner]).flatten(1).sum(1)
        found = (slopes, along.double().cpu(), scores.double().cpu())
        for k, *parts in zip(todo, *(column.split(counts) for column in found), strict=True):
            integrals[k].take(parts[0], parts[1].numpy(), parts[2].numpy())
    values = torch.stack([integral.total() for integral in integrals]) * path.difference
    gap = torch.tensor([integral.gap for integral in integrals], dtype=torch.float64)
    taken, met = (
        torch.tensor([getattr(integral, name) for integral in integrals], device=score.device)
        for name in ("steps", "converged")
    )
    return values, score, start, gap.to(score), taken, met


def _with_fixed_nodes(
    path: GradientPath, score: Tensor, start: Tensor, tolerance: float, steps: int
) -> tuple[Tensor, ...]:
    """Take the nodes of Gauss and Legendre, whatever the gap."""
    rule = gauss_legendre_rule(steps)
    nodes, weights = (torch.as_tensor(a).to(score) for a in (rule.nodes, rule.weights))
    rows = torch.arange(len(score), device=score.device)
    slopes, _ = path.evaluate(nodes.repeat_interleave(len(rows)), rows.repeat(steps))
    mean = torch.einsum("n,nk...->k...", weights, slopes.unflatten(0, (steps, -1)))
    values = mean * path.difference
    gap = values.flatten(1).sum(1) - (score - start)
    met = gap.abs() <= tolerance * (score - start).abs()
    return values, score, start, gap, torch.full_like(rows, steps), met


def _check(
    x: Tensor, tolerance: float, steps: int | None, most_steps: int, chunk_size: int
) -> None:
    if not x.is_floating_point() or x.ndim < 1 or not len(x):
        fix = "Attribute to the embeddings of tokens, not to their ids."
        raise invalid("x", f"{x.dtype} {tuple(x.shape)}", "[B, ...] floating point, B not 0", fix)
    if not tolerance > 0:
        raise invalid("tolerance", tolerance, "a positive number, as in 1e-3")
    for name, value, least in (
        ("steps", 1 if steps is None else steps, 1),
        ("most_steps", most_steps, 5),
        ("chunk_size", chunk_size, 1),
    ):
        if value < least:
            raise invalid(name, value, f"{least} or more")
