import pytest
import torch

from kexue.positions import hierarchical_rows, hierarchical_table


def by_definition(table: torch.Tensor, t: int, alpha: float) -> torch.Tensor:
    """The two-digit form of the article: digits of t in base n, each with a vector u."""
    n = len(table)
    u = (table - alpha * table[0]) / (1 - alpha)
    return alpha * u[t // n] + (1 - alpha) * u[t % n]


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.6])
@pytest.mark.parametrize("length", [3, 7, 8, 20, 49])
def test_equals_the_two_digit_form(length, alpha):
    table = torch.randn(7, 5, dtype=torch.float64)
    expected = torch.stack([by_definition(table, t, alpha) for t in range(length)])
    long = hierarchical_table(table, length, alpha=alpha)
    torch.testing.assert_close(long, expected, rtol=0, atol=1e-12)
    rows = hierarchical_rows(table, torch.arange(length), alpha=alpha)
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.9])
def test_trained_positions_are_the_trained_rows_bit_for_bit(dtype, alpha):
    table = (torch.randn(50, 16) * torch.logspace(-6, 3, 16)).to(dtype)
    table[3, 2] = -0.0
    long = hierarchical_table(table, 400, alpha=alpha)
    assert long.dtype == dtype
    assert torch.equal(long[:50].view(torch.uint8), table.view(torch.uint8))
    rows = hierarchical_rows(table, torch.arange(400), alpha=alpha)
    assert rows.dtype == dtype
    assert torch.equal(rows, long)
    assert long.isfinite().all()


def test_rows_take_positions_in_any_order_and_shape():
    table = torch.randn(6, 4)
    long = hierarchical_table(table, 36)
    positions = torch.tensor([[35, 0, 7], [6, 5, 30]])
    assert torch.equal(hierarchical_rows(table, positions), long[positions])
    assert hierarchical_rows(table, positions[:0]).shape == (0, 3, 4)


def closest(table: torch.Tensor) -> float:
    distances = torch.cdist(table, table)
    return distances.masked_fill(torch.eye(len(table), dtype=torch.bool), torch.inf).min().item()


def test_all_positions_differ_and_would_not_at_a_half():
    table = torch.randn(8, 16, dtype=torch.float64)
    assert closest(hierarchical_table(table, 64, alpha=0.4)) > 0.1
    assert closest(hierarchical_table(table, 64, alpha=0.5 + 1e-9)) < 1e-6
    mixed = by_definition(table, 8 * 2 + 5, 0.5)
    torch.testing.assert_close(mixed, by_definition(table, 8 * 5 + 2, 0.5))


def test_each_stretch_is_the_table_moved_as_one():
    table = torch.randn(8, 4, dtype=torch.float64)
    stretches = hierarchical_table(table, 64, alpha=0.4).unflatten(0, (8, 8))
    moves = stretches - table
    torch.testing.assert_close(moves, moves[:, :1].expand_as(moves))
    torch.testing.assert_close(moves[:, 0], (table - table[0]) * (0.4 / 0.6))


def test_gradients_equal_those_of_the_two_digit_form():
    table = torch.randn(5, 3, dtype=torch.float64)
    weight = torch.randn(25, 3, dtype=torch.float64)
    positions = torch.arange(25)

    def gradient(lengthen):
        leaf = table.clone().requires_grad_()
        (lengthen(leaf) * weight).sum().backward()
        return leaf.grad

    expected = gradient(lambda p: torch.stack([by_definition(p, t, 0.4) for t in range(25)]))
    torch.testing.assert_close(gradient(lambda p: hierarchical_table(p, 25)), expected)
    torch.testing.assert_close(gradient(lambda p: hierarchical_rows(p, positions)), expected)
    assert torch.autograd.gradcheck(
        lambda p: hierarchical_rows(p, positions[::3], alpha=0.3), table.requires_grad_()
    )


def test_a_short_text_trains_only_the_rows_it_reads():
    table = torch.randn(6, 3, requires_grad=True)
    hierarchical_rows(table, torch.tensor([2, 4])).sum().backward()
    assert table.grad.any(-1).tolist() == [False, False, True, False, True, False]


def test_the_input_is_left_alone():
    table = torch.randn(6, 3)
    before = table.clone()
    long = hierarchical_table(table, 6)
    long.zero_()
    hierarchical_rows(table, torch.arange(36)).zero_()
    assert torch.equal(table, before)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, -0.2, float("nan")])
def test_a_bad_alpha_is_refused_with_help(alpha):
    with pytest.raises(ValueError, match=r"0\.4 is a good choice"):
        hierarchical_table(torch.zeros(4, 2), 8, alpha=alpha)
    with pytest.raises(ValueError, match=r"allowed: between 0 and 1 but not 0\.5"):
        hierarchical_rows(torch.zeros(4, 2), torch.arange(3), alpha=alpha)


@pytest.mark.parametrize("length", [0, 17])
def test_a_length_beyond_the_square_is_refused(length):
    with pytest.raises(ValueError, match="1 to 16, the square of the 4 rows"):
        hierarchical_table(torch.zeros(4, 2), length)


@pytest.mark.parametrize("position", [-1, 16])
def test_a_position_beyond_the_square_is_refused(position):
    with pytest.raises(ValueError, match=f"positions is {position}; allowed: 0 to 15"):
        hierarchical_rows(torch.zeros(4, 2), torch.tensor([[3, position]]))
