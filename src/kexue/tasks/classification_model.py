"""What is trained: an encoder, trained or from scratch, with a linear layer for the labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.models import (
    choose_dropout,
    encoder_place,
    load_encoder,
    load_tokenizer,
    longest_input,
    scratch_encoder,
    scratch_tokenizer,
)
from kexue.models.classifier import ClassifierConfig, ClassifierModel
from kexue.tasks.classification_vectors import Text
from kexue.tasks.ner_model import SCRATCH

HEADS = ("softmax", "analytic")
INITIAL_HEADS = ("random", "analytic")


@dataclass(frozen=True)
class ClassifierSettings:
    """What is trained; how is said by `TaskTrainingArguments`.

    Args:
        encoder: "mini", the encoder that comes with the library; a folder or Hub name that
            AutoModel loads; a folder that kexue trained for another task, whose encoder is taken;
            or "scratch" or "scratch-characters" for a small one with random weights.
        head: "softmax" trains encoder and linear layer by gradient; "analytic" leaves the encoder
            as it is and computes the layer in closed form, see `AnalyticLogisticRegression`.
        initial_head: what "softmax" begins with: "random", or "analytic" for the closed form.
        ridge: of the closed form: what is added to the variance of each feature, as a part of it.
            On `mini` and the article's SENTIMENT 0.01 gave four to five points more than 0 on 500
            texts, and 0.2 (development set) to 0.7 (test set) less on all 16,883.
        pooling: "P1" to "P4", see `kexue.sentences.pool`.
        window: most tokens of a piece of a text; less where the encoder takes less.
        training_pieces: of a text of more pieces training by gradient sees so many, evenly spread;
            everything else sees all.
        layers: layers of an encoder from scratch.
        width: width of an encoder from scratch.
        dropout: dropout of an encoder from scratch, 0.1 by default; or of one that kexue
            pre-trained, which was done without. Others bring their own.
        head_dropout: dropout between the vector and the linear layer.
        vocab_size: most vocabulary entries of an encoder from scratch.
        patience: stop after so many evaluations that are no better; 0 never stops early.

    Raises:
        ValueError: if an option has no such value.

    Example:
        >>> ClassifierSettings(head="analytic").pooling
        'P3'
    """

    encoder: str = "mini"
    head: str = "softmax"
    initial_head: str = "random"
    ridge: float = 0.01
    pooling: str = "P3"
    window: int = 512
    training_pieces: int = 8
    layers: int = 4
    width: int = 256
    dropout: float | None = None
    head_dropout: float = 0.1
    vocab_size: int = 8000
    patience: int = 0

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise invalid("head", self.head, ", ".join(map(repr, HEADS)))
        if self.initial_head not in INITIAL_HEADS:
            raise invalid("initial_head", self.initial_head, ", ".join(map(repr, INITIAL_HEADS)))
        if self.training_pieces < 1:
            raise invalid("training_pieces", self.training_pieces, "1 or more")
        if not self.ridge >= 0:
            raise invalid("ridge", self.ridge, "a number, 0 or more", "0.01 is a small one.")


def build(
    settings: ClassifierSettings, texts: Sequence[Text], labels: Sequence[str]
) -> tuple[ClassifierModel, PreTrainedTokenizerBase]:
    """Make the model that is to be trained.

    Args:
        settings: what to make.
        texts: training texts, for the vocabulary of an encoder from scratch; pairs make a model of
            pairs.
        labels: the labels.

    Returns:
        Model and tokenizer.

    Raises:
        ValueError: if the encoder cannot be loaded or does not suit the pooling, or its tokenizer
            is not a fast one.

    Example:
        >>> model, _ = build(ClassifierSettings(), ["真好"], ["bad", "good"])
        >>> model.config.labels
        ['bad', 'good']
    """
    if settings.encoder in SCRATCH:
        alone = [part for text in texts for part in ([text] if isinstance(text, str) else text)]
        tokenizer = scratch_tokenizer(
            alone,
            unit=SCRATCH[settings.encoder],
            vocab_size=settings.vocab_size,
            max_length=settings.window,
        )
        encoder = scratch_encoder(
            len(tokenizer),
            layers=settings.layers,
            width=settings.width,
            dropout=0.1 if settings.dropout is None else settings.dropout,
        )
    else:
        encoder, tokenizer = _pretrained(settings)
    model = ClassifierModel(
        ClassifierConfig(
            encoder.config,
            pooling=settings.pooling,
            head_dropout=settings.head_dropout,
            window=min(settings.window, tokenizer.model_max_length, longest_input(encoder)),
            pairs=bool(texts) and not isinstance(texts[0], str),
            pad_token_id=tokenizer.pad_token_id,
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
        )
    )
    model.encoder = encoder
    model.check_pooler()
    return model, tokenizer


def _pretrained(settings: ClassifierSettings) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    name, place = settings.encoder, encoder_place(settings.encoder)
    try:
        encoder = load_encoder(place, dropout=settings.dropout, pooler=settings.pooling == "P2")
    except (OSError, ValueError, KeyError) as error:
        raise invalid(
            "encoder",
            name,
            "'mini', a folder or Hub name that AutoModel loads, 'scratch' or 'scratch-characters'",
            f"transformers says: {str(error).strip().splitlines()[0]}",
        ) from error
    # A model of another task of ours has its encoder inside.
    if getattr(encoder.config, "encoder_config", None) is not None and hasattr(encoder, "encoder"):
        encoder = encoder.encoder
        choose_dropout(encoder.config, settings.dropout)
    return encoder, load_tokenizer(place)
