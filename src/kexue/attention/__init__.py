"""Attention: mixed values, as pure functions of tensors [B, H, L, D]."""

from kexue.attention.softmax import attend

__all__ = ["attend"]
