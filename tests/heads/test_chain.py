import pytest
import torch

from kexue.heads.chain import FORBIDDEN, align, make_chain


def scores(tags=3):
    torch.manual_seed(0)
    return torch.randn(tags, tags), torch.randn(tags), torch.randn(tags)


def test_kept_tokens_move_to_the_left_in_order():
    mask = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    emissions = torch.arange(3 * 5 * 3.0).view(3, 5, 3)
    chain, order = align(emissions, mask, *scores())
    assert chain.lengths.tolist() == [3, 0, 1]
    assert order[0].tolist() == [1, 2, 4]
    assert order[2, 0] == 0
    torch.testing.assert_close(chain.emissions[0], emissions[0, [1, 2, 4]].double())
    assert (chain.emissions[1] == 0).all()
    assert (chain.emissions[2, 1:] == 0).all()
    assert chain.valid.tolist() == [[True] * 3, [False] * 3, [True, False, False]]


def test_what_lies_behind_a_text_is_blanked_even_if_it_is_nan():
    emissions = torch.full((1, 3, 3), torch.nan)
    emissions[0, 0] = 1.0
    chain = make_chain(emissions, torch.tensor([1]), *scores())
    assert chain.emissions[0].tolist() == [[1.0] * 3, [0.0] * 3, [0.0] * 3]


def test_reversal_turns_each_text_round_in_its_own_length():
    emissions = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
    chain = make_chain(emissions, torch.tensor([4, 2]), *scores())
    turned = chain.emissions.gather(1, chain.reversal)
    assert torch.equal(turned[0], chain.emissions[0].flip(0))
    assert torch.equal(turned[1, :2], chain.emissions[1, :2].flip(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_are_always_in_double_precision(dtype):
    parts = [part.to(dtype) for part in scores()]
    chain = make_chain(torch.zeros(1, 2, 3, dtype=dtype), torch.tensor([2]), *parts)
    assert {x.dtype for x in (chain.emissions, *chain[2:])} == {torch.float64}


def test_forbidden_is_finite_and_has_no_weight():
    value = torch.tensor(FORBIDDEN)
    assert value.isfinite()
    assert (4 * value).isfinite()
    assert value.exp() == 0


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(ValueError, match="boolean"):
        align(torch.zeros(1, 2, 3), torch.ones(1, 2), *scores())
