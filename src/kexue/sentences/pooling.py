"""Pooling: one vector for a text from the hidden states of an encoder, in the article's four ways.

    P1  the first token of the last layer
    P2  a linear map of P1, BERT's pooler without its tanh
    P3  the mean over the last layer
    P4  (the mean over the first block's output + the mean over the last one's) / 2

Means are over all tokens that are not padding, [CLS] and [SEP] among them. The first layer of P4 is
the output of the first block, `hidden_states[1]`, not the embeddings.

Post: https://kexue.fm/archives/8321
Axes: B texts, L tokens, D features, E features after the pooler
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kexue._check import invalid


def pool(
    hidden_states: Sequence[Tensor],
    mask: Tensor,
    *,
    how: str,
    pooler: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Make one vector of each text.

    Args:
        hidden_states: [B, L, D] each, the embeddings first and then every block, as a model of
            transformers gives them with `output_hidden_states=True`. All but "P4" read the last
            one only.
        mask: [B, L], 1 or True = keep, 0 = padding, on either side of the text.
        how: "P1", "P2", "P3" or "P4"; the article does best with P4 on a plain language model and
            with P1 on a model trained for similarity.
        pooler: [B, D] to [B, E] for "P2", linear and without tanh; of a BERT of transformers it is
            `model.pooler.dense`, not `model.pooler`.

    Returns:
        [B, D] ([B, E] for "P2") in the dtype of the states, means of half precision summed in
        float32. 0 for a text that is all padding.

    Raises:
        ValueError: if `how` is unknown, "P2" has no pooler, the shapes do not fit, or there are
            fewer states than "P4" needs.

    Example:
        >>> states = (torch.zeros(1, 3, 2), torch.ones(1, 3, 2), torch.full((1, 3, 2), 4.0))
        >>> pool(states, torch.tensor([[1, 1, 0]]), how="P4")
        tensor([[2.5000, 2.5000]])
    """
    if how not in ("P1", "P2", "P3", "P4"):
        raise invalid("how", how, "'P1', 'P2', 'P3' or 'P4'")
    _check(hidden_states, mask, how, pooler)
    keep = mask != 0
    last = hidden_states[-1]
    if how == "P3":
        return _mean(last, keep)
    if how == "P4":
        return (_mean(hidden_states[1], keep) + _mean(last, keep)) / 2
    # Not token 0, which is padding in a batch that is padded on the left
    first = keep.to(torch.uint8).argmax(1)
    pooled = last[torch.arange(len(last), device=last.device), first]
    if pooler is not None and how == "P2":
        pooled = pooler(pooled)
    return torch.where(keep.any(1, keepdim=True), pooled, 0)


def _mean(hidden: Tensor, keep: Tensor) -> Tensor:
    """Average the tokens that are kept; what padding holds, NaN even, has no part in it."""
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    total = torch.where(keep.unsqueeze(-1), hidden, 0).sum(1, dtype=dtype)
    return (total / keep.sum(1, keepdim=True).clamp_min(1)).to(hidden.dtype)


def _check(hidden_states: Sequence[Tensor], mask: Tensor, how: str, pooler: object) -> None:
    if isinstance(hidden_states, Tensor) or not len(hidden_states):
        given = "one tensor" if isinstance(hidden_states, Tensor) else "empty"
        fix = "Call the model with output_hidden_states=True and give its .hidden_states."
        raise invalid("hidden_states", given, "a tuple or list of [B, L, D]", fix)
    shape = hidden_states[-1].shape
    if len(shape) != 3:
        raise invalid("hidden_states[-1]", tuple(shape), "[B, L, D]")
    if mask.shape != shape[:2]:
        fix = "Give the attention_mask of the tokenizer."
        raise invalid(
            "mask", tuple(mask.shape), f"the [B, L] of the states, {tuple(shape[:2])}", fix
        )
    if how == "P4" and len(hidden_states) < 2:
        fix = "Call the model with output_hidden_states=True, or take how='P3'."
        raise invalid("hidden_states", "one state", "the embeddings and every block for P4", fix)
    if how == "P2" and not callable(pooler):
        fix = "Give pooler=model.pooler.dense, or take how='P1' for a model without a pooler."
        raise invalid("pooler", pooler, "a linear map of the first token for P2", fix)
