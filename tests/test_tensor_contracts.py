"""What every public tensor function promises: untouched inputs, its dtype, finite numbers."""

import importlib
import inspect
import os
import pkgutil
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kexue
from kexue.analysis import (
    calibrate_threshold,
    descend,
    impact_matrix,
    integrated_gradients,
    neighbour_impacts,
    path_kernel,
    segment,
    tangent_features,
    tangent_kernel,
)
from kexue.attention import (
    LinearState,
    attend,
    attend_linear_state,
    count_keys,
    extend_linear_state,
    linear_attend,
    log_n_scale,
    performer_attend,
    performer_features,
    post_hoc_log_n_scale,
    rerope_attend,
    residual_attend,
)
from kexue.heads import (
    EfficientGlobalPointer,
    GlobalPointer,
    LinearChainCRF,
    PairClassifier,
    pair_features,
)
from kexue.losses import (
    cosent_loss,
    info_nce,
    multilabel_loss,
    simsiam_loss,
    sparse_multilabel_loss,
    symmetric_info_nce,
)
from kexue.numerics import (
    SAU,
    LinearRecurrentUnit,
    MitchellLinear,
    ParallelGRU,
    ParallelRNN,
    SmoothFunction,
    SmoothPieces,
    StraightThrough,
    measured_mitchell_error,
    mitchell_divide,
    mitchell_matmul,
    mitchell_multiply,
    mitchell_sqrt,
    project,
    scan_affine,
    scan_diagonal,
    smooth,
    smooth_maximum,
    solve_recurrence,
)
from kexue.numerics.piecewise_functions import clip
from kexue.numerics.repeated_functions import nearest
from kexue.positions import (
    hierarchical_rows,
    hierarchical_table,
    rerope_distance,
    rerope_scores,
    rope2d_angles,
    rope_angles,
    rotate,
)
from kexue.sentences import (
    bag_of_words,
    centroid_bound,
    emd,
    nearest_documents,
    pool,
    relaxed_bound,
    sinkhorn,
    transport_plan,
    wmd,
    wrd,
)

# What optional packages do when they are first imported is not our functions' doing.
with suppress(ImportError):
    import ot  # noqa: F401

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
METHOD_PACKAGES = (
    *("positions", "attention", "heads", "losses", "sentences", "analysis", "generative"),
    "numerics",
)


class Case(NamedTuple):
    """A call to check.

    `build` gives, for a dtype, the function and its arguments. `exact` says that the result is in
    at least float32, `always` in which dtype it is whatever goes in; `holes` that cells which do
    not exist are -inf.
    """

    build: Callable[[torch.dtype], tuple[Callable[..., Any], tuple[Any, ...]]]
    exact: bool = False
    holes: bool = False
    always: torch.dtype | None = None


