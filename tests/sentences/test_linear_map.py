import numpy as np
import pytest
import torch

from kexue.sentences.linear_map import AffineMap, affine_map

RNG = np.random.default_rng(0)
MATRIX, BIAS = RNG.normal(size=(5, 3)), RNG.normal(size=3)


class Fitted:
    def __init__(self, layer):
        self.layer = layer

    def as_linear(self):
        return self.layer


def layer(bias=True):
    made = torch.nn.Linear(5, 3, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(MATRIX.T))
        if bias:
            made.bias.copy_(torch.from_numpy(BIAS))
    return made


@pytest.mark.parametrize(
    "given",
    [
        (MATRIX, BIAS),
        [MATRIX, BIAS],
        (torch.from_numpy(MATRIX), torch.from_numpy(BIAS)),
        layer(),
        Fitted(layer()),
        Fitted((MATRIX, BIAS)),
    ],
)
def test_all_kinds_give_the_same_map(given):
    rows = RNG.normal(size=(7, 5)).astype(np.float32)
    found = affine_map(given, 5).apply(rows)
    assert found.dtype == np.float64
    assert np.abs(found - (rows.astype(np.float64) @ MATRIX + BIAS)).max() < 1e-12
    expected = layer()(torch.from_numpy(rows).double()).detach().numpy()
    assert np.abs(found - expected).max() < 1e-12


def test_a_layer_without_bias():
    assert affine_map(layer(bias=False), 5).bias.tolist() == [0, 0, 0]


def test_a_whitening_gives_all_its_digits():
    class Whitening:
        weight_, bias_ = MATRIX, BIAS

        def as_linear(self):
            return layer().float()

    assert np.array_equal(affine_map(Whitening(), 5).matrix, MATRIX)
    assert np.array_equal(affine_map(Whitening(), 5).bias, BIAS)


def test_float64_keeps_what_a_large_mean_would_cancel():
    rows = (1e4 + RNG.normal(size=(50, 5))).astype(np.float32)
    mapped = AffineMap(MATRIX, -1e4 * MATRIX.sum(axis=0)).apply(rows)
    expected = (rows.astype(np.float64) - 1e4) @ MATRIX
    assert np.abs(mapped - expected).max() < 1e-9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("whiten", "a pair"),
        (7, "a pair"),
        ((MATRIX,), "a pair"),
        ((MATRIX.T, BIAS), r"a matrix \[5, E\] and a bias \[E\]"),
        ((MATRIX, BIAS[:2]), r"\(5, 3\) and \(2,\)"),
        ((MATRIX, 0.0), r"a matrix \[5, E\]"),
        ((np.zeros((5, 0)), np.zeros(0)), r"a matrix \[5, E\]"),
        ((MATRIX * np.nan, BIAS), "finite"),
        ((MATRIX, BIAS + np.inf), "finite"),
    ],
)
def test_what_is_no_fitting_map_is_refused(given, message):
    with pytest.raises(ValueError, match=f"(?s)transform is .*{message}"):
        affine_map(given, 5)
