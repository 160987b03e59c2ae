import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.numerics import mitchell_combine
from kexue.numerics.mitchell_bits import layout_of
from kexue.numerics.mitchell_combine import combine, combine_bits

DTYPES = [torch.float32, torch.float64]
INF, NAN = math.inf, math.nan


def definition(a, b, dtype, *, divide=False, offset=0.0):
    """One product or quotient by cases and in fractions, rounded as the bits are."""
    limits, layout = torch.finfo(dtype), layout_of(dtype)
    small_a, small_b = abs(a) < limits.tiny, abs(b) < limits.tiny
    huge_a, huge_b = math.isinf(a), math.isinf(b)
    if divide:
        small_b, huge_b = huge_b, small_b
    sign = math.copysign(1, a) * math.copysign(1, b)
    small, huge = small_a or small_b, huge_a or huge_b
    if math.isnan(a) or math.isnan(b) or (small and huge):
        return NAN
    if small or huge:
        return sign * (INF if huge else 0.0)
    log = logarithm(a) + (-1 if divide else 1) * logarithm(b)
    log += Fraction(round(offset * layout.tiny), layout.tiny)
    n = math.floor(log)
    value = Fraction(2) ** n * (1 + log - n)
    if value < Fraction(limits.tiny):
        return sign * 0.0
    return sign * (INF if value > Fraction(limits.max) else float(value))


def logarithm(p):
    significand, exponent = math.frexp(abs(p))
    return exponent - 1 + 2 * Fraction(significand) - 1


def check(a, b, dtype, **options):
    found = combine(a, b, **options).tolist()
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = [definition(x, y, dtype, **options) for x, y in pairs]
    for value, wanted in zip(found, expected, strict=True):
        if math.isnan(wanted):
            assert math.isnan(value)
        else:
            assert value == wanted
            assert math.copysign(1, value) == math.copysign(1, wanted)


def random_bits(dtype, count, seed):
    """Numbers of any size, subnormal, infinite and NaN ones among them."""
    integer = layout_of(dtype).integer
    limits = torch.iinfo(integer)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(limits.min, limits.max, (count,), generator=generator, dtype=integer).view(
        dtype
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("offset", [0.0, 0.0566, -0.7, 0.99])
def test_any_bits_follow_the_definition(dtype, divide, offset):
    a, b = (random_bits(dtype, 2000, seed) for seed in (1, 2))
    check(a, b, dtype, divide=divide, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("offset", [0.0, 0.0566, -0.0566])
def test_ordinary_numbers_follow_the_definition(dtype, divide, offset):
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 2000, generator=generator, dtype=dtype)
    check(a, b, dtype, divide=divide, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("offset", [0.0, 0.5, -0.5])
def test_every_pair_of_special_numbers(dtype, divide, offset):
    limits = torch.finfo(dtype)
    values = [0.0, limits.tiny / 2, limits.tiny, limits.tiny * 1.5, 1 / 3, 1.0, 1.5, 2.0]
    values += [limits.max / 2, limits.max, INF, limits.tiny**0.5, limits.max**0.5]
    values = torch.tensor([*values, *(-v for v in values), NAN], dtype=dtype)
    a, b = (t.flatten() for t in torch.meshgrid(values, values, indexing="ij"))
    check(a, b, dtype, divide=divide, offset=offset)
    # each pair in a block of its own, so that the quick way is tried on it alone
    alone = [combine(x, y, divide=divide, offset=offset) for x, y in zip(a, b, strict=True)]
    together = combine(a, b, divide=divide, offset=offset)
    assert torch.equal(torch.stack(alone).nan_to_num(7.0), together.nan_to_num(7.0))


@given(st.floats(width=32), st.floats(width=32), st.booleans())
def test_any_two_floats(a, b, divide):
    a, b = torch.tensor([a]), torch.tensor([b])
    check(a, b, torch.float32, divide=divide)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("divide", [False, True])
def test_the_edges_of_the_quick_window(dtype, divide):
    layout = layout_of(dtype)
    low, high = layout.lowest, layout.lowest + (layout.magnitude + 1 >> 2)
    bits = [low - 1, low, low + 1, high - 1, high, high + 1]
    values = torch.tensor(bits, dtype=layout.integer).view(dtype)
    values = torch.cat([values, -values])
    for a in values:
        for b in values:
            check(a[None], b[None], dtype, divide=divide)


def test_the_examples_of_the_literature():
    a = torch.tensor([1.5, 1.3, 4.5, -6.0, -3.5, 1.2345])
    b = torch.tensor([1.5, -1.3, 3.0, 3.0, -3.5, 32.0])
    expected = torch.tensor([2.0, -1.6, 13.0, -16.0, 12.0, 1.2345 * 32])
    assert torch.allclose(combine(a, b), expected, rtol=1e-6)
    assert combine(a, b)[5] == a[5] * 32


def test_a_product_is_an_addition_of_bits():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 1000, generator=generator)
    bits = a.view(torch.int32) + b.view(torch.int32) - 0x3F800000
    assert torch.equal(combine(a, b), bits.view(torch.float32))


@pytest.mark.parametrize("divide", [False, True])
def test_the_bounds_of_the_article(divide):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 200_000, generator=generator, dtype=torch.float64)
    ratio = combine(a, b, divide=divide) / (a / b if divide else a * b)
    if divide:
        assert ratio.min() >= 1 - 1e-15
        assert 1.12 < ratio.max() <= 1.125
    else:
        assert 8 / 9 <= ratio.min() < 0.8892
        assert ratio.max() <= 1 + 1e-15


def test_blocks_meet_without_a_seam(monkeypatch):
    a, b = (random_bits(torch.float32, 1000, seed) for seed in (5, 6))
    a[:300], b[:300] = 1.25, -3.0
    a[150] = 0
    whole = combine(a, b)
    for size in (1, 7, 100, 1000):
        monkeypatch.setattr(mitchell_combine, "_BLOCK", size)
        assert torch.equal(combine(a, b).nan_to_num(7.0), whole.nan_to_num(7.0))


def test_the_quick_way_and_the_careful_way_agree():
    layout = layout_of(torch.float32)
    generator = torch.Generator().manual_seed(7)
    a, b = torch.randn(2, 5000, generator=generator).view(torch.int32)
    for divide in (False, True):
        careful = combine_bits(a, b, layout, divide=divide, shift=999).view(torch.float32)
        quick = combine(
            a.view(torch.float32),
            b.view(torch.float32),
            divide=divide,
            offset=999 / layout.tiny,
        )
        assert torch.equal(careful, quick)


def test_bits_broadcast():
    layout = layout_of(torch.float32)
    a, b = (
        torch.tensor([[0.0], [3.0]]).view(torch.int32),
        torch.tensor([3.0, INF]).view(torch.int32),
    )
    found = combine_bits(a, b, layout).view(torch.float32)
    assert found.nan_to_num(7.0, posinf=9.0).tolist() == [[0, 7], [8, 9]]


def test_layouts_of_memory_and_empty_tensors():
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(combine(x.T, x.T), combine(x, x).T)
    assert torch.equal(
        combine(x[:, ::2], x[:, 1::2]), combine(x[:, ::2].clone(), x[:, 1::2].clone())
    )
    assert combine(x[:0], x[:0]).shape == (0, 8)
    assert combine(x[0, 0], x[0, 0]).shape == ()
    copy = x.clone()
    combine(x, x)
    assert torch.equal(x, copy)
