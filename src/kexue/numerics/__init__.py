"""Numbers and approximations that need no model of a language."""

from kexue.numerics.dimension import min_embedding_dim, sphere_entropy
from kexue.numerics.linear_recurrent_unit import LinearRecurrentUnit
from kexue.numerics.mitchell import mitchell_divide, mitchell_multiply, mitchell_sqrt
from kexue.numerics.mitchell_linear import MitchellLinear, from_mitchell, to_mitchell
from kexue.numerics.mitchell_matmul import mitchell_matmul
from kexue.numerics.mitchell_statistics import (
    MitchellError,
    expected_mitchell_error,
    measured_mitchell_error,
)
from kexue.numerics.parallel_modules import ParallelGRU, ParallelRNN, parallelize
from kexue.numerics.parallel_rnn import RecurrenceResult, solve_recurrence
from kexue.numerics.random_projection import jl_min_dim, project, random_projection
from kexue.numerics.recurrence import Recurrence
from kexue.numerics.scan import scan_affine, scan_diagonal

__all__ = [
    "LinearRecurrentUnit",
    "MitchellError",
    "MitchellLinear",
    "ParallelGRU",
    "ParallelRNN",
    "Recurrence",
    "RecurrenceResult",
    "expected_mitchell_error",
    "from_mitchell",
    "jl_min_dim",
    "measured_mitchell_error",
    "min_embedding_dim",
    "mitchell_divide",
    "mitchell_matmul",
    "mitchell_multiply",
    "mitchell_sqrt",
    "parallelize",
    "project",
    "random_projection",
    "scan_affine",
    "scan_diagonal",
    "solve_recurrence",
    "sphere_entropy",
    "to_mitchell",
]
