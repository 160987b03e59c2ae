"""Which token may see which.

Post: https://kexue.fm/archives/6933 (UniLM)
Axes: B texts, L tokens
"""

import torch
from torch import Tensor


def visible(
    kind: str, attention_mask: Tensor | None, segments: Tensor | None, hidden: Tensor
) -> Tensor | None:
    """Build the mask of attention, as small as it can be.

    Args:
        kind: "bidirectional", "causal" or "unilm".
        attention_mask: [B, L] 1 = a token, 0 = padding; or [B, L, L] which query sees which key,
            which is taken together with `kind`.
        segments: [B, L] 0 for tokens that see each other, 1 for those that see what is before;
            without them "unilm" is "causal".
        hidden: [B, L, ...], for length and device.

    Returns:
        bool, broadcast to [B, 1, L, L], True = visible; None where everything is.
    """
    keep = None
    if attention_mask is not None:
        keep = attention_mask.bool()
        keep = keep[:, None, None] if keep.ndim == 2 else keep[:, None]
    if kind == "bidirectional":
        return keep
    if kind == "causal" or segments is None:
        length = hidden.shape[1]
        order = torch.ones(length, length, dtype=torch.bool, device=hidden.device).tril()
    else:
        depth = segments.cumsum(1)
        order = (depth[:, None] <= depth[:, :, None])[:, None]
    return order if keep is None else keep & order
