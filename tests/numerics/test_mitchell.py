import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.numerics.mitchell import (
    check_options,
    mitchell_divide,
    mitchell_multiply,
    mitchell_sqrt,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SMALL = {torch.float16: (torch.int16, 0x3C00), torch.bfloat16: (torch.int16, 0x3F80)}


def definition(a, b, *, divide=False):
    """One product or quotient of Python's floats, by Mitchell's cases."""
    if a == 0:
        return 0.0
    (s, n), (t, m) = math.frexp(abs(a)), math.frexp(abs(b))
    x, y = 2 * s - 1, 2 * t - 1
    sign = math.copysign(1, a) * math.copysign(1, b)
    if divide:
        if x >= y:
            return sign * math.ldexp(1 + x - y, n - m)
        return sign * math.ldexp(2 + x - y, n - m - 1)
    if x + y < 1:
        return sign * math.ldexp(1 + x + y, n + m - 2)
    return sign * math.ldexp(x + y, n + m - 1)


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_the_example_of_the_article():
    assert mitchell_multiply(12.3, 4.56) == pytest.approx(53.68)
    product = mitchell_multiply(np.float32(12.3), np.float32(4.56))
    assert isinstance(product, np.float32)
    assert product == pytest.approx(53.68, rel=1e-6)
    assert 1 - product / (12.3 * 4.56) == pytest.approx(0.0429, abs=1e-4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_products_and_quotients_are_those_of_the_definition(dtype):
    a, b = random(500, dtype=dtype), random(500, dtype=dtype, seed=1)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    tolerance = 0 if dtype in SMALL else torch.finfo(dtype).eps
    for function, divide in ((mitchell_multiply, False), (mitchell_divide, True)):
        found = function(a, b)
        assert found.dtype == dtype
        expected = torch.tensor([definition(*p, divide=divide) for p in pairs], dtype=dtype)
        assert ((found - expected).abs() <= tolerance * expected.abs()).all()


@pytest.mark.parametrize("dtype", SMALL)
def test_sixteen_bits_are_an_addition_of_sixteen_bit_integers(dtype):
    integer, bias = SMALL[dtype]
    a, b = random(2000, dtype=dtype).abs() + 0.01, random(2000, dtype=dtype, seed=1).abs() + 0.01
    bits = a.view(integer) + b.view(integer) - bias
    assert torch.equal(mitchell_multiply(a, b), bits.view(dtype))
    bits = a.view(integer) - b.view(integer) + bias
    assert torch.equal(mitchell_divide(a, b), bits.view(dtype))


def test_half_precision_keeps_its_subnormal_numbers_and_overflows():
    tiny = torch.tensor([2.0**-20, 2.0**-12, 300.0], dtype=torch.float16)
    found = mitchell_multiply(tiny, torch.tensor([8.0, 2.0**-8, 300.0], dtype=torch.float16))
    assert found.tolist() == [2.0**-17, 2.0**-20, math.inf]
    # those of the other types count as zeros
    for dtype in (torch.bfloat16, torch.float32):
        assert mitchell_multiply(torch.tensor(1e-39, dtype=dtype), 2.0**60) == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_numbers_of_every_type(dtype):
    zero, one, inf, nan = (torch.tensor(v, dtype=dtype) for v in (0.0, -1.5, math.inf, math.nan))
    assert mitchell_multiply(zero, one).signbit()
    assert mitchell_multiply(inf, one) == -math.inf
    assert mitchell_divide(one, zero) == -math.inf
    assert mitchell_divide(one, inf) == 0
    assert mitchell_sqrt(inf) == math.inf
    for value in (
        mitchell_multiply(inf, zero),
        mitchell_multiply(nan, zero),
        mitchell_divide(zero, zero),
        mitchell_divide(inf, inf),
        mitchell_sqrt(one),
        mitchell_sqrt(nan),
    ):
        assert value.isnan()


@given(
    st.floats(1e-30, 1e30) | st.floats(-1e30, -1e-30), st.floats(1e-30, 1e30), st.integers(-40, 40)
)
def test_relations_between_results(a, b, n):
    product = mitchell_multiply(a, b)
    assert product == mitchell_multiply(b, a) == -mitchell_multiply(-a, b)
    assert mitchell_multiply(a, 2.0**n) == a * 2.0**n
    assert mitchell_divide(a, 2.0**n) == a / 2.0**n
    assert mitchell_divide(a, a) == 1
    # adding and subtracting the same logarithm
    assert mitchell_divide(product, b) == a
    assert mitchell_sqrt(mitchell_multiply(b, b)) == b
    assert 8 / 9 - 1e-15 <= product / (a * b) <= 1 + 1e-15


def test_the_largest_errors_are_where_the_article_has_them():
    assert mitchell_multiply(1.5, 1.5) == 2.0 == (1 - 1 / 9) * 2.25
    assert mitchell_divide(1.0, 1.5) == 0.75 == 1.125 * (1 / 1.5)
    assert mitchell_sqrt(2.0) == 1.5


def test_the_kind_that_came_in_comes_out():
    array, tensor = np.array([1.5, 3.0], np.float32), torch.tensor([1.5, 3.0])
    for function in (mitchell_multiply, mitchell_divide):
        assert isinstance(function(2.0, 3.0), float)
        assert isinstance(function(6, 3), int)
        assert isinstance(function(array, 3.0), np.ndarray)
        assert function(array, 3.0).dtype == np.float32
        assert isinstance(function(array, tensor), torch.Tensor)
        assert isinstance(function(2, tensor), torch.Tensor)
    assert isinstance(mitchell_sqrt(9), int)
    assert isinstance(mitchell_sqrt(9.0), float)
    assert isinstance(mitchell_sqrt(array), np.ndarray)
    assert np.array_equal(mitchell_multiply(array, array), mitchell_multiply(tensor, tensor))


def test_integers_are_the_bit_trick_on_floats():
    a = np.arange(-300, 300)
    products = mitchell_multiply(a[:, None], a)
    assert products.dtype == np.int64
    assert np.array_equal(products, mitchell_multiply(a[:, None].astype(float), a.astype(float)))
    a = a[a != 0]
    quotients = mitchell_divide(a.astype(float), 7.0)
    assert np.array_equal(mitchell_divide(a, 7), np.trunc(quotients))
    roots = mitchell_sqrt(np.arange(300))
    assert np.array_equal(roots, np.floor(mitchell_sqrt(np.arange(300.0))))


def test_integers_of_any_size():
    assert mitchell_multiply(3 << 200, 5) == 14 << 200
    assert mitchell_divide(3 << 200, -2) == -(3 << 199)
    assert mitchell_sqrt(1 << 400) == 1 << 200


def test_shapes_broadcast():
    a, b = random(3, 1, 4), random(5, 1, seed=1)
    found = mitchell_multiply(a, b)
    assert found.shape == (3, 5, 4)
    assert torch.equal(found, mitchell_multiply(a.expand(3, 5, 4).clone(), b.expand(3, 5, 4)))
    assert mitchell_multiply(a[:0], b).shape == (0, 5, 4)
    assert mitchell_sqrt(a[:0]).shape == (0, 1, 4)


def test_an_offset_makes_the_mean_error_vanish():
    generator = torch.Generator().manual_seed(0)
    a, b = 1 + torch.rand(2, 100_000, generator=generator, dtype=torch.float64)

    def errors(function, exact, offset):
        return function(a, b, offset=offset) / exact - 1

    plain, shifted = (errors(mitchell_multiply, a * b, c) for c in (0.0, 0.05662))
    assert plain.mean() == pytest.approx(-0.03849, abs=3e-4)
    assert abs(shifted.mean()) < 3e-4
    assert shifted.abs().max() < 0.0767
    plain, shifted = (errors(mitchell_divide, a / b, c) for c in (0.0, -0.05))
    assert plain.mean() == pytest.approx(0.04102, abs=3e-4)
    assert abs(shifted.mean()) < 0.007
    roots = [mitchell_sqrt(a, offset=c) / a.sqrt() - 1 for c in (0.0, -0.02)]
    assert abs(roots[1].mean()) < abs(roots[0].mean()) / 2


@pytest.mark.parametrize("mode", ["exact", "mitchell", "straight"])
@pytest.mark.parametrize("function", [mitchell_multiply, mitchell_divide])
def test_gradients_broadcast_and_keep_types(function, mode):
    a = random(3, 1, dtype=torch.bfloat16).requires_grad_()
    b = random(4, seed=1).requires_grad_()
    result = function(a, b, backward=mode)
    assert result.dtype == torch.float32
    result.sum().backward()
    assert (a.grad.shape, a.grad.dtype) == ((3, 1), torch.bfloat16)
    assert (b.grad.shape, b.grad.dtype) == ((4,), torch.float32)
    assert a.grad.isfinite().all()


def test_there_is_no_second_derivative_by_mistake():
    a = torch.tensor([1.3], requires_grad=True)
    (slope,) = torch.autograd.grad(mitchell_multiply(a, a).square(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.backward()


def test_inputs_stay_and_nothing_global_changes():
    a, b = random(100), random(100, seed=1)
    copies = a.clone(), b.clone()
    state = torch.random.get_rng_state()
    mitchell_multiply(a, b), mitchell_divide(a, b), mitchell_sqrt(a)
    assert torch.equal(a, copies[0])
    assert torch.equal(b, copies[1])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_options_are_checked():
    check_options(0.0566, "mitchell")
    for function in (mitchell_multiply, mitchell_divide):
        with pytest.raises(ValueError, match="backward is 'ste'; allowed: 'exact', 'mitchell'"):
            function(1.0, 2.0, backward="ste")
        with pytest.raises(ValueError, match=r"offset is 1\.0; allowed: a number between -1 and 1"):
            function(1.0, 2.0, offset=1.0)
    with pytest.raises(ValueError, match="offset is nan"):
        mitchell_sqrt(2.0, offset=math.nan)
    with pytest.raises(ValueError, match=r"the operands' type is torch\.bool"):
        mitchell_multiply(torch.tensor(True), torch.tensor(False))
    with pytest.raises(ValueError, match="b is 0; allowed: integers other than 0"):
        mitchell_divide(np.array([4]), 0)
