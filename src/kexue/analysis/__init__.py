"""See why: attributions, the impact of one token on another, kernels of training, leaderboards."""

from kexue.analysis.attributions import Attributions
from kexue.analysis.bracket_metrics import BracketScores, bracket_scores
from kexue.analysis.constituency import brackets, parse_constituents
from kexue.analysis.dependency_trees import parse_tree
from kexue.analysis.descent import DescentStep, descend
from kexue.analysis.impact_drawing import draw_impact
from kexue.analysis.integrated_gradients import integrated_gradients
from kexue.analysis.leaderboard import Leaderboard, Standing, leaderboard
from kexue.analysis.leaderboard_bootstrap import Bootstrap, Spread, bootstrap_ranks
from kexue.analysis.leaderboard_changes import Move, RankChanges, rank_changes
from kexue.analysis.leaderboard_drawing import draw_rank_changes
from kexue.analysis.leaderboard_scores import prepare_scores
from kexue.analysis.path_kernel import PathKernel, path_kernel
from kexue.analysis.perturbed_masking import impact_matrix, neighbour_impacts
from kexue.analysis.segmentation import (
    SegmentationScores,
    calibrate_threshold,
    segment,
    segmentation_scores,
)
from kexue.analysis.staged_encoder import StagedEncoder
from kexue.analysis.tangent_kernel import TangentFeatures, tangent_features, tangent_kernel
from kexue.analysis.tree_drawing import draw_tree
from kexue.analysis.tree_metrics import AttachmentScores, attachment_scores, left_chain, right_chain

__all__ = [
    "AttachmentScores",
    "Attributions",
    "Bootstrap",
    "BracketScores",
    "DescentStep",
    "Leaderboard",
    "Move",
    "PathKernel",
    "RankChanges",
    "SegmentationScores",
    "Spread",
    "StagedEncoder",
    "Standing",
    "TangentFeatures",
    "attachment_scores",
    "bootstrap_ranks",
    "bracket_scores",
    "brackets",
    "calibrate_threshold",
    "descend",
    "draw_impact",
    "draw_rank_changes",
    "draw_tree",
    "impact_matrix",
    "integrated_gradients",
    "leaderboard",
    "left_chain",
    "neighbour_impacts",
    "parse_constituents",
    "parse_tree",
    "path_kernel",
    "prepare_scores",
    "rank_changes",
    "right_chain",
    "segment",
    "segmentation_scores",
    "tangent_features",
    "tangent_kernel",
]
