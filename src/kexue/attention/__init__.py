"""Attention: mixed values, as pure functions of tensors [B, H, L, D]."""

from kexue.attention.entropy import count_keys, log_n_scale, post_hoc_log_n_scale
from kexue.attention.linear import linear_attend
from kexue.attention.linear_state import LinearState, attend_linear_state, extend_linear_state
from kexue.attention.performer import (
    orthogonal_projection,
    performer_attend,
    performer_features,
)
from kexue.attention.realformer import residual_attend
from kexue.attention.rerope import rerope_attend
from kexue.attention.softmax import attend

__all__ = [
    "LinearState",
    "attend",
    "attend_linear_state",
    "count_keys",
    "extend_linear_state",
    "linear_attend",
    "log_n_scale",
    "orthogonal_projection",
    "performer_attend",
    "performer_features",
    "post_hoc_log_n_scale",
    "rerope_attend",
    "residual_attend",
]
