import numpy as np
import pytest
import torch

from kexue.numerics import class_sums as module
from kexue.numerics.class_sums import Stretch, class_sums


def draw(rows=700, features=5, classes=4, *, offset=0.0, seed=0, dtype=np.float64):
    random = np.random.default_rng(seed)
    codes = random.integers(classes, size=rows)
    x = random.normal(size=(rows, features)) + random.normal(size=(classes, features))[codes] * 5
    return (x + offset).astype(dtype), codes


def by_definition(x, codes, classes, weights=None):
    """Loops over classes and rows, in float64."""
    x = np.asarray(x, np.float64)
    weights = np.ones(len(x)) if weights is None else weights
    totals, means = np.zeros(classes), np.zeros((classes, x.shape[1]))
    scatter = np.zeros((x.shape[1], x.shape[1]))
    for c in range(classes):
        rows, own = x[codes == c], weights[codes == c]
        totals[c] = own.sum()
        if totals[c]:
            means[c] = own @ rows / totals[c]
        for row, weight in zip(rows, own, strict=True):
            scatter += weight * np.outer(row - means[c], row - means[c])
    return totals, means, scatter


def agree(found, expected, tolerance):
    for ours, theirs in zip(found, expected, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * abs(theirs).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_equals_the_definition(kind, weighted):
    x, codes = draw()
    weights = np.random.default_rng(1).uniform(0, 3, len(x)) if weighted else None
    roots = None if weights is None else np.sqrt(weights)
    given = torch.from_numpy(x) if kind == "tensor" else x
    found = class_sums(Stretch(given, codes, roots, 0), 4, double=False)
    agree(found, by_definition(x, codes, 4, weights), 1e-13)
    np.testing.assert_array_equal(found.scatter, found.scatter.T)


@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_gpu_computes_equals_it_too(weighted):
    x, codes = draw()
    roots = np.sqrt(np.random.default_rng(1).uniform(0, 3, len(x))) if weighted else None
    stretch = Stretch(torch.from_numpy(x), codes, roots, 0)
    expected = by_definition(x, codes, 5, None if roots is None else roots**2)
    agree(module._on_device(stretch, 5), expected, 1e-13)


def test_blocks_are_put_together(monkeypatch):
    x, codes = draw(2000)
    monkeypatch.setattr(module, "_BLOCK", 1)
    monkeypatch.setattr(module, "_LEAST", 77)
    found = class_sums(Stretch(x, codes, None, 0), 4, double=False)
    agree(found, by_definition(x, codes, 4), 1e-13)


def test_more_classes_than_features():
    x, codes = draw(classes=50)
    found = class_sums(Stretch(x, codes, np.full(len(x), 2.0), 0), 50, double=False)
    agree(found, by_definition(x, codes, 50, np.full(len(x), 4.0)), 1e-12)


def test_a_class_without_rows_is_0():
    x, codes = draw()
    found = class_sums(Stretch(x, 2 * codes, None, 0), 7, double=False)
    assert found.weights[1::2].tolist() == [0, 0, 0]
    assert (found.means[1::2] == 0).all()
    agree((found.scatter,), by_definition(x, codes, 4)[2:], 1e-13)


@pytest.mark.parametrize("offset", [0.0, 1000.0, 30_000.0])
def test_single_precision_is_enough_however_far_from_0(offset):
    x, codes = draw(3000, offset=offset, dtype=np.float32)
    found = class_sums(Stretch(x, codes, None, 0), 4, double=False)
    # Of the numbers as they were rounded to float32, which is what there is to know
    _, means, scatter = by_definition(x, codes, 4)
    agree((found.scatter,), (scatter,), 1e-5)
    assert abs(found.means - means).max() < 1e-6
    assert found.rounding == np.finfo(np.float32).eps


def test_double_precision_on_request():
    x, codes = draw(dtype=np.float32)
    found = class_sums(Stretch(x, codes, None, 0), 4, double=True)
    agree(found, by_definition(x, codes, 4), 1e-13)
    assert found.rounding == np.finfo(np.float64).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    x, codes = draw()
    x = torch.from_numpy(x).to(dtype)
    found = class_sums(Stretch(x, codes, None, 0), 4, double=False)
    agree(found, by_definition(x.double().numpy(), codes, 4), 1e-5)


def test_what_overflows_in_single_precision_is_done_in_double():
    x, codes = draw(dtype=np.float32)
    x *= np.float32(1e25)
    found = class_sums(Stretch(x, codes, None, 0), 4, double=False)
    agree(found, by_definition(x, codes, 4), 1e-12)
    with pytest.raises(ValueError, match="too large to be squared"):
        class_sums(Stretch(draw()[0] * 1e200, codes, None, 0), 4, double=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 3, 500])
def test_a_row_that_is_not_finite_is_named(bad, row):
    x, codes = draw(dtype=np.float32)
    x[row, 2] = bad
    with pytest.raises(ValueError, match=rf"x\[{1000 + row}\] holds NaN or infinity"):
        class_sums(Stretch(x, codes, None, 1000), 4, double=False)


def test_inputs_are_not_written_to():
    x, codes = draw()
    roots = np.ones(len(x))
    copies = x.copy(), codes.copy(), roots.copy()
    class_sums(Stretch(x, codes, roots, 0), 4, double=False)
    for now, before in zip((x, codes, roots), copies, strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_rows_on_a_gpu():
    x, codes = draw()
    found = class_sums(Stretch(torch.from_numpy(x).cuda(), codes, None, 0), 4, double=False)
    agree(found, by_definition(x, codes, 4), 1e-12)
