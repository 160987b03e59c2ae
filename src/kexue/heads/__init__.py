"""Heads: scores over spans or labels on top of any encoder."""

from kexue.heads.crf import LinearChainCRF
from kexue.heads.decoding import ScoredSpan
from kexue.heads.flat import best_flat
from kexue.heads.global_pointer import EfficientGlobalPointer, GlobalPointer
from kexue.heads.sentence_bert import PairClassifier, pair_features

__all__ = [
    "EfficientGlobalPointer",
    "GlobalPointer",
    "LinearChainCRF",
    "PairClassifier",
    "ScoredSpan",
    "best_flat",
    "pair_features",
]
