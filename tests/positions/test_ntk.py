import math

import pytest
import torch

from kexue.positions import ntk_frequencies, rope_angles

KINDS = ["old", "fixed", "mixed"]


def by_definition(m: int, dim: int, k: float, kind: str, base: float, b: float) -> float:
    """The divisor of the position for pair m = 1 ... D/2, as the article writes it."""
    beta, lam = base ** (2 / dim), k ** (2 / dim)
    if kind == "old":
        return (beta * lam) ** (m - 1)
    if kind == "fixed":
        return lam * (beta * lam) ** (m - 1)
    a = math.log(k) / (dim / 2) ** b
    return beta ** (m - 1) * math.exp(a * m**b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dim", "k", "base"), [(8, 8.0, 10000.0), (64, 2.5, 500.0), (2, 3, 10.0)])
@pytest.mark.parametrize("b", [0.0, 0.625, 0.75, 1.0])
def test_equals_the_formulas_of_the_article(kind, dim, k, base, b):
    found = ntk_frequencies(dim, k, kind=kind, base=base, exponent=b, dtype=torch.float64)
    divisors = [by_definition(m, dim, k, kind, base, b) for m in range(1, dim // 2 + 1)]
    expected = 1 / torch.tensor(divisors, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_factor_of_one_is_rope(kind):
    found = ntk_frequencies(32, 1.0, kind=kind, dtype=torch.float64)
    rope = rope_angles(torch.ones(1, dtype=torch.float64), 32)[0]
    torch.testing.assert_close(found, rope, rtol=1e-14, atol=0)


def test_old_is_rope_with_the_base_multiplied():
    found = ntk_frequencies(16, 8.0, kind="old", base=1000.0, dtype=torch.float64)
    rope = rope_angles(torch.ones(1, dtype=torch.float64), 16, base=8000.0)[0]
    torch.testing.assert_close(found, rope, rtol=1e-14, atol=0)


def test_mixed_lies_between_interpolation_and_fixed():
    rope = rope_angles(torch.ones(1, dtype=torch.float64), 16)[0]
    options = {"kind": "mixed", "dtype": torch.float64}
    interpolated = ntk_frequencies(16, 8.0, exponent=0, **options)
    torch.testing.assert_close(interpolated, rope / 8, rtol=1e-14, atol=0)
    fixed = ntk_frequencies(16, 8.0, kind="fixed", dtype=torch.float64)
    torch.testing.assert_close(ntk_frequencies(16, 8.0, exponent=1, **options), fixed)
    between = ntk_frequencies(16, 8.0, **options)
    assert (between[:-1] > interpolated[:-1]).all()
    assert (between[:-1] < fixed[:-1]).all()


@pytest.mark.parametrize("kind", ["fixed", "mixed"])
def test_the_slowest_pair_of_a_long_text_turns_as_in_training(kind):
    trained, factor = 512, 8
    rope = rope_angles(torch.tensor(float(trained), dtype=torch.float64), 64)[-1]
    slowest = ntk_frequencies(64, factor, kind=kind, dtype=torch.float64)[-1]
    torch.testing.assert_close(slowest * trained * factor, rope)


@pytest.mark.parametrize("kind", KINDS)
def test_fast_pairs_change_less_than_slow_ones(kind):
    rope = rope_angles(torch.ones(1, dtype=torch.float64), 64)[0]
    ratio = rope / ntk_frequencies(64, 8.0, kind=kind, dtype=torch.float64)
    assert (ratio.diff() > 0).all()
    assert ratio[0] < 1.3
    assert ratio[-1] > 7.4


def test_float32_is_the_rounded_double():
    wide = ntk_frequencies(128, 12.0, kind="mixed", exponent=0.75, dtype=torch.float64)
    narrow = ntk_frequencies(128, 12.0, kind="mixed", exponent=0.75)
    assert torch.equal(narrow, wide.float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 7}, "dim is 7; allowed: a positive even number"),
        ({"dim": 0}, "dim is 0"),
        ({"factor": 0.5}, "length to read over length of training"),
        ({"factor": math.inf}, "factor is inf"),
        ({"kind": "dynamic"}, "kind is 'dynamic'; allowed: 'old', 'fixed' or 'mixed'"),
        ({"exponent": 1.5}, r"exponent is 1\.5; allowed: between 0"),
    ],
)
def test_errors_say_what_is_allowed(change, message):
    with pytest.raises(ValueError, match=message):
        ntk_frequencies(**{"dim": 8, "factor": 8.0, "kind": "mixed", **change})
