import pytest
import torch

from kexue.analysis import layer_gradients
from kexue.analysis.layer_gradients import LinearGradients, RowGradients, TokenGradients

EXAMPLES, OTHERS, OUTPUTS = 4, 3, 2


def linear(count, places, width, out):
    return LinearGradients(
        torch.randn(count, places, width).double(),
        torch.randn(count, OUTPUTS, places, out).double(),
    )


def by_definition(one, two):
    """Form every gradient by the weights, example by example and output by output."""

    def gradients(part):
        return [
            [sum(torch.outer(g, a) for g, a in zip(slopes, inputs, strict=True)) for slopes in by]
            for inputs, by in zip(part.inputs, part.slopes, strict=True)
        ]

    left, right = gradients(one), gradients(two)
    rows = [
        [[[(a * b).sum() for b in other] for other in right] for a in example] for example in left
    ]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("places", "width", "out"), [((1, 1), 5, 3), ((2, 3), 40, 30), ((9, 7), 3, 2), ((1, 4), 6, 6)]
)
def test_inner_products_are_those_of_the_gradients(places, width, out):
    torch.manual_seed(0)
    one, two = linear(EXAMPLES, places[0], width, out), linear(OTHERS, places[1], width, out)
    found = one.inner(two)
    assert found.shape == (EXAMPLES, OUTPUTS, OTHERS, OUTPUTS)
    torch.testing.assert_close(found, by_definition(one, two))


def test_both_ways_over_many_places_are_taken():
    few, many = linear(2, 2, 40, 30), linear(2, 50, 3, 2)
    assert layer_gradients._pairs_are_cheaper(few, few)
    assert not layer_gradients._pairs_are_cheaper(many, many)


@pytest.mark.parametrize("numbers", [1, 13, 2**22])
def test_blocks_change_nothing(monkeypatch, numbers):
    torch.manual_seed(0)
    one, two = linear(EXAMPLES, 9, 3, 2), linear(OTHERS, 7, 3, 2)
    monkeypatch.setattr(layer_gradients, "_BLOCK", numbers)
    torch.testing.assert_close(one.inner(two), by_definition(one, two))


def test_tokens_are_vectors_with_a_single_one():
    torch.manual_seed(0)
    ids, others = torch.tensor([[4, 9, 4], [9, 9, 2]]), torch.tensor([[9, 4]])
    one = TokenGradients(ids, torch.randn(2, OUTPUTS, 3, 5).double())
    two = TokenGradients(others, torch.randn(1, OUTPUTS, 2, 5).double())
    table = torch.eye(10).double()
    expected = by_definition(
        LinearGradients(table[ids], one.slopes), LinearGradients(table[others], two.slopes)
    )
    torch.testing.assert_close(one.inner(two), expected)


def test_tokens_that_nothing_is_learnt_from_count_for_nothing():
    part = TokenGradients(torch.tensor([[3, -1]]), torch.ones(1, 1, 2, 4))
    assert part.inner(part).item() == 4
    empty = TokenGradients(torch.tensor([[-1, -1]]), torch.ones(1, 1, 2, 4))
    assert empty.inner(part).item() == 0


def test_rows_are_multiplied_pair_by_pair():
    one, two = RowGradients(torch.randn(4, 2, 6)), RowGradients(torch.randn(3, 2, 6))
    expected = torch.einsum("ncr,mdr->ncmd", one.rows, two.rows)
    torch.testing.assert_close(one.inner(two), expected)
