import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.numerics.mitchell_integers import (
    combine_integers,
    combine_tensors,
    root_integer,
    root_tensor,
)

INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
ANY = st.integers(-(10**60), 10**60)


def logarithm(p):
    """Compute n + x of a positive integer, as the article defines it."""
    n = 0
    while 2 ** (n + 1) <= p:
        n += 1
    return n + (Fraction(p, 2**n) - 1)


def antilogarithm(log):
    n = math.floor(log)
    return Fraction(2) ** n * (1 + log - n)


def definition(a, b, *, divide=False):
    if a == 0 or b == 0:
        return 0
    log = logarithm(abs(a)) + (-1 if divide else 1) * logarithm(abs(b))
    result = math.floor(antilogarithm(log))
    return -result if (a < 0) != (b < 0) else result


def root_by_definition(a):
    return math.floor(antilogarithm(logarithm(a) / 2)) if a else 0


def test_all_products_of_eight_bits():
    numbers = torch.arange(256, dtype=torch.uint8)
    products = combine_tensors(numbers[:, None], numbers)
    assert products.dtype == torch.int64
    expected = [[definition(a, b) for b in range(256)] for a in range(256)]
    assert products.tolist() == expected
    exact = numbers[1:, None].double() * numbers[1:].double()
    error = 1 - products[1:, 1:] / exact
    assert error.min() == 0
    assert error.max() == pytest.approx(1 / 9, rel=1e-12)
    # all mantissas of eight bits: the numbers with the highest bit set
    assert error[127:, 127:].mean() == pytest.approx(0.0385, abs=5e-4)


def test_signed_products_and_quotients_of_eight_bits():
    numbers = torch.arange(-128, 128, dtype=torch.int8)
    rows = range(-128, 128, 5)
    numbers = numbers[::5]
    assert combine_tensors(numbers[:, None], numbers).tolist() == [
        [definition(a, b) for b in rows] for a in rows
    ]
    divisors = numbers[numbers != 0]
    assert combine_tensors(numbers[:, None], divisors, divide=True).tolist() == [
        [definition(a, b, divide=True) for b in rows if b] for a in rows
    ]


def test_all_roots_of_fourteen_bits():
    roots = root_tensor(torch.arange(2**14))
    assert roots.tolist() == [root_by_definition(a) for a in range(2**14)]
    assert [root_integer(a) for a in range(1000)] == roots[:1000].tolist()


@given(ANY, ANY)
def test_integers_of_any_size(a, b):
    assert combine_integers(a, b) == definition(a, b)
    if b:
        assert combine_integers(a, b, divide=True) == definition(a, b, divide=True)
    assert root_integer(abs(a)) == root_by_definition(abs(a))


@given(INT64, INT64)
def test_tensors_are_the_integers_of_python(a, b):
    left, right = torch.tensor([a]), torch.tensor([b])
    product = combine_integers(a, b)
    if abs(product) < 2**63:
        assert combine_tensors(left, right).item() == product
    else:
        with pytest.raises(ValueError, match=r"allowed: products below 2\*\*63"):
            combine_tensors(left, right)
    if b:
        quotient = combine_tensors(left, right, divide=True).item()
        assert quotient == combine_integers(a, b, divide=True)
    assert root_tensor(left.abs()).item() == root_integer(abs(a))


@pytest.mark.parametrize("p", [2**53 - 1, 2**53 + 1, 2**62 - 1, 2**62, 2**63 - 1, 2**54 - 1])
def test_powers_of_two_that_a_float_rounds_up_to(p):
    ones = torch.tensor([1])
    assert combine_tensors(torch.tensor([p]), ones).item() == p
    assert combine_tensors(torch.tensor([-p]), ones, divide=True).item() == -p


@given(st.integers(0, 62), st.integers(0, 2**40))
def test_powers_of_two_are_exact(n, a):
    assert combine_integers(a, 2**n) == a * 2**n
    assert combine_integers(a, 2**n, divide=True) == a // 2**n


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8])
def test_narrow_types_do_not_wrap(dtype):
    most = torch.iinfo(dtype).max
    a = torch.tensor([most], dtype=dtype)
    assert combine_tensors(a, a).item() == definition(most, most) > most


def test_shapes_broadcast_and_may_be_empty():
    assert combine_tensors(torch.ones(3, 1).long(), torch.ones(4).long()).shape == (3, 4)
    assert combine_tensors(torch.ones(0).long(), torch.ones(1).long()).shape == (0,)
    assert root_tensor(torch.ones(0).long()).shape == (0,)


def test_inputs_stay():
    a, b = torch.tensor([3, -5]), torch.tensor([7, 9])
    combine_tensors(a, b)
    root_tensor(b)
    assert (a.tolist(), b.tolist()) == ([3, -5], [7, 9])


def test_what_is_refused():
    zero = torch.tensor([1, 0])
    for divide in (
        lambda: combine_integers(3, 0, divide=True),
        lambda: combine_tensors(zero, zero, divide=True),
    ):
        with pytest.raises(ValueError, match="b is 0; allowed: integers other than 0"):
            divide()
    with pytest.raises(ValueError, match="a is -4; allowed: integers, 0 or more"):
        root_integer(-4)
    with pytest.raises(ValueError, match="a is -4; allowed: integers, 0 or more"):
        root_tensor(torch.tensor([9, -4]))
    with pytest.raises(ValueError, match="an operand is -9223372036854775808"):
        combine_tensors(torch.tensor([-(2**63)]), zero)