def numbers(dtype, *shape):
    count = int(np.prod(shape))
    return torch.linspace(-3, 3, count).roll(count // 3).reshape(shape).to(dtype)


def head(kind, method, **options):
    """Build a call of a method of a head; two texts, the second one shorter."""

    def build(dtype):
        module = kind(8, 3, **options).to(dtype)
        mask = torch.ones(2, 6, dtype=torch.bool)
        mask[1, 4:] = False
        arguments = (numbers(dtype, 2, 6, 8), mask)
        spans = ([(0, 1, 2), (2, 0, 5)], [(1, 3, 3)])
        return getattr(module, method), arguments + ((spans,) if method == "loss" else ())

    return build


def attention(function, *more, **options):
    """Build a call with queries, keys and values of five tokens and whatever else is given."""

    def build(dtype):
        arguments = [numbers(dtype, 1, 2, 5, 4) for _ in range(3)]
        arguments += [x(dtype) for x in more]
        return partial(function, **options), tuple(arguments)

    return build


def linear_state(dtype):
    """A state of three features for values of four, in the precision that states are kept in."""
    wide = torch.promote_types(dtype, torch.float32)
    shapes = (1, 2, 4, 4), (1, 2, 4, 1), (1, 2, 4, 1)
    return LinearState(*(numbers(wide, *shape).abs() + 1 for shape in shapes))


def contrast(function):
    """Build a call with queries and keys."""
    return lambda d: (
        partial(function, temperature=0.5),
        (numbers(d, 4, 3), numbers(d, 6, 3).flip(0)),
    )


def sentences(function):
    """Build a call with the word vectors of two sentences."""
    return lambda d: (function, (numbers(d, 3, 4), numbers(d, 5, 4)))


def module(kind, *sizes):
    """Build a call of a module with inputs of seven times, two rows and four features."""
    return lambda d: (kind(4, *sizes).to(d), (numbers(d, 7, 2, 4),))


def look(dtype):
    """An encoder of eight tokens in which a token sees all others."""
    table = numbers(dtype, 8, 3)
    return lambda ids: table[ids] + table[ids].mean(1, keepdim=True)


def steps(model, x):
    """Two steps of gradient descent."""
    return list(descend(model, x, lambda y, rows: y.square().mean(), rate=0.1, steps=2))


def straight(dtype):
    """A linear model of two features."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)).to(dtype)


# One row for each public function of tensors; a module has one for each method that takes tensors.
CASES = {
    "rope_angles": Case(lambda d: (rope_angles, (torch.arange(5).to(d), 4)), exact=True),
    "rotate": Case(lambda d: (rotate, (numbers(d, 2, 5, 4), numbers(d, 5, 2)))),
    "attend": Case(
        lambda d: (attend, (numbers(d, 1, 2, 3, 4), numbers(d, 1, 2, 5, 4), numbers(d, 1, 2, 5, 4)))
    ),
    "rope2d_angles": Case(lambda d: (rope2d_angles, (numbers(d, 5, 2), 8)), exact=True),
    "hierarchical_table": Case(lambda d: (hierarchical_table, (numbers(d, 3, 4), 9))),
    "hierarchical_rows": Case(
        lambda d: (hierarchical_rows, (numbers(d, 3, 4), torch.tensor([0, 8])))
    ),
    "rerope_distance": Case(
        lambda d: (partial(rerope_distance, window=2, step=0.5), (numbers(d, 5),)), exact=True
    ),
    "rerope_scores": Case(
        lambda d: (
            partial(rerope_scores, window=2),
            (numbers(d, 2, 5, 4), numbers(d, 2, 5, 4)),
        ),
        holes=True,
    ),
    "log_n_scale": Case(lambda d: (log_n_scale, (torch.tensor([1, 5]),)), always=torch.float32),
    "post_hoc_log_n_scale": Case(
        lambda d: (partial(post_hoc_log_n_scale, training_length=4), (torch.tensor([1, 5]),)),
        always=torch.float32,
    ),
    "count_keys": Case(lambda d: (count_keys, (numbers(d, 1, 3, 4) > 0,))),
    "linear_attend": Case(attention(linear_attend)),
    "linear_attend causal": Case(attention(linear_attend, causal=True)),
    "performer_attend": Case(attention(performer_attend, lambda d: numbers(d, 6, 4))),
    "performer_features": Case(
        lambda d: (performer_features, (numbers(d, 2, 5, 4), numbers(d, 6, 4))), exact=True
    ),
    # Its second result, the scores, is what goes in again, in float32 for half precision.
    "residual_attend": Case(
        attention(
            lambda *given: residual_attend(*given)[0],
            lambda d: numbers(torch.promote_types(d, torch.float32), 1, 2, 5, 5),
        )
    ),
    "rerope_attend": Case(
        attention(
            rerope_attend,
            lambda d: numbers(d, 1, 2, 5, 4),
            lambda d: numbers(d, 1, 2, 5, 4),
            window=2,
        )
    ),
    "extend_linear_state": Case(
        lambda d: (extend_linear_state, (numbers(d, 1, 2, 5, 4), numbers(d, 1, 2, 5, 4))),
        exact=True,
    ),
    "attend_linear_state": Case(
        lambda d: (attend_linear_state, (numbers(d, 1, 2, 5, 4), linear_state(d)))
    ),
    "multilabel_loss": Case(
        lambda d: (multilabel_loss, (numbers(d, 4, 6), numbers(d, 4, 6) > 1)), exact=True
    ),
    "multilabel_loss soft": Case(
        lambda d: (multilabel_loss, (numbers(d, 4, 6), numbers(d, 4, 6).sigmoid())), exact=True
    ),
    "sparse_multilabel_loss": Case(
        lambda d: (sparse_multilabel_loss, (numbers(d, 2, 6), torch.tensor([[5, 1], [0, -1]]))),
        exact=True,
    ),
    "GlobalPointer": Case(head(GlobalPointer, "forward", head_size=4), holes=True),
    "GlobalPointer.loss": Case(head(GlobalPointer, "loss", head_size=4), exact=True),
    "GlobalPointer.decode": Case(head(GlobalPointer, "decode", head_size=4)),
    "EfficientGlobalPointer": Case(
        head(EfficientGlobalPointer, "forward", head_size=4), holes=True
    ),
    "EfficientGlobalPointer.loss": Case(head(EfficientGlobalPointer, "loss"), exact=True),
    "EfficientGlobalPointer.decode": Case(head(EfficientGlobalPointer, "decode")),
    "LinearChainCRF": Case(head(LinearChainCRF, "forward")),
    "LinearChainCRF.loss": Case(head(LinearChainCRF, "loss"), exact=True),
    "LinearChainCRF.decode": Case(head(LinearChainCRF, "decode")),
    "PairClassifier": Case(
        lambda d: (PairClassifier(4, 3).to(d), (numbers(d, 5, 4), numbers(d, 5, 4).flip(0)))
    ),
    "PairClassifier.loss": Case(
        lambda d: (
            PairClassifier(4, 3).to(d).loss,
            (numbers(d, 3, 4), numbers(d, 3, 4).flip(0), torch.tensor([0, 2, -100])),
        ),
        exact=True,
    ),
    "pair_features": Case(lambda d: (pair_features, (numbers(d, 5, 4), numbers(d, 5, 4).flip(0)))),
    "cosent_loss": Case(
        lambda d: (cosent_loss, (numbers(d, 5) / 3, torch.tensor([0.0, 2.0, 1.0, 2.0, 5.0]))),
        exact=True,
    ),
    "info_nce": Case(contrast(info_nce), exact=True),
    "symmetric_info_nce": Case(contrast(symmetric_info_nce), exact=True),
    "simsiam_loss": Case(
        lambda d: (simsiam_loss, (numbers(d, 5, 4), numbers(d, 5, 4).flip(0))), exact=True
    ),
    "pool": Case(
        lambda d: (
            partial(pool, how="P4"),
            ([numbers(d, 2, 5, 4)] * 3, torch.tensor([[1, 1, 1, 1, 0], [0, 1, 1, 0, 0]])),
        )
    ),
    "project": Case(lambda d: (project, (numbers(d, 5, 8), numbers(d, 3, 8)))),
    "mitchell_multiply": Case(lambda d: (mitchell_multiply, (numbers(d, 5), numbers(d, 5)))),
    "mitchell_divide": Case(lambda d: (mitchell_divide, (numbers(d, 5), numbers(d, 5).exp()))),
    "mitchell_sqrt": Case(lambda d: (mitchell_sqrt, (numbers(d, 5).abs(),))),
    "mitchell_matmul": Case(lambda d: (mitchell_matmul, (numbers(d, 5, 4), numbers(d, 4, 3)))),
    "MitchellLinear": Case(module(MitchellLinear, 3)),
    "measured_mitchell_error": Case(
        lambda d: (measured_mitchell_error, (numbers(d, 5).exp(), numbers(d, 5).exp()))
    ),
    "scan_affine": Case(
        lambda d: (scan_affine, (numbers(d, 5, 2, 2) / 4, numbers(d, 5, 2), numbers(d, 2)))
    ),
    "scan_diagonal": Case(
        lambda d: (scan_diagonal, (numbers(d, 5, 2) / 4, numbers(d, 5, 2), numbers(d, 2)))
    ),
    "solve_recurrence": Case(
        lambda d: (
            lambda x0, inputs: (
                solve_recurrence(lambda x, u: torch.tanh(x / 2 + u), x0, inputs).states
            ),
            (numbers(d, 2), numbers(d, 5, 2)),
        )
    ),
    # Its second result, the state, is complex.
    "LinearRecurrentUnit": Case(
        lambda d: (
            lambda unit, inputs: unit.to(d)(inputs)[0],
            (LinearRecurrentUnit(4), numbers(d, 7, 2, 4)),
        )
    ),
    "ParallelRNN": Case(module(ParallelRNN, 3)),
    "ParallelGRU": Case(module(ParallelGRU, 3)),
    "smooth": Case(
        lambda d: (smooth(clip(-1.0, 1.0), kernel="gaussian", width=0.5), (numbers(d, 5),))
    ),
    "SmoothPieces": Case(
        lambda d: (SmoothPieces(clip(-1.0, 1.0), kernel="box", width=0.5), (numbers(d, 5),))
    ),
    "SmoothFunction": Case(
        lambda d: (SmoothFunction(torch.sin, kernel="gaussian", width=0.5), (numbers(d, 5),))
    ),
    "SAU": Case(lambda d: (SAU(), (numbers(d, 5),))),
    "StraightThrough": Case(
        lambda d: (
            StraightThrough(smooth(nearest(), kernel="gaussian", width=0.3)),
            (numbers(d, 5),),
        )
    ),
    "smooth_maximum": Case(
        lambda d: (
            partial(smooth_maximum, kernel="gaussian", width=0.5),
            (numbers(d, 5), numbers(d, 5).flip(0)),
        )
    ),
    # Their results are no tensors.
    "integrated_gradients": Case(
        lambda d: (
            partial(integrated_gradients, lambda x: x.float().square().sum(-1)),
            (numbers(d, 3, 4),),
        )
    ),
    "descend": Case(lambda d: (steps, (straight(d), numbers(d, 3, 2)))),
    "tangent_features": Case(lambda d: (tangent_features, (straight(d), numbers(d, 3, 2)))),
    "tangent_kernel": Case(lambda d: (tangent_kernel, (straight(d), numbers(d, 3, 2)))),
    "path_kernel": Case(
        lambda d: (
            lambda model, x: path_kernel(model, steps(model, x), x, x).gap,
            (straight(d), numbers(d, 3, 2)),
        )
    ),
    "impact_matrix": Case(
        lambda d: (partial(impact_matrix, look(d), mask_id=7), (torch.arange(5),)), exact=True
    ),
    "neighbour_impacts": Case(
        lambda d: (partial(neighbour_impacts, look(d), mask_id=7), (torch.arange(5),)), exact=True
    ),
    "segment": Case(lambda d: (segment, (numbers(d, 4, 4).abs(),))),
    "calibrate_threshold": Case(lambda d: (calibrate_threshold, ([numbers(d, 4)],))),
    "emd": Case(
        lambda d: (emd, (numbers(d, 2, 3).abs(), torch.ones(2).to(d), torch.ones(3).to(d))),
        exact=True,
    ),
    "wmd": Case(sentences(wmd), exact=True),
    "wrd": Case(sentences(wrd), exact=True),
    "centroid_bound": Case(sentences(centroid_bound), exact=True),
    "relaxed_bound": Case(sentences(relaxed_bound), exact=True),
    "sinkhorn": Case(
        lambda d: (
            partial(sinkhorn, temperature=1.0),
            (numbers(d, 2, 3, 4), numbers(d, 2, 3).abs(), numbers(d, 2, 4).abs()),
        ),
        exact=True,
    ),
    # Their results are no tensors.
    "transport_plan": Case(sentences(transport_plan)),
    "nearest_documents": Case(
        lambda d: (
            lambda vectors: nearest_documents(
                bag_of_words([[1]], 3), bag_of_words([[0, 1], [2]], 3), 1, vectors=vectors
            ),
            (numbers(d, 3, 4),),
        )
    ),
}


def tensors_in(result):
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, list | tuple):
        for part in result:
            yield from tensors_in(part)


def process_state():
    """Take down whatever a function could change behind its caller's back."""
    return {
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "seed of torch": bytes(torch.get_rng_state().numpy()),
        "seed of numpy": np.random.get_state()[1].tobytes(),  # noqa: NPY002, the global one is meant
        "seed of random": random.getstate(),
        "environment": dict(os.environ),
    }


def problems(case, dtype, *, grad):
    """Run a case and say which promise was broken."""
    torch.manual_seed(0)
    function, arguments = case.build(dtype)
    inputs = list(tensors_in(arguments))
    copies, versions = [x.clone() for x in inputs], [x._version for x in inputs]
    before = process_state()
    with torch.set_grad_enabled(grad):
        inside = dict(process_state())
        results = list(tensors_in(function(*arguments)))
        after = process_state()
    found = [f"{key} changed" for key in before if inside[key] != after[key]]
    for x, copy, version in zip(inputs, copies, versions, strict=True):
        if x._version != version or not torch.equal(x, copy):
            found.append("an input was written to")
    wanted = torch.promote_types(dtype, torch.float32) if case.exact else case.always or dtype
    for result in filter(Tensor.is_floating_point, results):
        if result.dtype != wanted:
            found.append(f"the result is {result.dtype}, not {wanted}")
        held = result.masked_fill(result == -torch.inf, 0) if case.holes else result
        if not held.isfinite().all():
            found.append("the result is not finite")
    return found


@pytest.fixture(autouse=True)
def _process_state_is_restored():
    dtype, threads, environment = (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        dict(os.environ),
    )
    grad = torch.is_grad_enabled()
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(grad)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_tensor_function_keeps_its_promises(name, dtype, grad):
    assert problems(CASES[name], dtype, grad=grad) == []


def takes_tensors(thing):
    if isinstance(thing, type):
        return issubclass(thing, nn.Module) and not inspect.isabstract(thing)
    return any("Tensor" in str(p.annotation) for p in inspect.signature(thing).parameters.values())


def method_modules():
    names = [m.name for m in pkgutil.iter_modules(kexue.__path__) if m.name in METHOD_PACKAGES]
    assert len(names) >= 3
    return [importlib.import_module(f"kexue.{name}") for name in names]


def without_case(names):
    """List the public names of the method packages that take tensors and have no row."""
    rows = {row.split(" ")[0] for row in names}
    public = [(name, getattr(m, name)) for m in method_modules() for name in m.__all__]
    return [name for name, thing in public if takes_tensors(thing) and name not in rows]


def test_every_public_tensor_function_has_a_row():
    assert without_case(CASES) == []


def test_a_missing_row_is_found():
    assert without_case([name for name in CASES if name != "rotate"]) == ["rotate"]


def writes(x):
    return x.mul_(2)


def writes_and_undoes(x):
    x.add_(1)
    return x.sub_(1) * 2


def widens(x):
    return x.double() + x.float()


def overflows(x):
    return x / 0


def sets_default_dtype(x):
    torch.set_default_dtype(torch.float64)
    return x


def sets_grad_mode(x):
    torch.set_grad_enabled(not torch.is_grad_enabled())
    return x


def seeds(x):
    torch.manual_seed(1)
    return x


def draws(x):
    return x + torch.rand(()).to(x.dtype)


def draws_from_numpy(x):
    return x + np.random.rand()  # noqa: NPY002, the mistake is meant


def draws_from_random(x):
    return x + random.random()


def sets_environment(x):
    os.environ["OMP_NUM_THREADS"] = "7"
    return x


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (writes, "an input was written to"),
        (writes_and_undoes, "an input was written to"),
        (widens, "the result is torch.float64, not torch.float32"),
        (overflows, "the result is not finite"),
        (sets_default_dtype, "default dtype changed"),
        (sets_grad_mode, "grad mode changed"),
        (seeds, "seed of torch changed"),
        (draws, "seed of torch changed"),
        (draws_from_numpy, "seed of numpy changed"),
        (draws_from_random, "seed of random changed"),
        (sets_environment, "environment changed"),
    ],
)
def test_a_broken_promise_is_found(function, problem):
    case = Case(lambda dtype: (function, (numbers(dtype, 3),)))
    assert problem in problems(case, torch.float32, grad=True)


def test_a_result_in_half_precision_is_no_exact_result():
    case = Case(lambda dtype: (torch.neg, (numbers(dtype, 3),)), exact=True)
    assert problems(case, torch.bfloat16, grad=False) != []
    assert problems(case, torch.float64, grad=False) == []


def test_holes_may_be_minus_infinity_only():
    def build(value):
        return Case(lambda dtype: (lambda x: x + value, (numbers(dtype, 3),)), holes=True)

    assert problems(build(-torch.inf), torch.float32, grad=False) == []
    assert problems(build(torch.inf), torch.float32, grad=False) == ["the result is not finite"]
    assert problems(build(torch.nan), torch.float32, grad=False) == ["the result is not finite"]
