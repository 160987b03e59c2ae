"""Masked copies of one text, and how far a second mask moves what the encoder makes of the first.

Post: https://kexue.fm/archives/7476
Axes: L tokens, N units (tokens, or words of several), B copies of the text, S units masked in a
      copy, P pairs of units, K places, D width of the states
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from kexue._check import invalid
from kexue.analysis.staged_encoder import StagedEncoder, share_inputs

Encode = Callable[[Tensor], Tensor]


class Masking(NamedTuple):
    """A text to be masked, and how it is read.

    Attributes:
        encode: from ids to states.
        ids: [L] the text.
        mask_id: the token that masks.
        covers: bool [N, L], the tokens of each unit.
        distance: from states [B, S, D] and others to [B, S].
        context: in which the encoder runs.
    """

    encode: Encode
    ids: Tensor
    mask_id: int
    covers: Tensor
    distance: Callable[[Tensor, Tensor], Tensor]
    context: AbstractContextManager[object]


def _euclidean(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).norm(dim=-1)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return 1 - torch.cosine_similarity(one, other, dim=-1)


_DISTANCES = {"euclidean": _euclidean, "cosine": _cosine}


def prepare_masking(
    encode: Encode,
    ids: Tensor,
    mask_id: int,
    spans: Sequence[tuple[int, int]] | None,
    distance: str,
    autocast: torch.dtype | None,
) -> Masking:
    """Check what `impact_matrix` was given.

    Args:
        encode: as for `impact_matrix`, like all others.
        ids: [L].
        mask_id: the token that masks.
        spans: the units.
        distance: the name of a distance.
        autocast: the dtype of the encoder.

    Returns:
        What `pair_impacts` needs.

    Raises:
        ValueError: as `impact_matrix`.
    """
    if ids.ndim != 1 or not len(ids) or ids.is_floating_point():
        raise invalid("ids", tuple(ids.shape), "the ids of one text, [L]", "Take ids[0].")
    if isinstance(mask_id, bool) or not isinstance(mask_id, int) or mask_id < 0:
        fix = "Take an encoder that was trained as a masked language model."
        raise invalid("mask_id", mask_id, "the id of [MASK]", fix)
    if distance not in _DISTANCES:
        raise invalid("distance", distance, " or ".join(map(repr, _DISTANCES)))
    if getattr(encode, "training", False):
        raise invalid("encode", "in training mode", "an encoder without dropout", "Call .eval().")
    covers = _cover(spans, len(ids)).to(ids.device)
    context = nullcontext() if autocast is None else torch.autocast(ids.device.type, autocast)
    return Masking(encode, ids, mask_id, covers, _DISTANCES[distance], context)


def _cover(spans: Sequence[tuple[int, int]] | None, length: int) -> Tensor:
    """Say which tokens make each unit: bool [N, L]."""
    if spans is None:
        return torch.eye(length, dtype=torch.bool)
    covers = torch.zeros(len(spans), length, dtype=torch.bool)
    free = 0
    for row, (start, end) in enumerate(spans):
        if not free <= start < end <= length:
            allowed = f"a first token from {free} on and an end after it, up to {length}"
            raise invalid(f"spans[{row}]", (start, end), allowed)
        covers[row, start:end] = True
        free = end
    if not len(spans):
        raise invalid("spans", spans, "at least one unit")
    return covers


def _reader(masking: Masking) -> Callable[[Tensor, Tensor], Tensor]:
    """Make a function from masks [B, L] and places [B, K] to the states [B, K, D] there."""
    encode, ids, mask_id = masking.encode, masking.ids, masking.mask_id
    if isinstance(encode, StagedEncoder):
        shared = share_inputs(encode, ids, mask_id=mask_id)
        return lambda hidden, places: encode.last(
            encode.middle(encode.first(shared.rows(hidden))), places
        )

    def read(hidden: Tensor, places: Tensor) -> Tensor:
        states = encode(torch.where(hidden, mask_id, ids))
        if not isinstance(states, Tensor) or states.shape[:2] != hidden.shape or states.ndim != 3:
            given = tuple(states.shape) if isinstance(states, Tensor) else type(states).__name__
            fix = "Write encode=lambda ids: model(input_ids=ids).last_hidden_state."
            raise invalid("what encode returns", given, f"states {(*hidden.shape, 'D')}", fix)
        return states.gather(1, places[..., None].expand(-1, -1, states.shape[-1]))

    return read


@torch.no_grad()
def pair_impacts(masking: Masking, pairs: Tensor, batch_size: int) -> Tensor:
    """Compute f(i, j) and f(j, i) for pairs of units.

    Args:
        masking: the text and how it is read.
        pairs: [P, 2] units i and j, which differ.
        batch_size: copies of the text that go through the encoder at once.

    Returns:
        [P, 2], float32 or wider.

    Raises:
        ValueError: if there is no room for a copy, or the encoder returns another shape.
    """
    if batch_size < 1:
        raise invalid("batch_size", batch_size, "1 or more")
    covers = masking.covers
    with masking.context:
        read = _reader(masking)
        units = torch.arange(len(covers), device=pairs.device)[:, None]
        parts = [_unit_states(read, covers[part]) for part in units.split(batch_size)]
        alone = torch.cat(parts)[:, 0]  # [N, D]
        # Copies whose units have as many tokens read as many places.
        order = covers.sum(1)[pairs].amax(1).argsort(stable=True)
        impacts = alone.new_zeros(len(pairs), 2)
        for part in order.split(batch_size) if len(order) else ():
            both = _unit_states(read, covers[pairs[part]])  # [B, 2, D]
            impacts[part] = masking.distance(alone[pairs[part]], both)
    return impacts


def _unit_states(read: Callable[[Tensor, Tensor], Tensor], own: Tensor) -> Tensor:
    """Mask units in copies of the text and read them: their tokens [B, S, L] to [B, S, D]."""
    size = own.sum(-1, keepdim=True)
    longest = int(size.max())
    # The tokens of the unit come first, in order; a shorter unit is filled up at no weight.
    places = own.byte().argsort(dim=-1, descending=True, stable=True)[..., :longest]
    states = read(own.any(1), places.flatten(1))
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    weight = (torch.arange(longest, device=own.device) < size).to(wide.dtype) / size
    return (wide.unflatten(1, places.shape[1:]) * weight[..., None]).sum(2)
