"""Train a sentence encoder from texts, from pairs, or from pairs with labels.

Post: https://kexue.fm/archives/8471, https://kexue.fm/archives/8847, https://kexue.fm/archives/7980
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from kexue._check import invalid
from kexue.metrics import collapse_report, spearman
from kexue.models import SentenceConfig, SentenceModel, load_tokenizer
from kexue.tasks.embedding import SentenceEncoder, is_sentence_model
from kexue.tasks.embedding_data import GroupCollator, TextGroup, make_examples
from kexue.tasks.embedding_objectives import FROM_LABELS, FROM_TEXTS, make_objective
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.cached_step import CachedStep
from kexue.training.trainer import TaskTrainer


@dataclass(frozen=True)
class EmbeddingSettings:
    """What is trained; how is said by `TaskTrainingArguments`.

    Args:
        encoder: "mini", or a folder or Hub name of an encoder that AutoModel loads; or a folder of
            a sentence encoder to go on with.
        objective: "simcse", "infonce", "cosent", "sentence-bert", "simsiam" or "byol".
        pooling: "P1" to "P4", see `kexue.sentences.pool`. By default that of a sentence encoder,
            and P3 for an encoder that was not trained for vectors.
        window: most tokens of a piece of a text. By default that of a sentence encoder, and 512.
        dropout: of an encoder that kexue pre-trained, which was done without.
        temperature: what cosines are divided by in "simcse" and "infonce".
        learn_temperature: begin with it, and learn it.
        scale: of "cosent".
        tokens_per_chunk: texts times longest text that go through the encoder at once. It decides
            the memory that training takes, and nothing else.
        patience: stop after so many evaluations without a better correlation; 0 never stops early.

    Example:
        >>> EmbeddingSettings(objective="simcse").temperature
        0.05
    """

    encoder: str = "mini"
    objective: str = "cosent"
    pooling: str | None = None
    window: int | None = None
    dropout: float = 0.1
    temperature: float = 0.05
    learn_temperature: bool = False
    scale: float = 20.0
    tokens_per_chunk: int = 4096
    patience: int = 0


@dataclass(frozen=True)
class EmbeddingRun:
    """A finished training.

    Attributes:
        encoder: with the weights of the best evaluation, or the last ones where there is no
            labelled development set.
        before: figures before training, by name: "spearman" on the development set where it has
            labels, and the spread of the vectors, see `kexue.metrics.collapse_report`.
        after: the same after training.
        longer: training texts that are longer than the window, of which the beginning was seen.
        seconds: duration of the training loop.
    """

    encoder: SentenceEncoder
    before: dict[str, float]
    after: dict[str, float]
    longer: int
    seconds: float


def train_embeddings(
    train: Sequence[TextGroup],
    dev: Sequence[TextGroup],
    *,
    settings: EmbeddingSettings,
    args: TaskTrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
    checkpoint: str | Path | None = None,
    begin: Callable[[], None] = lambda: None,
) -> EmbeddingRun:
    """Train a sentence encoder, keep the evaluation with the best correlation.

    Args:
        train: texts, pairs, or pairs with labels, as the objective wants them.
        dev: pairs with labels to choose by; or none.
        settings: what is trained.
        args: how it is trained; `per_device_train_batch_size` is the effective batch, which costs
            no memory.
        callbacks: for progress and logs.
        checkpoint: a checkpoint folder of the same run to go on from.
        begin: called when all that can be wrong with data and settings has been seen.

    Returns:
        The encoder and its figures.

    Raises:
        ValueError: if the training groups do not suit the objective, or an option does not fit.
    """
    set_seed(args.seed)
    _check_groups(train, settings.objective)
    model, tokenizer = _model(settings, checkpoint)
    columns = 2 if settings.objective != "infonce" else min(len(g.texts) for g in train)
    examples, longer = make_examples(
        train, tokenizer, window=model.config.window, columns=max(2, columns)
    )
    model.objective = make_objective(
        settings.objective,
        model.config.dimension,
        labels=[group.label for group in train if group.label is not None],
        temperature=settings.temperature,
        learn_temperature=settings.learn_temperature,
        scale=settings.scale,
    )
    score = scorer(tokenizer, dev, train)
    before = score(model.eval())
    trainer = TaskTrainer(
        model,
        args,
        add_gradients=CachedStep(
            model.objective,
            tokens_per_chunk=settings.tokens_per_chunk,
            momentum=settings.objective == "byol",
        ),
        train_dataset=examples,
        score=score,
        data_collator=GroupCollator(tokenizer),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    for stock in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(stock)
    if settings.patience:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    begin()
    outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    model.objective = None
    return EmbeddingRun(
        encoder=SentenceEncoder(model, tokenizer),
        before=before,
        after=score(model.eval()),
        longer=longer,
        seconds=outcome.metrics["train_runtime"],
    )


def _check_groups(train: Sequence[TextGroup], objective: str) -> None:
    """Refuse what the objective cannot learn from."""
    if len(train) < 2:
        raise invalid("train", f"{len(train)} examples", "2 or more")
    labelled = all(group.label is not None for group in train)
    if objective in FROM_LABELS and not labelled:
        fix = "Give each pair a number, or take --objective infonce for pairs that mean the same."
        raise invalid("train", "pairs without labels", f"labels for {objective!r}", fix)
    if objective not in (*FROM_LABELS, *FROM_TEXTS) and min(len(g.texts) for g in train) < 2:
        fix = "Take --objective simcse for texts alone."
        raise invalid("train", "texts alone", f"pairs for {objective!r}", fix)


def _model(
    settings: EmbeddingSettings, checkpoint: str | Path | None
) -> tuple[SentenceModel, PreTrainedTokenizerBase]:
    if checkpoint is not None:
        tokenizer = load_tokenizer(checkpoint, local=True)
        return SentenceModel(SentenceConfig.from_pretrained(checkpoint)), tokenizer
    usual = None if is_sentence_model(settings.encoder) else "P3"
    begun = SentenceEncoder.from_pretrained(
        settings.encoder,
        pooling=settings.pooling or usual,
        window=settings.window,
        dropout=settings.dropout,
        device="cpu",
    )
    return begun.model, begun.tokenizer


def scorer(
    tokenizer: PreTrainedTokenizerBase,
    dev: Sequence[TextGroup],
    train: Sequence[TextGroup],
    *,
    most: int = 1000,
) -> Callable[[SentenceModel], dict[str, float]]:
    """Make the function that says how good the vectors of a model are.

    Args:
        tokenizer: of the model.
        dev: pairs with labels; or none.
        train: texts to look at the spread of the vectors where there are no others.
        most: so many texts for the spread.

    Returns:
        A function that gives the correlation, where there are labels, and the spread.
    """
    pairs = [group for group in dev if group.label is not None and len(group.texts) > 1]
    some = sorted({group.texts[0] for group in (dev or train)})[:most]

    def score(model: SentenceModel) -> dict[str, float]:
        encode = SentenceEncoder(model, tokenizer)
        figures = {}
        if pairs:
            first = encode([group.texts[0] for group in pairs], normalize=True)
            second = encode([group.texts[1] for group in pairs], normalize=True)
            cosines = np.einsum("nd,nd->n", first, second)
            figures["spearman"] = spearman(cosines, [group.label for group in pairs])
        spread = collapse_report(torch.from_numpy(encode(some)))
        figures["std"] = spread.std
        figures["effective_rank"] = spread.effective_rank
        figures["mean_cosine"] = spread.mean_cosine
        return figures

    return score
