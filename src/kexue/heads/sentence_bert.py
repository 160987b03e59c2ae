"""Sentence-BERT: two vectors and their difference, classified.

    scores = W [u; v; |u - v|]

Training looks at all three parts, while later only cos(u, v) is used; the part |u - v| is what
makes near texts near. CoSENT (`kexue.losses.cosent_loss`) trains the cosine itself instead.

Post: https://kexue.fm/archives/8847
Paper: https://arxiv.org/abs/1908.10084, section 3
Axes: "..." any batch axes, D features of a sentence, C labels
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue._check import invalid


def pair_features(u: Tensor, v: Tensor) -> Tensor:
    """Put two sentence vectors and the size of their difference side by side.

    Args:
        u: [..., D] vectors of the first sentences.
        v: [..., D] vectors of the second ones.

    Returns:
        [..., 3 D], the dtype of `u`.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> pair_features(torch.tensor([1.0]), torch.tensor([3.0]))
        tensor([1., 3., 2.])
    """
    if u.shape != v.shape:
        raise invalid("v", tuple(v.shape), f"the shape of u {tuple(u.shape)}")
    return torch.cat((u, v, (u - v).abs()), -1)


class PairClassifier(nn.Module):
    """Score the labels of pairs of sentences from their vectors.

    Args:
        hidden_size: D, the width of a sentence vector.
        num_labels: C, as 3 for contradiction, entailment and neutral.
        bias: give each label a bias of its own; the paper has none.

    Example:
        >>> head = PairClassifier(8, 3)
        >>> head(torch.zeros(2, 8), torch.zeros(2, 8))
        tensor([[0., 0., 0.], [0., 0., 0.]], grad_fn=...)
    """

    def __init__(self, hidden_size: int, num_labels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.score = nn.Linear(3 * hidden_size, num_labels, bias=bias)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Score each label.

        Args:
            u: [..., D] vectors of the first sentences.
            v: [..., D] vectors of the second ones.

        Returns:
            [..., C] logits.
        """
        return self.score(pair_features(u, v))

    def loss(self, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy of the right labels.

        Args:
            u: [B, D] vectors of the first sentences.
            v: [B, D] vectors of the second ones.
            labels: [B] 0 to C - 1; -100 is left out.

        Returns:
            The mean, a scalar, float32 for half precision.
        """
        scores = self(u, v)
        exact = torch.promote_types(scores.dtype, torch.float32)
        return F.cross_entropy(scores.to(exact), labels)
