"""Watch what enters and leaves the layers of a model, to have their gradients in factors.

Post: https://kexue.fm/archives/8009
Axes: N examples, C outputs, P places, I inputs and O outputs of a layer
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kexue._check import invalid
from kexue.analysis.layer_gradients import LinearGradients, RowGradients, TokenGradients

Part = RowGradients | LinearGradients | TokenGradients


class _Call(NamedTuple):
    """One call of a layer: what entered, how often that was written to before, what left."""

    entered: Tensor
    version: int
    left: Tensor


class LayerCalls:
    """A context in which the calls of a model's layers are kept.

    Args:
        model: the model.
        wanted: the parameters whose gradients are asked for, by name: leaves that need a gradient,
            with which the model is called.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.PReLU())
        >>> with LayerCalls(model, dict(model.named_parameters())) as calls:
        ...     parts = calls.gradients(model(torch.ones(1, 2)))
        >>> sorted(calls.covered)
        ['0.bias', '0.weight']
    """

    def __init__(self, model: nn.Module, wanted: Mapping[str, Tensor]) -> None:
        self.covered: set[str] = set()
        self._wanted = dict(wanted)
        self._calls: dict[nn.Module, list[_Call]] = {}
        self._hooks: list[RemovableHandle] = []
        self._watched = {
            module: name
            for name, module in model.named_modules()
            if type(module) in (nn.Linear, nn.Embedding, nn.LayerNorm)
        }

    def __enter__(self) -> "LayerCalls":
        self._hooks = [module.register_forward_hook(self._keep) for module in self._watched]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, module: nn.Module, entered: tuple[Tensor, ...], left: Tensor) -> Tensor:
        if not entered:
            return left  # called by keyword: its parameters are not covered
        if not left.requires_grad:
            left.requires_grad_()
        call = _Call(entered[0].detach(), entered[0]._version, left)
        self._calls.setdefault(module, []).append(call)
        # An activation may write over what it gets, which must not be what is differentiated by.
        return left.clone()

    def gradients(self, outputs: Tensor) -> list[Part]:
        """Go back from the outputs to every layer.

        Args:
            outputs: [N] or [N, C] what the model gave within this context.

        Returns:
            The gradients by the parameters in `covered`, in the order of the layers. What is used
            in other ways than by calling its layer, with the axis of the examples first, is not.

        Raises:
            ValueError: if what entered a layer was overwritten.
        """
        uses = _uses(outputs)
        apart = {
            module: made
            for module, made in self._calls.items()
            if all(len(call.entered) == len(outputs) for call in made)
        }
        own = {
            module: [
                name
                for name, value in self._wanted.items()
                if name.rpartition(".")[0] == self._watched[module] and uses[value] == len(made)
            ]
            for module, made in apart.items()
        }
        kept = {module: made for module, made in apart.items() if own[module]}
        slopes = iter(_slopes(outputs, [call.left for made in kept.values() for call in made]))
        found: list[Part] = []
        for module, made in kept.items():
            _check(made)
            entered = [call.entered for call in made]
            names = {name.rpartition(".")[2] for name in own[module]}
            found += _parts(module, names, entered, list(islice(slopes, len(made))))
            self.covered.update(own[module])
        return found


def _uses(outputs: Tensor) -> Counter[Tensor]:
    """Count how often each leaf enters the graph of the outputs."""
    found: Counter[Tensor] = Counter()
    todo, seen = [outputs.grad_fn], {None}
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            following = [after for after, _ in node.next_functions]
            found.update(after.variable for after in following if hasattr(after, "variable"))
            todo += following
    return found


def _slopes(outputs: Tensor, left: list[Tensor]) -> list[Tensor]:
    """Differentiate each output by what left each layer: [N, C, ...] for each."""
    if not left:
        return []
    columns = outputs[:, None] if outputs.ndim == 1 else outputs
    count = columns.shape[1]
    options = {"allow_unused": True, "materialize_grads": True}
    by_output = [
        torch.autograd.grad(columns[:, c].sum(), left, retain_graph=c + 1 < count, **options)
        for c in range(count)
    ]
    return [torch.stack(slopes, 1) for slopes in zip(*by_output, strict=True)]


def _check(made: Sequence[_Call]) -> None:
    if any(call.entered._version != call.version for call in made):
        fix = "Write x = x + y in place of x += y."
        raise invalid("model", "a model that writes over the input of a layer", "others", fix)


def _parts(
    module: nn.Module, names: set[str], entered: list[Tensor], slopes: list[Tensor]
) -> list[Part]:
    """Write the gradients of one layer, whose calls are places of one call."""
    if isinstance(module, nn.LayerNorm):
        return _norm_parts(module, names, entered, slopes)
    joined = _join([s.flatten(2, -2) if s.ndim > 3 else s[:, :, None] for s in slopes], 2)
    if isinstance(module, nn.Embedding):
        ids = _join([ids.flatten(1) if ids.ndim > 1 else ids[:, None] for ids in entered], 1)
        if module.padding_idx is not None:
            ids = ids.masked_fill(ids == module.padding_idx, -1)
        return [TokenGradients(ids, joined)]
    if "weight" not in names:
        return [RowGradients(joined.sum(2))]
    inputs = _join([a.flatten(1, -2) if a.ndim > 2 else a[:, None] for a in entered], 1)
    if "bias" in names:
        # A bias is the weight of an input that is always 1.
        inputs = F.pad(inputs, (0, 1), value=1.0)
    return [LinearGradients(inputs, joined)]


def _join(places: list[Tensor], axis: int) -> Tensor:
    """Join the places of several calls; one call is not copied."""
    return places[0] if len(places) == 1 else torch.cat(places, axis)


def _norm_parts(
    module: nn.LayerNorm, names: set[str], entered: list[Tensor], slopes: list[Tensor]
) -> list[Part]:
    inner = len(module.normalized_shape)

    def rows(values: list[Tensor]) -> RowGradients:
        # [N, C, places ..., normalised ...] to [N, C, R]
        flat = [
            v.flatten(-inner).flatten(2, -2).sum(2) if v.ndim > 2 + inner else v.flatten(2)
            for v in values
        ]
        return RowGradients(torch.stack(flat).sum(0))

    found: list[Part] = []
    if "weight" in names:
        normal = [
            F.layer_norm(a, module.normalized_shape, eps=module.eps)[:, None] for a in entered
        ]
        found.append(rows([slope * a for slope, a in zip(slopes, normal, strict=True)]))
    if "bias" in names:
        found.append(rows(slopes))
    return found
