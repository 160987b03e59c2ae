import torch

from kexue.models.masks import visible


def loop(kind, segments, length):
    """Which token sees which, pair by pair."""
    seen = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        for j in range(length):
            before = j <= i
            both_first = segments[i] == 0 and segments[j] == 0
            from_second = segments[i] == 1 and (segments[j] == 0 or before)
            seen[i, j] = {
                "bidirectional": True,
                "causal": before,
                "unilm": both_first or from_second,
            }[kind]
    return seen


def test_masks_equal_the_loop_with_and_without_padding():
    hidden = torch.zeros(2, 5, 3)
    segments = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 1, 0]])
    padding = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    for kind in ("bidirectional", "causal", "unilm"):
        want = torch.stack([loop(kind, row, 5) for row in segments])
        keep = visible(kind, None, segments, hidden)
        if kind == "bidirectional":
            assert keep is None
        elif kind == "causal":
            assert torch.equal(keep.expand(2, 1, 5, 5)[:, 0], want)
        else:
            # The last token of the second text is padding, whose segment means nothing.
            assert torch.equal(keep[:, 0, :4, :4], want[:, :4, :4])
        keep = visible(kind, padding, segments, hidden).expand(2, 1, 5, 5)[:, 0]
        assert torch.equal(keep[:, :4], (want & padding.bool()[:, None])[:, :4])


def test_unilm_without_segments_is_causal():
    hidden = torch.zeros(1, 4, 3)
    assert torch.equal(visible("unilm", None, None, hidden), visible("causal", None, None, hidden))


def test_a_mask_of_pairs_is_taken_as_it_is():
    pairs = torch.rand(2, 4, 4) < 0.5
    assert torch.equal(visible("bidirectional", pairs, None, torch.zeros(2, 4, 3))[:, 0], pairs)
