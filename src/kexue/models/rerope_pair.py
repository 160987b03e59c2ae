"""From queries and keys that a model has turned to those that far attention takes.

    q'_i = R(p_i s + w (1 - s)) R(-p_i) (R(p_i) q_i)         k'_j = R(p_j s) R(-p_j) (R(p_j) k_j)

A model hands its attention queries and keys that are already turned by their positions p. Both
rotations of a pair become one table of cosines and sines, made from the model's own tables: the
inverse is then exact at every length, where the angle of the difference would lose digits.

Post: https://kexue.fm/archives/9708
Axes: B texts, H heads, L tokens, D features of a head, d rotated features
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class FarPair:
    """The map of a model's distances: exact below `window`, growing by `step` beyond it.

    The layers of a model share one, and with it the tables of the last call.

    Args:
        rotary: the model's module that gives cosines and sines of positions.
        turn: the model's function `(q, k, cos, sin) -> (q, k)` that turns queries and keys.
        window: distances below it stay as they are.
        step: what a distance grows by for each token beyond the window.
        training_length: with the factor log n / log training_length on queries, or none.
    """

    rotary: nn.Module
    turn: Callable[..., tuple[Tensor, Tensor]]
    window: int
    step: float
    training_length: int | None
    _held: tuple | None = field(init=False, default=None, compare=False, repr=False)

    def query(self, q: Tensor, positions: Tensor | range) -> Tensor:
        """Turn queries to where far keys expect them.

        Args:
            q: [B, H, L, D] queries as the model turned them.
            positions: [B, L] positions by which it did, or [1, L], or a range of L.

        Returns:
            [B, H, L, D] queries for far keys, in the dtype of `q`.
        """
        return self._turned(q, *self._tables(positions, q)[0])

    def key(self, k: Tensor, positions: Tensor | range) -> Tensor:
        """Turn keys to where far queries expect them; this depends on nothing but the key.

        Args:
            k: [B, K, L, D] keys as the model turned them.
            positions: [B, L] positions by which it did, or [1, L], or a range of L.

        Returns:
            [B, K, L, D] keys for far queries, in the dtype of `k`.
        """
        return self._turned(k, *self._tables(positions, k)[1])

    def _turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        width = 2 * self.rotary.inv_freq.shape[-1]
        part = x[..., :width]
        # The model's function wants keys beside its queries: one head is enough.
        turned = self.turn(part, part[:, :1], cos, sin)[0].to(x.dtype)
        return turned if width == x.shape[-1] else torch.cat((turned, x[..., width:]), -1)

    def _tables(self, positions: Tensor | range, x: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Give cosines and sines [B, L, d] that turn queries and keys from old places to new."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        # All layers ask for the same tables. Those made in inference mode serve no training.
        state = (x.device, dtype, torch.is_inference_mode_enabled(), _mark(self.rotary.inv_freq))
        state = (*state, positions if isinstance(positions, range) else _mark(positions))
        if self._held is None or self._held[0] != state:
            # What the marks name is held too, or another tensor might come to lie in its place.
            held = (self.rotary.inv_freq, positions)
            self._held = (state, self._make(positions, x, dtype), held)
        return self._held[1]

    def _make(
        self, positions: Tensor | range, x: Tensor, dtype: torch.dtype
    ) -> tuple[tuple[Tensor, Tensor], ...]:
        """Make the tables of `_tables`."""
        if isinstance(positions, range):
            positions = torch.arange(positions.start, positions.stop, device=x.device).unsqueeze(0)
        positions = positions.float()
        new_key = positions * self.step
        new_query = new_key + self.window * (1 - self.step)
        every = torch.cat((positions, new_query, new_key), 1)
        cosines, sines = self.rotary(x.new_empty(1, dtype=dtype), every)
        (cos, *new_cosines), (sin, *new_sines) = cosines.chunk(3, 1), sines.chunk(3, 1)
        # YaRN's tables carry a factor, which the model has put on queries and keys once already.
        square = getattr(self.rotary, "attention_scaling", 1.0) ** 2
        return tuple(
            ((c * cos + s * sin) / square, (s * cos - c * sin) / square)
            for c, s in zip(new_cosines, new_sines, strict=True)
        )


def _mark(x: Tensor) -> tuple[int, object]:
    """Name a tensor in its present state; looking at its values would make a GPU wait."""
    # Tensors of inference mode do not count their changes: no mark of theirs equals another.
    return id(x), object() if x.is_inference() else x._version
