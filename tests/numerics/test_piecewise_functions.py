import inspect

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kexue.numerics import piecewise_functions as module
from kexue.numerics.piecewise import PiecewisePolynomial
from kexue.numerics.piecewise_functions import (
    absolute,
    clip,
    hard_sigmoid,
    hat,
    hinge,
    maximum,
    minimum,
    power_relu,
    quantizer,
    relu,
    soft_threshold,
    step,
)

X = torch.linspace(-8, 8, 1601, dtype=torch.float64)
LEVELS = [-2.0, -0.5, 0.0, 3.0]

# As torch and numpy have them
KNOWN = {
    "step": (step(), lambda x: (x >= 0).double()),
    "step at 2": (step(at=2.0, below=5.0, above=-1.0), lambda x: torch.where(x >= 2, -1.0, 5.0)),
    "sign": (step(below=-1.0), lambda x: torch.where(x >= 0, 1.0, -1.0)),
    "relu": (relu(), F.relu),
    "leaky relu": (relu(slope=0.2), lambda x: F.leaky_relu(x, 0.2)),
    "absolute": (absolute(), torch.abs),
    "power_relu 0": (power_relu(0), lambda x: (x >= 0).double()),
    "power_relu": (power_relu(3), lambda x: F.relu(x) ** 3),
    "maximum": (maximum(1.5), lambda x: x.clamp(min=1.5)),
    "minimum": (minimum(-1.5), lambda x: x.clamp(max=-1.5)),
    "clip": (clip(-1.0, 2.0), lambda x: x.clamp(-1, 2)),
    "relu6": (clip(0.0, 6.0), F.relu6),
    "hard tanh": (clip(-1.0, 1.0), F.hardtanh),
    "hard_sigmoid": (hard_sigmoid(), F.hardsigmoid),
    "hinge": (hinge(), lambda x: (1 - x).clamp(min=0)),
    "soft_threshold": (soft_threshold(0.75), lambda x: F.softshrink(x, 0.75)),
    "hat": (hat(), lambda x: (1 - x.abs()).clamp(min=0)),
    "quantizer": (
        quantizer(LEVELS),
        lambda x: torch.tensor(
            [min(reversed(LEVELS), key=lambda level: abs(level - v)) for v in x.tolist()]
        ).double(),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_equals_what_is_known(name):
    pieces, known = KNOWN[name]
    assert isinstance(pieces, PiecewisePolynomial)
    np.testing.assert_allclose(pieces(X), known(X), atol=1e-12)


def test_every_function_is_compared():
    public = {
        name
        for name, thing in inspect.getmembers(module, inspect.isfunction)
        if thing.__module__ == module.__name__
    }
    assert public <= {name.split(" ")[0] for name in KNOWN}


@pytest.mark.parametrize("levels", [[], [1.0]])
def test_one_level_is_no_choice(levels):
    with pytest.raises(ValueError, match=r"levels is .*; allowed: two or more numbers"):
        quantizer(levels)


@pytest.mark.parametrize("make", [lambda: quantizer([1.0, 0.0, 2.0]), lambda: clip(1.0, 0.0)])
def test_bounds_in_the_wrong_order_are_refused(make):
    with pytest.raises(ValueError, match="rising order"):
        make()
