"""Scores of what was extracted, as pure functions."""

from kexue.metrics.spans import LabelScore, SpanScores, span_scores
from kexue.metrics.thresholds import calibrate_thresholds

__all__ = ["LabelScore", "SpanScores", "calibrate_thresholds", "span_scores"]
