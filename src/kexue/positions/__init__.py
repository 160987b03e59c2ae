"""Position maps: where a token is, as something attention can use."""

from kexue.positions.hierarchical import hierarchical_rows, hierarchical_table
from kexue.positions.ntk import ntk_frequencies
from kexue.positions.rerope import rerope_distance, rerope_scores
from kexue.positions.rope import rope_angles, rotate
from kexue.positions.rope2d import rope2d_angles

__all__ = [
    "hierarchical_rows",
    "hierarchical_table",
    "ntk_frequencies",
    "rerope_distance",
    "rerope_scores",
    "rope2d_angles",
    "rope_angles",
    "rotate",
]
