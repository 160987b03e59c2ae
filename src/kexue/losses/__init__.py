"""Losses: a scalar to minimise, as pure functions of tensors."""

from kexue.losses.contrastive import info_nce, symmetric_info_nce
from kexue.losses.cosent import cosent_loss
from kexue.losses.multilabel import multilabel_loss, sparse_multilabel_loss
from kexue.losses.simsiam import simsiam_loss

__all__ = [
    "cosent_loss",
    "info_nce",
    "multilabel_loss",
    "simsiam_loss",
    "sparse_multilabel_loss",
    "symmetric_info_nce",
]
