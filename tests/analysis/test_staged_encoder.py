import pytest
import torch
import torch.nn.functional as F

from kexue.analysis.staged_encoder import StagedEncoder, share_inputs

VOCABULARY, WIDTH, MASK = 11, 5, 10


def convolving(reach, *, seed=0):
    """Stages whose inputs depend on `reach` tokens on each side, padded with zeros."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=torch.float64)
    size = 2 * reach + 1
    kernel = torch.randn(WIDTH, WIDTH, size, generator=generator, dtype=torch.float64)
    places = torch.randn(50, WIDTH, generator=generator, dtype=torch.float64)
    calls = []

    def inputs(ids):
        calls.append(tuple(ids.shape))
        mixed = F.conv1d(table[ids].mT, kernel, padding=reach).mT
        return mixed + places[: ids.shape[1]]

    def last(hidden, at):
        return hidden.gather(1, at[..., None].expand(-1, -1, WIDTH))

    staged = StagedEncoder(inputs, lambda x: x.cumsum(1).tanh(), lambda x: x.flip(1), last, reach)
    return staged, calls


@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 10])
def test_every_way_of_masking_is_in_the_table(reach, length):
    staged, calls = convolving(reach)
    ids = torch.arange(length) % (MASK - 1)
    shared = share_inputs(staged, ids, mask_id=MASK)
    assert calls == [(2 ** (2 * reach + 1), length)]
    number = torch.arange(2**length)
    hidden = (number[:, None] >> torch.arange(length)) & 1 == 1  # all 2^L of them
    expected = staged.inputs(torch.where(hidden, MASK, ids))
    torch.testing.assert_close(shared.rows(hidden), expected, rtol=0, atol=1e-12)


def test_the_text_itself_and_the_masks_are_the_two_rows_without_neighbours():
    staged, _ = convolving(0)
    ids = torch.tensor([3, 1, 4])
    shared = share_inputs(staged, ids, mask_id=MASK)
    assert shared.table.shape == (6, WIDTH)
    assert torch.equal(shared.table[:3], staged.inputs(ids[None])[0])
    assert torch.equal(shared.table[3:], staged.inputs(torch.full((1, 3), MASK))[0])


def test_a_mask_in_the_text_is_a_token_like_others():
    staged, _ = convolving(1)
    ids = torch.tensor([3, MASK, 4, MASK])
    hidden = torch.tensor([[True, False, False, True], [False, True, False, False]])
    expected = staged.inputs(torch.where(hidden, MASK, ids))
    rows = share_inputs(staged, ids, mask_id=MASK).rows(hidden)
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-12)


def test_the_stages_one_after_the_other_are_the_encoder():
    staged, _ = convolving(1)
    ids = torch.tensor([[3, 1, 4], [1, 5, 9]])
    expected = staged.inputs(ids).cumsum(1).tanh().flip(1)
    assert torch.equal(staged(ids), expected)


def test_the_text_is_not_written_to():
    staged, _ = convolving(1)
    ids = torch.tensor([3, 1, 4])
    hidden = torch.tensor([[True, False, True]])
    share_inputs(staged, ids, mask_id=MASK).rows(hidden)
    assert ids.tolist() == [3, 1, 4]
    assert hidden.tolist() == [[True, False, True]]
