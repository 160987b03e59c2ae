"""Train an entity recogniser from labelled texts: encoder, windows, thresholds, figures.

Post: https://kexue.fm/archives/8373, https://kexue.fm/archives/8877
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import EarlyStoppingCallback, TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from kexue.metrics import SpanScores, span_scores
from kexue.models import EntityConfig, EntityModel, load_tokenizer
from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_data import LabelledText
from kexue.tasks.ner_decoding import find_everywhere
from kexue.tasks.ner_examples import Collator, Unlearnable, make_examples
from kexue.tasks.ner_model import EntitySettings, build, label_set, rarely_overlap
from kexue.tasks.ner_thresholds import measure
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.trainer import TaskTrainer


@dataclass(frozen=True)
class EntityRun:
    """A finished training.

    Attributes:
        recognizer: with the weights of the best epoch and its thresholds.
        scores: on the development set at threshold 0.
        calibrated: with thresholds chosen on the other half of the development set, twice; None
            without calibration. This is what the saved thresholds can be expected to give.
        predicted: for each development text (start, end, label, logit) at the saved thresholds.
        unlearnable: gold entities that no window can hold, for "train" and "dev".
        windows: number of training windows.
        seconds: duration of the training loop.
    """

    recognizer: EntityRecognizer
    scores: SpanScores
    calibrated: SpanScores | None
    predicted: list[list[tuple[int, int, str, float]]]
    unlearnable: dict[str, list[Unlearnable]]
    windows: int
    seconds: float


def train_entities(
    train: Sequence[LabelledText],
    dev: Sequence[LabelledText],
    *,
    settings: EntitySettings,
    args: TaskTrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
    checkpoint: str | Path | None = None,
    begin: Callable[[], None] = lambda: None,
) -> EntityRun:
    """Train on labelled texts, keep the epoch with the best F1, calibrate.

    Args:
        train: (text, spans) with (start, end, label) in characters, end exclusive.
        dev: the same, for the choice of epoch and thresholds.
        settings: what is trained.
        args: how it is trained.
        callbacks: for progress and logs.
        checkpoint: a checkpoint folder of the same run to go on from.
        begin: called when all that can be wrong with data and settings has been seen.

    Returns:
        The recogniser and its figures.

    Raises:
        ValueError: if there is nothing to learn, or an option does not fit.
    """
    set_seed(args.seed)
    labels = label_set(train, dev)
    texts, gold = [text for text, _ in train], [spans for _, spans in train]
    if checkpoint is None:
        model, tokenizer = build(settings, texts, labels)
        flat = settings.flat
        model.config.flat = rarely_overlap(gold) if flat is None else flat
    else:
        tokenizer = load_tokenizer(checkpoint, local=True)
        model = EntityModel(EntityConfig.from_pretrained(checkpoint))
    config = model.config
    cut = {"labels": config.labels, "window": config.window, "overlap": config.overlap}
    examples, unlearnable = make_examples(texts, gold, tokenizer, **cut)
    dev_texts, dev_gold = [text for text, _ in dev], [spans for _, spans in dev]
    _, dev_unlearnable = make_examples(dev_texts, dev_gold, tokenizer, **cut)

    def score(model: EntityModel) -> dict[str, float]:
        found = find_everywhere(model, tokenizer, dev_texts)
        return span_scores(dev_gold, [[s[:3] for s in spans] for spans in found]).to_dict()

    trainer = TaskTrainer(
        model,
        args,
        train_dataset=examples,
        lengths=[len(example.input_ids) for example in examples],
        score=score if dev else None,
        data_collator=Collator(tokenizer),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    for stock in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(stock)
    if settings.patience:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    begin()
    outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    recognizer = EntityRecognizer(trainer.model, tokenizer)
    scores, calibrated = measure(recognizer, dev_texts, dev_gold, calibrate=settings.calibrate)
    return EntityRun(
        recognizer=recognizer,
        scores=scores,
        calibrated=calibrated,
        predicted=find_everywhere(recognizer.model, tokenizer, dev_texts),
        unlearnable={"train": unlearnable, "dev": dev_unlearnable},
        windows=len(examples),
        seconds=outcome.metrics["train_runtime"],
    )
