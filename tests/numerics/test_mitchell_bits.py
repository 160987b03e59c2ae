import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.numerics.mitchell_bits import (
    fraction,
    layout_of,
    leading_power,
    mantissa,
    reaches,
)

DTYPES = [torch.float32, torch.float64]


def numbers(dtype, seed=0):
    """Random bits of normal numbers, both signs."""
    layout = layout_of(dtype)
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(layout.tiny, layout.infinity, (5000,), generator=generator)
    sign = torch.randint(0, 2, (5000,), generator=generator)
    return (bits.to(layout.integer) | layout.sign * sign.to(layout.integer)).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_layout_names_the_bits_of_well_known_numbers(dtype):
    layout, limits = layout_of(dtype), torch.finfo(dtype)

    def bits(value):
        return torch.tensor(value, dtype=dtype).view(layout.integer).item()

    assert layout.bias == bits(1.0)
    assert layout.tiny == bits(limits.tiny)
    assert layout.infinity == bits(math.inf)
    assert layout.unknown == bits(math.nan)
    assert layout.sign == bits(-0.0)
    assert layout.magnitude == torch.iinfo(layout.integer).max
    assert layout.tiny == 1 << layout.mantissa


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_and_quotients_inside_the_window_are_normal(dtype):
    layout = layout_of(dtype)
    low, high = layout.lowest, layout.lowest + (layout.magnitude + 1 >> 2) - 1
    for shift in (-layout.tiny, layout.tiny):
        results = [2 * low, 2 * high]
        assert all(layout.tiny <= r - layout.bias + shift < layout.infinity for r in results)
        results = [low - high, high - low]
        assert all(layout.tiny <= r + layout.bias + shift < layout.infinity for r in results)
    if dtype == torch.float32:
        window = torch.tensor([low, high + 1], dtype=torch.int32).view(dtype)
        assert window.tolist() == [2.0**-42, 2.0**22]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1), st.integers(-(2**30), 2**30))
def test_reaches_is_a_comparison(values, bound):
    values = torch.tensor(values, dtype=torch.int32)
    assert torch.equal(reaches(values, bound), (values >= bound).int())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_is_its_leading_power_times_its_mantissa(dtype):
    x = numbers(dtype)
    power, factor = leading_power(x), mantissa(x)
    assert torch.equal(power * factor, x)
    assert torch.equal(power.abs(), torch.exp2(power.abs().log2().round()))
    assert factor.min() >= 1
    assert factor.max() < 2
    layout = layout_of(dtype)
    found = fraction(x.view(layout.integer), layout).to(dtype) / layout.tiny
    assert torch.equal(found, factor - 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_of_special_numbers(dtype):
    x = torch.tensor([0.0, -0.0, 1e-320 if dtype == torch.float64 else 1e-40], dtype=dtype)
    assert leading_power(x).tolist() == [0, 0, 0]
    assert mantissa(x).tolist() == [1, 1, 1]
    x = torch.tensor([math.inf, -math.inf], dtype=dtype)
    assert leading_power(x).tolist() == [math.inf, -math.inf]
    assert mantissa(x).tolist() == [1, 1]
    assert leading_power(torch.tensor([math.nan, -math.nan], dtype=dtype)).isnan().all()
