import math

import pytest
import torch

from kexue.numerics import mitchell_sums
from kexue.numerics.mitchell_bits import leading_power, mantissa
from kexue.numerics.mitchell_combine import combine
from kexue.numerics.mitchell_sums import sum_products, sum_slopes

SHAPES = [(5, 7, 6), (1, 9, 4), (6, 1, 3), (3, 20, 1), (1, 1, 1), (33, 17, 2), (2, 40, 70)]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def definition(a, b, **options):
    """Every product by itself, and then their sum."""
    a, b = torch.broadcast_tensors(a[:, :, None], b[None])
    return combine(a, b, **options).sum(1)


def slopes_by_definition(a, b, grad, *, offset=0.0):
    a, b = torch.broadcast_tensors(a[:, :, None], b[None])
    return (leading_power(combine(mantissa(a), b, offset=offset)) * grad[:, None]).sum(2)


def with_zeros(x, seed):
    generator = torch.Generator().manual_seed(seed)
    return x * (torch.rand(x.shape, generator=generator) < 0.5)


def extreme(x):
    """Numbers whose products leave the range of float64, and zeros."""
    return with_zeros(torch.sign(x) * torch.exp2(200 * x), seed=9)


KINDS = {
    "ordinary": (lambda a: a, lambda b: b),
    "zeros on the left": (lambda a: with_zeros(a, 1), lambda b: b),
    "zeros on the right": (lambda a: a, lambda b: with_zeros(b, 2)),
    "zeros on both sides": (lambda a: with_zeros(a, 1), lambda b: with_zeros(b, 2)),
    "nothing but zeros": (torch.zeros_like, lambda b: b),
    "no range": (extreme, extreme),
}


@pytest.fixture(params=["whole", "parts"])
def _parts(request, monkeypatch):
    """Cut matrices into parts and blocks as large ones are."""
    if request.param == "parts":
        monkeypatch.setattr(mitchell_sums, "_EDGE", 4)
        monkeypatch.setattr(mitchell_sums, "_BYTES", 4 * 4 * 3 * 8)


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0.0, 0.0566, -0.3])
def test_sums_are_those_of_the_definition(shape, kind, offset):
    n, k, m = shape
    left, right = KINDS[kind]
    a, b = left(random(n, k)), right(random(k, m, seed=1))
    found, expected = sum_products(a, b, offset=offset), definition(a, b, offset=offset)
    assert found.shape == (n, m)
    scale = definition(a.abs(), b.abs(), offset=offset)
    finite = expected.isfinite()
    assert torch.equal(found.nan_to_num(7.0)[~finite], expected.nan_to_num(7.0)[~finite])
    assert ((found - expected).abs()[finite] <= 1e-14 * scale[finite]).all()


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", list(KINDS)[:-1])
@pytest.mark.parametrize("offset", [0.0, 0.0566, -0.3])
def test_slopes_are_those_of_the_definition(shape, kind, offset):
    n, k, m = shape
    left, right = KINDS[kind]
    a, b, grad = left(random(n, k)), right(random(k, m, seed=1)), random(n, m, seed=2)
    found = sum_slopes(a, b, grad, offset=offset)
    assert torch.allclose(found, slopes_by_definition(a, b, grad, offset=offset), rtol=1e-12)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_special_numbers_stay_in_their_row_and_column(value):
    a, b = random(5, 6, dtype=torch.float32), random(6, 8, seed=1, dtype=torch.float32)
    plain = sum_products(a, b)
    a[2, 3] = value
    found = sum_products(a, b)
    assert torch.allclose(found[[0, 1, 3, 4]], plain[[0, 1, 3, 4]], rtol=1e-5, atol=1e-6)
    expected = definition(a, b)[2]
    assert torch.equal(found[2].nan_to_num(7.0), expected.nan_to_num(7.0))
    b[3, 0] = 0
    assert sum_products(a, b)[2, 0].isnan()


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_special_numbers_beside_small_ones(value):
    # in the sums of bits, these products would lie in the range of normal numbers
    a, b = torch.tensor([[value, 1.0]]), torch.tensor([[0.25], [0.5]])
    assert not sum_products(a, b).isfinite().any()
    assert not sum_products(b.T, a.T).isfinite().any()


def test_a_zero_hides_no_infinity():
    a, b = torch.zeros(1, 2), torch.tensor([[math.inf], [1.0]])
    assert sum_products(a, b).isnan()
    assert sum_products(torch.zeros(1, 2), torch.ones(2, 1)).item() == 0


def test_products_out_of_range_are_flushed_one_by_one():
    a, b = torch.tensor([[1e-30, 1.0]]), torch.tensor([[1e-30, 1e30], [2.0, 1e30]])
    assert torch.equal(sum_products(a, b), definition(a, b))
    assert sum_products(a, b)[0, 0] == 2
    large = torch.tensor([[1e30, 1.0]])
    assert sum_products(large, b)[0, 1] == math.inf


def test_subnormal_numbers_are_zeros():
    a, b = torch.tensor([[1e-40, 2.0]]), torch.tensor([[1e30, 3.0], [1.5, 1e-41]])
    assert sum_products(a, b).tolist() == [[3.0, 0.0]]
    assert sum_slopes(a, b, torch.ones(1, 2)).tolist() == definition_of_ones(b)


def definition_of_ones(b):
    powers = leading_power(b)
    return [powers.sum(1).tolist()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_powers_of_two_give_the_exact_product(dtype):
    a, b = random(7, 30, dtype=dtype), random(30, 9, seed=1, dtype=dtype)
    powers = leading_power(b)
    assert torch.allclose(sum_products(a, powers), a @ powers, rtol=1e-6, atol=1e-6)
    ones = torch.eye(30, dtype=dtype)
    assert torch.equal(sum_products(a, ones), a)
    assert torch.equal(sum_products(ones, b), b)


def test_a_transposed_product_is_the_product_of_the_transposed():
    a, b = random(4, 9), random(9, 12, seed=1)
    assert torch.allclose(sum_products(a, b), sum_products(b.T, a.T).T, rtol=1e-13)


def test_relative_errors_of_sums_of_gaussian_products():
    a, b = random(128, 256), random(256, 128, seed=1)
    exact = a @ b

    def error(found):
        return ((found - exact).norm() / exact.norm()).item()

    plain = sum_products(a, b)
    assert error(plain) == pytest.approx(0.0466, abs=2e-3)
    assert error(plain * 1.0375) == pytest.approx(0.0295, abs=2e-3)
    assert error(sum_products(a, b, offset=0.0566)) < 0.032


def test_empty_matrices():
    for n, k, m in ((0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)):
        found = sum_products(torch.ones(n, k), torch.ones(k, m))
        assert torch.equal(found, torch.zeros(n, m))
        slopes = sum_slopes(torch.ones(n, k), torch.ones(k, m), torch.ones(n, m))
        assert torch.equal(slopes, torch.full((n, k), float(m)))


def test_inputs_stay():
    a, b = with_zeros(random(5, 6), 1), with_zeros(random(6, 7, seed=1), 2)
    copies = a.clone(), b.clone()
    sum_products(a, b)
    sum_slopes(a, b, torch.ones(5, 7, dtype=a.dtype))
    assert torch.equal(a, copies[0])
    assert torch.equal(b, copies[1])
