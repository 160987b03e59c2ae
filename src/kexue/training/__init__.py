"""What the stock transformers.Trainer lacks."""

from kexue.training.arguments import TaskTrainingArguments
from kexue.training.cached_gradients import cached_backward
from kexue.training.cached_step import CachedStep
from kexue.training.card import EntityCard, write_card
from kexue.training.checkpoints import latest_checkpoint
from kexue.training.classifier_card import ClassifierCard, write_classifier_card
from kexue.training.gather import gather_rows
from kexue.training.log import MetricsLog, read_metrics
from kexue.training.mistakes import worst_mistakes
from kexue.training.progress import progress_callback
from kexue.training.report import RunReport, write_report
from kexue.training.sampler import LengthBucketSampler
from kexue.training.trainer import TaskTrainer

__all__ = [
    "CachedStep",
    "ClassifierCard",
    "EntityCard",
    "LengthBucketSampler",
    "MetricsLog",
    "RunReport",
    "TaskTrainer",
    "TaskTrainingArguments",
    "cached_backward",
    "gather_rows",
    "latest_checkpoint",
    "progress_callback",
    "read_metrics",
    "worst_mistakes",
    "write_card",
    "write_classifier_card",
    "write_report",
]
