"""Losses: a scalar to minimise, as pure functions of tensors."""

from kexue.losses.multilabel import multilabel_loss, sparse_multilabel_loss

__all__ = ["multilabel_loss", "sparse_multilabel_loss"]
