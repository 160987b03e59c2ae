"""Heads: scores over spans or labels on top of any encoder."""

from kexue.heads.decoding import ScoredSpan
from kexue.heads.global_pointer import EfficientGlobalPointer, GlobalPointer

__all__ = ["EfficientGlobalPointer", "GlobalPointer", "ScoredSpan"]
