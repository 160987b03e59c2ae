import math

import pytest
import torch

from kexue.numerics import mitchell_roots
from kexue.numerics.mitchell_bits import layout_of
from kexue.numerics.mitchell_roots import root

DTYPES = [torch.float32, torch.float64]


def numbers(dtype, seed=0):
    """Random bits of normal numbers, both signs."""
    layout = layout_of(dtype)
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(layout.tiny, layout.infinity, (5000,), generator=generator)
    sign = torch.randint(0, 2, (5000,), generator=generator)
    return (bits.to(layout.integer) | layout.sign * sign.to(layout.integer)).view(dtype)


def root_by_definition(x):
    significand, exponent = math.frexp(x)
    half, odd = divmod(exponent - 1, 2)
    return math.ldexp(1 + (odd + 2 * significand - 1) / 2, half)


@pytest.mark.parametrize("dtype", DTYPES)
def test_roots_are_those_of_the_definition(dtype):
    x = numbers(dtype, seed=1).abs()
    expected = torch.tensor([root_by_definition(v) for v in x.tolist()], dtype=torch.float64)
    found = root(x).double()
    # halving drops the last bit of the logarithm
    assert ((found - expected).abs() / expected).max() <= torch.finfo(dtype).eps
    ratio = found / x.double().sqrt()
    assert ratio.min() >= 1 - torch.finfo(dtype).eps
    assert ratio.max() == pytest.approx(1.5 / 2**0.5, abs=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_roots_of_powers_of_four_are_exact(dtype):
    x = torch.exp2(torch.arange(-60, 60, dtype=dtype))
    assert torch.equal(root(x * x), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, -0.03, 0.2])
def test_roots_of_special_numbers(dtype, offset):
    limits = torch.finfo(dtype)
    x = torch.tensor([0.0, -0.0, math.inf, limits.tiny / 2, -limits.tiny / 4], dtype=dtype)
    found = root(x, offset=offset)
    assert found.tolist() == [0, 0, math.inf, 0, 0]
    assert found.signbit().tolist() == [False, True, False, False, True]
    x = torch.tensor([math.nan, -1.0, -math.inf, -limits.tiny, -limits.max], dtype=dtype)
    assert root(x, offset=offset).isnan().all()
    ends = root(torch.tensor([limits.tiny, limits.max], dtype=dtype), offset=offset)
    assert ends.isfinite().all()
    assert (ends > 0).all()


def test_roots_of_views_and_of_nothing():
    x = numbers(torch.float32).abs().view(50, 100)
    assert torch.equal(root(x.T), root(x).T)
    assert root(x[:0]).shape == (0, 100)
    assert root(torch.tensor(9.0)).item() == 3.125


def test_blocks_meet_without_a_seam(monkeypatch):
    x = numbers(torch.float32)
    whole = root(x)
    assert whole.isnan().any()
    for size in (1, 999, 5000):
        monkeypatch.setattr(mitchell_roots, "_BLOCK", size)
        assert torch.equal(root(x).nan_to_num(7.0), whole.nan_to_num(7.0))


def test_inputs_stay():
    x = numbers(torch.float64)
    copy = x.clone()
    root(x)
    assert torch.equal(x, copy)
