"""Numbers and approximations that need no model of a language."""

from kexue.numerics.analytic_logistic import AnalyticLogisticRegression
from kexue.numerics.cross_counting import count_cross_colorings, iter_cross_colorings
from kexue.numerics.dimension import min_embedding_dim, sphere_entropy
from kexue.numerics.dirac import smooth
from kexue.numerics.dirac_modules import SmoothFunction, SmoothPieces
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
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.random_projection import jl_min_dim, project, random_projection
from kexue.numerics.recurrence import Recurrence
from kexue.numerics.repeated_functions import RepeatedPolynomial
from kexue.numerics.scan import scan_affine, scan_diagonal
from kexue.numerics.smooth_activations import SAU, StraightThrough, smooth_maximum

__all__ = [
    "SAU",
    "AnalyticLogisticRegression",
    "LinearRecurrentUnit",
    "MitchellError",
    "MitchellLinear",
    "ParallelGRU",
    "ParallelRNN",
    "PiecewisePolynomial",
    "Recurrence",
    "RecurrenceResult",
    "RepeatedPolynomial",
    "SmoothFunction",
    "SmoothPieces",
    "StraightThrough",
    "count_cross_colorings",
    "expected_mitchell_error",
    "from_mitchell",
    "iter_cross_colorings",
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
    "smooth",
    "smooth_maximum",
    "solve_recurrence",
    "sphere_entropy",
    "to_mitchell",
]
