"""What is trained: an encoder, trained or from scratch, with a head for the labels at hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.models import (
    EntityConfig,
    EntityModel,
    KexueConfig,
    encoder_place,
    load_encoder,
    load_tokenizer,
    longest_input,
    scratch_encoder,
    scratch_tokenizer,
)
from kexue.tasks.ner_data import LabelledText
from kexue.tasks.ner_examples import Span

SCRATCH = {"scratch": "piece", "scratch-characters": "character"}
SCRATCH_RATE = 6e-4


@dataclass(frozen=True)
class EntitySettings:
    """What is trained; how is said by `TaskTrainingArguments`.

    Args:
        encoder: "mini", the encoder that comes with the library; a folder or Hub name that
            AutoModel loads; or "scratch" or "scratch-characters" for a small one with random
            weights and a vocabulary learnt from the training texts.
        head: "efficient", "standard" or "crf".
        head_size: width of query and key.
        head_dropout: dropout between encoder and head.
        token_dropout: share of tokens that training hides behind the mask token; what is left has
            to tell. By default 0.1 for an encoder from scratch, 0.15 for one that kexue
            pre-trained, which knows the mask token well, and 0 for others.
        window: most tokens of a window; less where the encoder takes less.
        overlap: tokens that neighbouring windows share; a quarter of the window by default.
        layers: layers of an encoder from scratch.
        width: width of an encoder from scratch.
        dropout: dropout of an encoder from scratch, 0.1 by default; or of one that kexue
            pre-trained, which was done without and is best fine-tuned without (on CLUENER 0.2 cost
            `mini` five points of F1). Others bring their own.
        vocab_size: most vocabulary entries of an encoder from scratch.
        flat: find only entities that do not overlap; by default if fewer than one in a thousand of
            the training entities overlap another.
        patience: stop after so many evaluations without a better F1; 0 never stops early.
        calibrate: choose a threshold for each type on the development set.

    Example:
        >>> EntitySettings(head="crf").window
        512
    """

    encoder: str = "mini"
    head: str = "efficient"
    head_size: int = 64
    head_dropout: float = 0.1
    token_dropout: float | None = None
    window: int = 512
    overlap: int | None = None
    layers: int = 4
    width: int = 256
    dropout: float | None = None
    vocab_size: int = 8000
    flat: bool | None = None
    patience: int = 0
    calibrate: bool = True


def label_set(*parts: Sequence[LabelledText]) -> list[str]:
    """List the labels of some labelled texts.

    Args:
        parts: training set, development set, ...

    Returns:
        The labels, sorted.

    Raises:
        ValueError: if there is none.

    Example:
        >>> label_set([("北京", [(0, 2, "place")])])
        ['place']
    """
    labels = sorted({label for part in parts for _, spans in part for _, _, label in spans})
    if not labels:
        raise invalid(
            "train", "texts without entities", "texts with at least one entity", "See docs/data.md."
        )
    return labels


def rarely_overlap(gold: Sequence[Sequence[Span]]) -> bool:
    """Say whether fewer than one in a thousand entities overlap another one of their text.

    Args:
        gold: for each text its (start, end, label).

    Returns:
        True also where there are no entities.

    Example:
        >>> rarely_overlap([[(0, 2, "place"), (2, 4, "name")]]), rarely_overlap([[(0, 2, "place"),
        ...     (0, 4, "name")]])
        (True, False)
    """
    total = overlapping = 0
    for spans in gold:
        distinct = set(spans)
        total += len(distinct)
        overlapping += sum(
            any(one != other and one[0] < other[1] and other[0] < one[1] for other in distinct)
            for one in distinct
        )
    return 1000 * overlapping < total or not total


def build(
    settings: EntitySettings, texts: Sequence[str], labels: Sequence[str]
) -> tuple[EntityModel, PreTrainedTokenizerBase]:
    """Make the model that is to be trained.

    Args:
        settings: what to make.
        texts: training texts, for the vocabulary of an encoder from scratch.
        labels: entity types.

    Returns:
        Model and tokenizer.

    Raises:
        ValueError: if the encoder cannot be loaded, or its tokenizer is not a fast one.

    Example:
        >>> model, _ = build(EntitySettings(), ["他在北京"], ["place"])
        >>> model.config.labels
        ['place']
    """
    if settings.encoder in SCRATCH:
        tokenizer = scratch_tokenizer(
            texts,
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
        hidden = 0.1
    else:
        encoder, tokenizer = _pretrained(settings.encoder, settings.dropout)
        hidden = 0.15 if isinstance(encoder.config, KexueConfig) else 0.0
    window = min(settings.window, tokenizer.model_max_length, longest_input(encoder))
    overlap = window // 4 if settings.overlap is None else settings.overlap
    if settings.token_dropout is not None:
        hidden = settings.token_dropout
    config = EntityConfig(
        encoder.config,
        head=settings.head,
        head_size=settings.head_size,
        head_dropout=settings.head_dropout,
        token_dropout=hidden,
        mask_token_id=tokenizer.mask_token_id,
        window=window,
        overlap=overlap,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={label: kind for kind, label in enumerate(labels)},
    )
    model = EntityModel(config)
    model.encoder = encoder
    return model, tokenizer


def _pretrained(
    name: str, dropout: float | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        encoder = load_encoder(encoder_place(name), dropout=dropout)
    except (OSError, ValueError, KeyError) as error:
        raise invalid(
            "encoder",
            name,
            "'mini', a folder or Hub name that AutoModel loads, 'scratch' or 'scratch-characters'",
            f"transformers says: {str(error).strip().splitlines()[0]}",
        ) from error
    return encoder, load_tokenizer(encoder_place(name))
