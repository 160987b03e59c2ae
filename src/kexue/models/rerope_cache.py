"""A key-value cache that keeps each key twice, so that a step of decoding turns only its own token.

A far key depends on nothing but the key and its place, so it is made once, when the token comes,
and kept beside the key that the model turned. The tensors have room for tokens to come: a step
writes one row instead of copying the cache.

Post: https://kexue.fm/archives/9708
Axes: B texts, K heads of keys and values, S tokens so far, L new tokens, D features of a head
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, StaticLayer

from kexue.models.rerope_pair import FarPair

_TRAINING = (
    "A model with ReRoPE is in training mode. Trained with these distances it loses what lets it "
    "read longer texts: train it with plain RoPE (remove_rerope), or with step > 1 (Inverse Leaky "
    "ReRoPE); use model.eval() to read."
)


class TwoKeyLayer(DynamicLayer):
    """The cache of one layer: keys [B, 2 K, S, D], near and far in turns, and values [B, K, S, D].

    Args:
        pair: how the layer makes a far key.
    """

    def __init__(self, pair: FarPair) -> None:
        super().__init__()
        self.pair = pair
        self.rooms = (_Room(), _Room())

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_options: object
    ) -> tuple[Tensor, Tensor]:
        """Add new tokens and give all keys and values so far.

        Args:
            key_states: [B, K, L, D] new keys as the model turned them.
            value_states: [B, K, L, D] new values.

        Returns:
            Near and far keys in turns, [B, 2 K, S + L, D], and the values [B, K, S + L, D].
        """
        seen = self.get_seq_length()
        far = self.pair.key(key_states, range(seen, seen + key_states.shape[2]))
        both = torch.stack((key_states, far), 2).flatten(1, 2)
        if both.requires_grad or value_states.requires_grad:
            return super().update(both, value_states)
        if not self.is_initialized:
            self.lazy_initialization(both, value_states)
        self.keys = self.rooms[0].append(self.keys, both)
        self.values = self.rooms[1].append(self.values, value_states)
        return self.keys, self.values


@dataclass
class _Room:
    """A tensor with free rows at its end, of which the first `filled` are taken."""

    tensor: Tensor | None = None
    filled: int = 0

    def append(self, held: Tensor, new: Tensor) -> Tensor:
        """Write new rows behind the held ones, which lie here unless something replaced them."""
        seen = held.shape[-2] if held.numel() else 0
        stop = seen + new.shape[-2]
        if not self._holds(held, seen) or stop > self.tensor.shape[-2]:
            rows = stop + max(128, stop // 8)
            self.tensor = new.new_empty(*new.shape[:2], rows, new.shape[3])
            if seen:
                self.tensor[:, :, :seen] = held
        self.tensor[:, :, seen:stop] = new
        self.filled = stop
        return self.tensor[:, :, :stop]

    def _holds(self, held: Tensor, seen: int) -> bool:
        # After a crop, rows behind the held ones may still be read through an older view; after a
        # reordering or an offload the held rows lie elsewhere.
        return (
            self.tensor is not None
            and self.filled == seen
            and held.data_ptr() == self.tensor.data_ptr()
            and held.shape[:2] == self.tensor.shape[:2]
            and torch.is_inference_mode_enabled() >= self.tensor.is_inference()
        )


def rerope_cache(model: PreTrainedModel) -> DynamicCache:
    """Make an empty cache with two keys a token for a model with ReRoPE.

    There is no need for it with `generate` or a call with `use_cache=True`: they get this cache by
    themselves.

    Args:
        model: a model that `apply_rerope` was called on.

    Returns:
        A cache to give as `past_key_values`.

    Raises:
        ValueError: if the model has no ReRoPE.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> rerope_cache(LlamaModel(LlamaConfig(num_hidden_layers=0)))
        Traceback (most recent call last):
        ValueError: LlamaModel has no ReRoPE; call apply_rerope(model, window=...) first.
    """
    pairs = [module.rerope for module in model.modules() if hasattr(module, "rerope")]
    if not pairs:
        name = type(model).__name__
        raise ValueError(f"{name} has no ReRoPE; call apply_rerope(model, window=...) first.")
    cache = DynamicCache(config=model.config)
    cache.layers = [TwoKeyLayer(pair) for pair in pairs]
    return cache


def before_call(model: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """Exchange an empty cache for one with two keys; a hook before each call of the inner model.

    Args:
        model: the inner model, whose hook this is.
        args: positional arguments of its call.
        kwargs: named arguments of its call.

    Returns:
        The arguments with the cache, or None where nothing is to be done.

    Raises:
        ValueError: if a static cache is given.
    """
    pair = next(module.rerope for module in model.modules() if hasattr(module, "rerope"))
    if model.training and pair.step < 1:
        warnings.warn(_TRAINING, stacklevel=2)
    cache = kwargs.get("past_key_values")
    layers = getattr(cache, "layers", [])
    if any(isinstance(layer, StaticLayer) for layer in layers):
        raise ValueError(
            "A static cache was given to a model with ReRoPE, which cannot tell its free slots "
            "from tokens; leave cache_implementation away, or give rerope_cache(model)."
        )
    # A training step makes a cache by default, and nobody reads it.
    if model.training or pair.step > 1:
        return None
    if cache is None:
        wanted = kwargs.get("use_cache")
        wanted = model.config.use_cache if wanted is None else wanted
        return (args, {**kwargs, "past_key_values": rerope_cache(model)}) if wanted else None
    empty = all(type(layer) is DynamicLayer and not layer.is_initialized for layer in layers)
    if type(cache) is DynamicCache and empty:
        cache.layers = rerope_cache(model).layers
        cache.layer_class_to_replicate = None
    return None
