import sys

import numpy as np
import pytest
import torch

from kexue.numerics.mitchell import mitchell_multiply
from kexue.numerics.mitchell_matmul import mitchell_matmul

MODES = ["exact", "mitchell", "straight"]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def definition(a, b, **options):
    """One product at a time with `mitchell_multiply`, for matrices or batches of them."""
    return mitchell_multiply(a.unsqueeze(-1), b.unsqueeze(-3), **options).sum(-2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5))),
        *(((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5))),
        *(((0, 4), (4, 5)), ((3, 0), (0, 5)), ((2, 0, 4), (4, 5)), ((0, 3, 4), (0, 4, 5))),
        *(((0, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 0))),
    ],
)
def test_shapes_are_those_of_torch(one, other):
    a, b = random(*one), random(*other, seed=1)
    assert mitchell_matmul(a, b).shape == (a @ b).shape
    # powers of two are multiplied exactly
    b = torch.exp2(b.round())
    assert torch.allclose(mitchell_matmul(a, b), a @ b)
    array = mitchell_matmul(a.numpy(), b.numpy())
    assert isinstance(array, np.ndarray | np.floating)
    assert np.allclose(array, a.numpy() @ b.numpy())


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("offset", [0.0, 0.0566])
def test_every_product_is_a_mitchell_product(shape, offset):
    a, b = random(*shape, 5, 6), random(*shape, 6, 4, seed=1)
    assert torch.allclose(
        mitchell_matmul(a, b, offset=offset), definition(a, b, offset=offset), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_types_add_up_in_float32(dtype):
    a, b = random(8, 300, dtype=dtype), random(300, 8, seed=1, dtype=dtype)
    found = mitchell_matmul(a, b)
    assert found.dtype == dtype
    expected = definition(a.double(), b.double())
    assert torch.allclose(found.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4)
    assert mitchell_matmul(a, b.float()).dtype == torch.float32


def test_integers():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-1000, 1000, (4, 9)), rng.integers(-1000, 1000, (9, 3))
    found = mitchell_matmul(a, b)
    assert found.dtype == np.int64
    assert np.array_equal(found, mitchell_multiply(a[:, :, None], b[None]).sum(1))
    small = torch.from_numpy(a % 200).to(torch.uint8)
    assert torch.equal(mitchell_matmul(small, small.T), mitchell_matmul(small.int(), small.T.int()))
    assert mitchell_matmul(np.zeros((2, 0), int), np.zeros((0, 3), int)).tolist() == [[0] * 3] * 2


def test_integers_whose_sums_are_too_large():
    a = np.full((1, 2), 2**26)
    assert mitchell_matmul(a // 2, a.T // 2).item() == 2**51
    with pytest.raises(ValueError, match=r"allowed: sums below 2\*\*53. Convert to float64"):
        mitchell_matmul(a, a.T)
    with pytest.raises(ValueError, match=r"\(9007199254740992, 0\); allowed: sums below"):
        mitchell_matmul(np.full((1, 1), 2**53), np.zeros((1, 1), int))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("offset", [0.0, 0.0566])
@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5))])
def test_gradients_are_those_of_the_single_products(mode, offset, shapes):
    a, b = (random(*s, seed=i).requires_grad_() for i, s in enumerate(shapes))
    with torch.no_grad():
        b[..., 0, 0] = 0
        a[..., 1, 2] = 0
    grad = random(*(a @ b).shape, seed=3)
    options = {"offset": offset, "backward": mode}
    found = torch.autograd.grad(mitchell_matmul(a, b, **options), (a, b), grad)
    expected = torch.autograd.grad(definition(a, b, **options), (a, b), grad)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_gradcheck():
    a, b = (random(*s, seed=i).requires_grad_() for i, s in enumerate([(3, 4), (4, 2)]))
    assert torch.autograd.gradcheck(mitchell_matmul, (a, b), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_only_what_is_asked_for_is_computed(mode, monkeypatch):
    # The package holds the function under the name of the module.
    module = sys.modules["kexue.numerics.mitchell_matmul"]
    calls, gradient = [], module._gradient
    monkeypatch.setattr(module, "_gradient", lambda *args: calls.append(args) or gradient(*args))
    a, b = random(3, 4, dtype=torch.float32).requires_grad_(), random(4, 5, dtype=torch.float32)
    mitchell_matmul(a, b, backward=mode).sum().backward()
    assert len(calls) == 1
    assert b.grad is None
    assert a.grad.shape == a.shape
    vector = random(4, dtype=torch.float16).requires_grad_()
    mitchell_matmul(a.detach(), vector, backward=mode).sum().backward()
    assert vector.grad.dtype == torch.float16


def test_the_modes_differ():
    a, b = random(6, 8).requires_grad_(), random(8, 7, seed=1)
    slopes = [
        torch.autograd.grad(mitchell_matmul(a, b, backward=mode).square().sum(), a)[0]
        for mode in MODES
    ]
    cosines = [torch.cosine_similarity(s.flatten(), slopes[2].flatten(), dim=0) for s in slopes]
    assert all(0.93 < c < 1 - 1e-6 for c in cosines[:2])


def test_results_are_short_by_a_few_percent():
    a, b = random(64, 200).abs(), random(200, 64, seed=1).abs()
    ratio = mitchell_matmul(a, b) / (a @ b)
    assert ratio.min() > 8 / 9
    assert ratio.max() < 1
    assert ratio.mean() == pytest.approx(26 / 27, abs=2e-3)
    assert (mitchell_matmul(a, b, offset=0.0566) / (a @ b)).mean() == pytest.approx(1, abs=3e-3)


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        ((3, 4), (5, 4), "with the same K"),
        ((3, 4), (3,), "with the same K"),
        ((2, 3, 4), (5, 4, 6), "batch axes that broadcast"),
        ((), (3,), r"one axis or more. Use mitchell_multiply"),
    ],
)
def test_shapes_that_do_not_fit(one, other, problem):
    with pytest.raises(ValueError, match=rf"the shapes is .*{problem}"):
        mitchell_matmul(torch.ones(one), torch.ones(other))


def test_options_are_checked():
    with pytest.raises(ValueError, match="backward is 'approx'"):
        mitchell_matmul(torch.ones(1, 1), torch.ones(1, 1), backward="approx")
    with pytest.raises(ValueError, match="offset is -1"):
        mitchell_matmul(torch.ones(1, 1), torch.ones(1, 1), offset=-1)
