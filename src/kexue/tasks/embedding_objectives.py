"""What sentence vectors are trained towards.

    simcse         the vectors of one text under two dropouts are near, those of others are far
    infonce        so are those of the two texts of a pair; a third text is far from the first
    cosent         cosines are in the order of the labels
    sentence-bert  the label follows from [u; v; |u - v|]
    simsiam        a predictor finds the vector of the other view; nothing is pushed apart
    byol           the same with a running average of the encoder as the target

Post: https://kexue.fm/archives/8471, https://kexue.fm/archives/8847 (CoSENT),
    https://kexue.fm/archives/7980 (SimSiam)
Axes: B texts or pairs, D features of a vector
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue._check import invalid
from kexue.heads.sentence_bert import PairClassifier
from kexue.losses import cosent_loss, info_nce, simsiam_loss

# Those that learn from texts alone, from pairs that mean the same, and from pairs with a label.
FROM_TEXTS = ("simcse", "simsiam", "byol")
FROM_PAIRS = ("infonce",)
FROM_LABELS = ("cosent", "sentence-bert")
OBJECTIVES = (*FROM_TEXTS, *FROM_PAIRS, *FROM_LABELS)


class Contrast(nn.Module):
    """InfoNCE between the first two columns; a third one holds hard negatives.

    Args:
        temperature: what cosines are divided by.
        learn_temperature: begin with it, and learn it.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> u = torch.eye(3)
        >>> Contrast(temperature=1.0)([u, u], {})
        tensor(0.5514)
    """

    def __init__(self, *, temperature: float = 0.05, learn_temperature: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise invalid("temperature", temperature, "a positive number, such as 0.05")
        logarithm = torch.tensor(float(temperature)).log()
        self.log_temperature = nn.Parameter(logarithm, requires_grad=learn_temperature)

    def forward(self, vectors: Sequence[Tensor], batch: Mapping[str, Any]) -> Tensor:
        """Compute the loss.

        Args:
            vectors: two or three times [B, D].
            batch: where texts repeat, "ids" [B, columns], equal for equal texts.

        Returns:
            A scalar.
        """
        queries, keys = vectors[0], torch.cat([*vectors[1:]])
        same = None
        if "ids" in batch:
            ids = batch["ids"]
            other = ids[:, 1:].T.flatten()
            # A key is no negative if it is the query's own text, or the text of its positive.
            same = (ids[:, :1] == other) | (ids[:, 1:2] == other)
        return info_nce(queries, keys, temperature=self.log_temperature.exp(), same=same)


class OrderCosines(nn.Module):
    """CoSENT: pairs with a higher label get a higher cosine.

    Args:
        scale: the larger, the more the worst pairs count.

    Raises:
        ValueError: if the scale is not positive.

    Example:
        >>> u, v = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> OrderCosines()([u, v], {"labels": torch.tensor([1.0, 0.0])})
        tensor(0.)
    """

    def __init__(self, *, scale: float = 20.0) -> None:
        super().__init__()
        if not scale > 0:
            raise invalid("scale", scale, "a positive number, such as 20")
        self.scale = scale

    def forward(self, vectors: Sequence[Tensor], batch: Mapping[str, Any]) -> Tensor:
        """Compute the loss.

        Args:
            vectors: two times [B, D].
            batch: "labels" [B].

        Returns:
            A scalar.
        """
        cosines = F.cosine_similarity(vectors[0].float(), vectors[1].float())
        return cosent_loss(cosines, batch["labels"], scale=self.scale)


class Classify(nn.Module):
    """Sentence-BERT: the label is read off the two vectors and their difference.

    Args:
        dimension: D.
        labels: the different labels, in order.

    Example:
        >>> classify = Classify(2, [0.0, 1.0])
        >>> u = torch.eye(2)
        >>> classify([u, u], {"labels": torch.tensor([1.0, 0.0])}).shape
        torch.Size([])
    """

    def __init__(self, dimension: int, labels: Sequence[float]) -> None:
        super().__init__()
        self.head = PairClassifier(dimension, len(labels))
        self.register_buffer("labels", torch.tensor(sorted(labels)), persistent=False)

    def forward(self, vectors: Sequence[Tensor], batch: Mapping[str, Any]) -> Tensor:
        """Compute the loss.

        Args:
            vectors: two times [B, D].
            batch: "labels" [B].

        Returns:
            A scalar.
        """
        kinds = torch.searchsorted(self.labels, batch["labels"].contiguous())
        return self.head.loss(vectors[0], vectors[1], kinds)


class Predict(nn.Module):
    """SimSiam, or BYOL where the batch brings targets: predict the vector of the other view.

    Args:
        dimension: D.

    Example:
        >>> Predict(4)([torch.rand(8, 4), torch.rand(8, 4)], {}).shape
        torch.Size([])
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        inner = max(1, dimension // 4)
        # Batch statistics are those of the whole batch here, behind the encoder.
        self.predictor = nn.Sequential(
            nn.Linear(dimension, inner, bias=False),
            nn.BatchNorm1d(inner),
            nn.ReLU(),
            nn.Linear(inner, dimension),
        )

    def forward(self, vectors: Sequence[Tensor], batch: Mapping[str, Any]) -> Tensor:
        """Compute the loss.

        Args:
            vectors: two times [B, D].
            batch: "targets", two times [B, D], for BYOL.

        Returns:
            A scalar, from -1 to 1.
        """
        one, two = (self.predictor(view.float()) for view in vectors)
        first, second = batch.get("targets", vectors)
        return (simsiam_loss(one, second) + simsiam_loss(two, first)) / 2


def make_objective(
    name: str,
    dimension: int,
    *,
    labels: Sequence[float] = (),
    temperature: float = 0.05,
    learn_temperature: bool = False,
    scale: float = 20.0,
) -> nn.Module:
    """Make what vectors are trained towards.

    Args:
        name: one of `OBJECTIVES`.
        dimension: D.
        labels: of the training pairs, for "sentence-bert".
        temperature: for "simcse" and "infonce".
        learn_temperature: learn it.
        scale: for "cosent".

    Returns:
        A module that makes a scalar of vectors and a batch.

    Raises:
        ValueError: if there is no such objective, or its labels do not do.

    Example:
        >>> type(make_objective("cosent", 8)).__name__
        'OrderCosines'
    """
    if name not in OBJECTIVES:
        raise invalid("objective", name, ", ".join(map(repr, OBJECTIVES)))
    if name in ("simcse", "infonce"):
        return Contrast(temperature=temperature, learn_temperature=learn_temperature)
    if name == "cosent":
        return OrderCosines(scale=scale)
    if name in ("simsiam", "byol"):
        return Predict(dimension)
    kinds = sorted(set(labels))
    if not 2 <= len(kinds) <= 100:
        fix = "For scores without steps take --objective cosent."
        raise invalid("the labels", f"{len(kinds)} different ones", "2 to 100 to classify", fix)
    return Classify(dimension, kinds)
