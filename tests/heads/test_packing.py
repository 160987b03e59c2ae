import pytest
import torch

from kexue.heads.packing import blocks, pack, span_table


def test_places_of_kept_tokens():
    mask = torch.tensor([[False, True, False, True], [False] * 4, [True] * 4])
    packing = pack(mask)
    assert packing.lengths == [2, 0, 4]
    assert packing.index.tolist() == [1, 3, 8, 9, 10, 11]
    assert packing.positions.tolist() == [1, 3, 0, 1, 2, 3]
    assert packing.starts.tolist() == [0, 2, 2, 6]


@pytest.mark.parametrize("cells", [1, 50, 10**6])
def test_blocks_hold_every_text_with_tokens_once(cells, monkeypatch):
    monkeypatch.setattr("kexue.heads.packing._CPU_CELLS", cells)
    torch.manual_seed(0)
    mask = torch.rand(13, 9) < torch.rand(13, 1)
    packing = pack(mask)
    seen = []
    for block in blocks(packing):
        for text, index, valid in zip(*block, strict=True):
            seen.append(text.item())
            assert packing.index[index[valid]].tolist() == [
                text * 9 + place for place in mask[text].nonzero().flatten().tolist()
            ]
        assert len(block.texts) == 1 or len(block.texts) * block.index.shape[1] ** 2 <= cells
    assert sorted(seen) == [text for text in range(13) if mask[text].any()]


def test_no_kept_token_at_all():
    packing = pack(torch.zeros(2, 3, dtype=torch.bool))
    assert list(blocks(packing)) == []


def test_spans_are_counted_over_kept_tokens():
    mask = torch.tensor([[False, True, False, True]])
    table = span_table([[(4, 1, 3), (4, 1, 3), (0, 3, 3)]], pack(mask), mask, 5)
    assert table.tolist() == [[0, 0, 1, 1], [0, 4, 0, 1]]


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(ValueError, match=r"attention_mask\.bool"):
        pack(torch.ones(2, 3))
