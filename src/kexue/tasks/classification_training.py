"""Train a text classifier from labelled texts, by gradient or in closed form."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from kexue._check import invalid
from kexue.metrics.classification import ClassificationScores, classification_scores
from kexue.models import load_tokenizer
from kexue.models.classifier import ClassifierConfig, ClassifierModel
from kexue.tasks.classification import PredictedLabel, TextClassifier
from kexue.tasks.classification_analytic import fit_head
from kexue.tasks.classification_data import LabelledText, check_labels
from kexue.tasks.classification_examples import ExampleCollator, make_examples
from kexue.tasks.classification_model import ClassifierSettings, build
from kexue.training.arguments import TaskTrainingArguments
from kexue.training.trainer import TaskTrainer


@dataclass(frozen=True)
class ClassifierRun:
    """A finished training.

    Attributes:
        classifier: with the weights of the best evaluation, or those of the closed form.
        scores: on the development set.
        predicted: for each development text its label.
        shortened: training texts of which training by gradient did not see all.
        seconds: duration of the training loop, or of features and closed form.
    """

    classifier: TextClassifier
    scores: ClassificationScores
    predicted: list[PredictedLabel]
    shortened: int
    seconds: float


def train_classifier(
    train: Sequence[LabelledText],
    dev: Sequence[LabelledText],
    *,
    settings: ClassifierSettings,
    args: TaskTrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
    checkpoint: str | Path | None = None,
    begin: Callable[[], None] = lambda: None,
) -> ClassifierRun:
    """Train on labelled texts; by gradient, keep the evaluation with the best accuracy.

    Args:
        train: texts, or pairs of texts, with their labels.
        dev: the same, to choose and to measure by.
        settings: what is trained.
        args: how it is trained; of these a closed form uses the device alone.
        callbacks: for progress and logs.
        checkpoint: a checkpoint folder of the same run to go on from.
        begin: called when all that can be wrong with data and settings has been seen.

    Returns:
        The classifier and its figures.

    Raises:
        ValueError: if the labels cannot be learnt, or an option does not fit.
    """
    set_seed(args.seed)
    labels = check_labels(train, dev)
    if not dev:
        raise invalid("dev", "no texts", "labelled texts to measure on")
    model, tokenizer = _model(settings, train, labels, checkpoint)
    by_gradient = settings.head == "softmax"
    if settings.initial_head == "analytic" and by_gradient and checkpoint is None:
        fit_head(model.to(args.device), tokenizer, train, ridge=settings.ridge)
    shortened = 0
    if by_gradient:
        trainer, shortened = _trainer(model, tokenizer, train, dev, settings, args)
        for callback in callbacks:
            trainer.add_callback(callback)
        begin()
        resumed = None if checkpoint is None else str(checkpoint)
        seconds = trainer.train(resume_from_checkpoint=resumed).metrics["train_runtime"]
        model = trainer.model
    else:
        begin()
        start = time.perf_counter()
        fit_head(model.to(args.device), tokenizer, train, ridge=settings.ridge)
        seconds = time.perf_counter() - start
    classifier = TextClassifier(model, tokenizer)
    predicted = label_everywhere(classifier, dev)
    return ClassifierRun(classifier, _scores(dev, predicted), predicted, shortened, seconds)


def label_everywhere(
    classifier: TextClassifier, texts: Sequence[LabelledText]
) -> list[PredictedLabel]:
    """Label texts with each process doing its share; every process gets all of them.

    Args:
        classifier: the classifier.
        texts: the same texts in every process.

    Returns:
        For each text its label.
    """
    state = PartialState()
    mine = range(state.process_index, len(texts), state.num_processes)
    found = classifier([texts[i].text for i in mine])
    if state.num_processes == 1:
        return found
    gathered = dict(gather_object(list(zip(mine, found, strict=True))))
    return [gathered[i] for i in range(len(texts))]


def _scores(
    texts: Sequence[LabelledText], predicted: Sequence[PredictedLabel]
) -> ClassificationScores:
    return classification_scores([t.label for t in texts], [p.label for p in predicted])


def _model(
    settings: ClassifierSettings,
    train: Sequence[LabelledText],
    labels: Sequence[str],
    checkpoint: str | Path | None,
) -> tuple[ClassifierModel, PreTrainedTokenizerBase]:
    if checkpoint is not None:
        tokenizer = load_tokenizer(checkpoint, local=True)
        return ClassifierModel(ClassifierConfig.from_pretrained(checkpoint)), tokenizer
    return build(settings, [text for text, _ in train], labels)


def _trainer(
    model: ClassifierModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[LabelledText],
    dev: Sequence[LabelledText],
    settings: ClassifierSettings,
    args: TaskTrainingArguments,
) -> tuple[TaskTrainer, int]:
    """Make the trainer, and count the texts of which it does not see all."""
    examples, shortened = make_examples(
        train,
        tokenizer,
        labels=model.config.labels,
        window=model.config.window,
        most=settings.training_pieces,
    )

    def score(model: ClassifierModel) -> dict[str, float]:
        return _scores(dev, label_everywhere(TextClassifier(model, tokenizer), dev)).to_dict()

    trainer = TaskTrainer(
        model,
        args,
        train_dataset=examples,
        lengths=[example.tokens for example in examples],
        score=score,
        data_collator=ExampleCollator(tokenizer),
        processing_class=tokenizer,
    )
    for stock in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(stock)
    if settings.patience:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    return trainer, shortened
