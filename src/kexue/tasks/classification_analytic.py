"""A linear layer in closed form on the vectors of a frozen encoder: seconds instead of epochs.

Post: https://kexue.fm/archives/8578
Axes: N texts, D hidden size, C labels
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from kexue.models.classifier import ClassifierModel
from kexue.numerics.analytic_logistic import AnalyticLogisticRegression
from kexue.tasks.classification_data import LabelledText
from kexue.tasks.classification_vectors import text_vectors


def fit_head(
    model: ClassifierModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[LabelledText],
    *,
    ridge: float,
    batch_size: int = 32,
) -> AnalyticLogisticRegression:
    """Compute the linear layer of a classifier, without touching its encoder.

    Args:
        model: its layer is changed in place.
        tokenizer: of the model.
        texts: labelled texts; only sums over them are kept, so that any number will do.
        ridge: what is added to the variance of each feature, as a part of it.
        batch_size: pieces of texts that go through the encoder at once.

    Returns:
        The regression, which can learn from more texts.

    Example:
        >>> from kexue.tasks.classification_model import ClassifierSettings, build
        >>> texts = [LabelledText("真好" * n, "long" if n > 4 else "short") for n in range(1, 9)]
        >>> model, tokenizer = build(ClassifierSettings(), ["真好"], ["long", "short"])
        >>> fit_head(model, tokenizer, texts, ridge=0.1).priors_
        array([0.5, 0.5])
    """
    # Beside the encoder the time for sums in double precision is nothing.
    regression = AnalyticLogisticRegression(ridge=ridge, double=True)
    training = model.training
    labels = np.array([label for _, label in texts])
    done = 0
    given = (text for text, _ in texts)
    for vectors in text_vectors(model.eval(), tokenizer, given, batch_size=batch_size):
        regression.partial_fit(vectors, labels[done : done + len(vectors)])
        done += len(vectors)
    layer = regression.as_linear(classes=model.config.labels)
    model.head.load_state_dict(layer.state_dict())
    model.train(training)
    return regression
