"""See why: attributions, the impact of one token on another, kernels of training, leaderboards."""

from kexue.analysis.leaderboard import Leaderboard, Standing, leaderboard
from kexue.analysis.leaderboard_bootstrap import Bootstrap, Spread, bootstrap_ranks
from kexue.analysis.leaderboard_changes import Move, RankChanges, rank_changes
from kexue.analysis.leaderboard_drawing import draw_rank_changes
from kexue.analysis.leaderboard_scores import prepare_scores

__all__ = [
    "Bootstrap",
    "Leaderboard",
    "Move",
    "RankChanges",
    "Spread",
    "Standing",
    "bootstrap_ranks",
    "draw_rank_changes",
    "leaderboard",
    "prepare_scores",
    "rank_changes",
]
