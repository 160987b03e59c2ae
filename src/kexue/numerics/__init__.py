"""Numbers and approximations that need no model of a language."""

from kexue.numerics.dimension import min_embedding_dim, sphere_entropy
from kexue.numerics.random_projection import jl_min_dim, project, random_projection

__all__ = [
    "jl_min_dim",
    "min_embedding_dim",
    "project",
    "random_projection",
    "sphere_entropy",
]
