"""Compare the installed ReRoPE with its definition, on a short input, layer by layer.

    score_ij = <R(g(i - j)) q_i, R(0) k_j>,      g(r) = rerope_distance(r)

The model itself makes the queries and keys of the definition: its attention is run once for every
distance, with all tokens at that position. So neither the re-turned keys nor the split into near
and far has a part in what the installed attention is compared with.

Post: https://kexue.fm/archives/9708
Axes: H heads, L tokens, D features of a head
"""

import dataclasses

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kexue.attention.entropy import post_hoc_log_n_scale
from kexue.models.rerope_pair import FarPair
from kexue.positions.rerope import rerope_distance

# Long enough for near, far and first tokens, and as short as many passes per layer should be.
_LENGTH, _WINDOW = 14, 5


@torch.no_grad()
def check_rerope(model: PreTrainedModel) -> float:
    """Compare the attention of every layer with the definition, on random input.

    The check takes a small window in place of the model's, for as long as it runs.

    Args:
        model: a model that `apply_rerope` was called on.

    Returns:
        The largest deviation of any mixed value, relative to the largest value.

    Raises:
        ValueError: if the model has no ReRoPE, or a layer deviates by more than its number format
            explains.

    Example:
        >>> from kexue.models.rerope import apply_rerope
        >>> from transformers import LlamaConfig, LlamaModel
        >>> config = LlamaConfig(
        ...     num_hidden_layers=1, hidden_size=16, intermediate_size=16, vocab_size=9,
        ...     num_attention_heads=2,
        ... )
        >>> model = LlamaModel(config)
        >>> apply_rerope(model, window=4)
        >>> check_rerope(model) < 1e-4
        True
    """
    layers = [(name, m) for name, m in model.named_modules() if hasattr(m, "rerope")]
    if not layers:
        name = type(model).__name__
        raise ValueError(f"{name} has no ReRoPE; call apply_rerope(model, window=...) first.")
    worst = 0.0
    for name, module in layers:
        weight = next(module.parameters())
        # Rounding of queries and keys moves scores, and with them the mixture.
        allowed = 1e-3 if weight.dtype.itemsize >= 4 else 0.1
        deviation = _deviation(module, model.config.hidden_size)
        if not deviation <= allowed:
            raise ValueError(
                f"ReRoPE in {name} of {type(model).__name__} deviates from its definition by "
                f"{deviation:.2g} of the largest value; {allowed:g} is rounding. Call "
                "remove_rerope(model): this model turns its queries and keys in a way of its own."
            )
        worst = max(worst, deviation)
    return worst


def _deviation(module: nn.Module, width: int) -> float:
    """Compare one layer with the definition."""
    pair, training = module.rerope, module.training
    weight = next(module.parameters())
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, _LENGTH, width, generator=generator).to(weight)
    module.rerope = dataclasses.replace(pair, window=_WINDOW)
    # Inverse Leaky ReRoPE is in force in training alone.
    module.training = pair.step > 1
    try:
        # With scores of a usual spread, so that a wrong one shows.
        q, k = (x.double() for x in _run(module, hidden, hidden.new_zeros(1, _LENGTH))[:2])
        spread = (q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).mT).std()
        hidden = hidden * float((3 * q.shape[-1] ** 0.5 / spread).sqrt().clamp(1e-3, 1e3))
        expected = _definition(module, hidden)
        places = torch.arange(_LENGTH, device=hidden.device).unsqueeze(0)
        found = _run(module, hidden, places)[3]
    finally:
        module.rerope, module.training = pair, training
    return float((found.double() - expected).abs().max() / expected.abs().max())


def _definition(module: nn.Module, hidden: Tensor) -> Tensor:
    """Mix [1, L, H, D] values by scores that are taken one distance at a time."""
    pair: FarPair = module.rerope
    place = torch.arange(_LENGTH, device=hidden.device)
    r = place.unsqueeze(-1) - place
    zero = hidden.new_zeros(1, _LENGTH, dtype=torch.float32)
    _, k, v, _, scaling = _run(module, hidden, zero)
    scores = torch.full((1, 1, _LENGTH, _LENGTH), -torch.inf, device=hidden.device).double()
    for distance in range(_LENGTH):
        shown = rerope_distance(torch.tensor(distance), window=pair.window, step=pair.step)
        q = _run(module, hidden, zero + shown.to(zero))[0].double()
        keys = k.double().repeat_interleave(q.shape[1] // k.shape[1], 1)
        scores = torch.where(r == distance, q @ keys.mT * scaling, scores)
    if pair.training_length is not None:
        factor = post_hoc_log_n_scale(place + 1, training_length=pair.training_length)
        scores = scores * factor.unsqueeze(-1)
    values = v.double().repeat_interleave(scores.shape[1] // v.shape[1], 1)
    return (scores.softmax(-1) @ values).transpose(1, 2)


def _run(module: nn.Module, hidden: Tensor, positions: Tensor) -> tuple:
    """Run an attention module with tokens at these positions, and see what its attention saw."""
    probe: list[tuple] = []
    tables = module.rerope.rotary(hidden, positions)
    options = {"position_embeddings": tables, "attention_mask": None, "rerope_probe": probe}
    module(hidden_states=hidden, **options)
    if not probe:
        raise ValueError(
            f"{type(module).__name__} hands no options to its attention, so that ReRoPE in it "
            "cannot be checked; call remove_rerope(model)."
        )
    return probe[0]
