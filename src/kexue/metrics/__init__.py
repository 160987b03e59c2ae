"""Scores of what was found, and of how vectors spread, as pure functions."""

from kexue.metrics.classification import ClassificationScores, classification_scores
from kexue.metrics.collapse import CollapseReport, alignment, collapse_report, uniformity
from kexue.metrics.spans import LabelScore, SpanScores, span_scores
from kexue.metrics.spearman import average_ranks, spearman
from kexue.metrics.thresholds import calibrate_thresholds

__all__ = [
    "ClassificationScores",
    "CollapseReport",
    "LabelScore",
    "SpanScores",
    "alignment",
    "average_ranks",
    "calibrate_thresholds",
    "classification_scores",
    "collapse_report",
    "span_scores",
    "spearman",
    "uniformity",
]
