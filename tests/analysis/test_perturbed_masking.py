import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.analysis.perturbed_masking import impact_matrix, neighbour_impacts
from kexue.analysis.segmentation import neighbour_strength, segment

MASK = 12


def linear_encoder(length, *, seed=0, width=6):
    """H = A E: masking j moves state i by |A_ij| times what the mask changes in the embedding."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(length, length, generator=generator, dtype=torch.float64)
    table = torch.randn(MASK + 1, width, generator=generator, dtype=torch.float64)
    return mixing, table


def attention_encoder(*, seed=0, width=8):
    """A layer of attention, in which everything depends on everything."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(MASK + 1, width, generator=generator, dtype=torch.float64)
    query, key = torch.randn(2, width, width, generator=generator, dtype=torch.float64)

    def encode(ids):
        hidden = table[ids] + torch.arange(ids.shape[1])[:, None] / 3
        weights = (hidden @ query @ (hidden @ key).mT / width).softmax(-1)
        return (hidden + weights @ hidden).tanh()

    return encode


def by_definition(encode, ids, spans):
    """Two passes for each entry, in loops."""
    matrix = torch.zeros(len(spans), len(spans), dtype=torch.float64)
    for i, (start, end) in enumerate(spans):
        for j, other in enumerate(spans):
            one = ids.clone()
            one[start:end] = MASK
            both = one.clone()
            both[slice(*other)] = MASK
            first, second = (encode(row[None])[0, start:end].mean(0) for row in (one, both))
            matrix[i, j] = ((first - second) ** 2).sum().sqrt()
    return matrix


@given(
    length=st.integers(1, 9), seed=st.integers(0, 100), batch_size=st.sampled_from([1, 3, 8, 64])
)
@settings(max_examples=25, deadline=None)
def test_a_linear_encoder_in_closed_form(length, seed, batch_size):
    mixing, table = linear_encoder(length, seed=seed)
    ids = torch.randint(0, MASK + 1, (length,), generator=torch.Generator().manual_seed(seed))
    found = impact_matrix(lambda x: mixing @ table[x], ids, mask_id=MASK, batch_size=batch_size)
    moved = (table[ids] - table[MASK]).norm(dim=-1)
    expected = (mixing.abs() * moved).fill_diagonal_(0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "spans",
    [None, [(0, 1), (1, 3), (3, 6), (6, 7)], [(1, 2), (4, 6)], [(0, 7)], [(2, 3)]],
)
def test_equals_the_definition_in_loops(spans):
    encode = attention_encoder()
    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    units = spans or [(place, place + 1) for place in range(7)]
    expected = by_definition(encode, ids, units)
    found = impact_matrix(encode, ids, mask_id=MASK, spans=spans)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert spans is None or len(units) == 1 or not torch.allclose(found, found.T)


def test_rows_are_those_who_are_moved():
    # Only the state of the first token looks at another, the third.
    mixing, table = torch.eye(3, dtype=torch.float64), linear_encoder(3)[1]
    mixing[0, 2] = 1.0
    found = impact_matrix(lambda x: mixing @ table[x], torch.tensor([1, 2, 3]), mask_id=MASK)
    assert found[0, 2] > 0
    assert torch.count_nonzero(found) == 1


def test_a_masked_token_has_no_impact():
    found = impact_matrix(attention_encoder(), torch.tensor([3, MASK, 4]), mask_id=MASK)
    assert found[:, 1].tolist() == [0, 0, 0]
    assert (found[1, [0, 2]] > 0).all()


def test_one_token_has_no_neighbours():
    encode = attention_encoder()
    assert impact_matrix(encode, torch.tensor([3]), mask_id=MASK).tolist() == [[0]]
    assert neighbour_impacts(encode, torch.tensor([3]), mask_id=MASK).shape == (0,)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("spans", [None, [(0, 2), (2, 3), (3, 6)]])
def test_neighbours_are_the_diagonals_beside_the_diagonal(distance, spans):
    encode, ids = attention_encoder(), torch.tensor([3, 1, 4, 1, 5, 9])
    options = {"mask_id": MASK, "distance": distance, "spans": spans}
    expected = neighbour_strength(impact_matrix(encode, ids, **options))
    found = neighbour_impacts(encode, ids, batch_size=4, **options)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_the_number_of_passes(length):
    encode, passes = attention_encoder(), []

    def counting(ids):
        passes.append(len(ids))
        return encode(ids)

    ids = torch.arange(length)
    impact_matrix(counting, ids, mask_id=MASK)
    assert sum(passes) == length * (length + 1) // 2
    passes.clear()
    neighbour_impacts(counting, ids, mask_id=MASK)
    assert sum(passes) == 2 * length - 1


def test_words_that_are_read_together_are_found():
    # Tokens of a word look at each other; others do not.
    words = [(0, 2), (2, 3), (3, 6)]
    mixing = torch.block_diag(*(torch.ones(end - start, end - start) for start, end in words))
    table = linear_encoder(6)[1]
    ids = torch.tensor([1, 2, 3, 4, 5, 6])
    found = impact_matrix(lambda x: mixing.double() @ table[x], ids, mask_id=MASK)
    assert segment(found, threshold=1e-6) == words


def test_nothing_is_changed():
    ids, spans = torch.tensor([3, 1, 4]), [(0, 1), (1, 3)]
    impact_matrix(attention_encoder(), ids, mask_id=MASK, spans=spans)
    assert ids.tolist() == [3, 1, 4]
    assert spans == [(0, 1), (1, 3)]
    assert torch.is_grad_enabled()


def test_float32_by_default_and_float64_where_the_encoder_is():
    _, table = linear_encoder(3)
    for dtype, expected in ((torch.float32, torch.float32), (torch.float16, torch.float32)):
        encode = table.to(dtype).__getitem__
        found = impact_matrix(encode, torch.tensor([1, 2]), mask_id=MASK)
        assert found.dtype == expected
    assert impact_matrix(table.__getitem__, torch.tensor([1]), mask_id=MASK).dtype == torch.float64


def test_bfloat16_is_close_and_not_the_same():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(MASK + 1, 32, generator=generator)
    weights = torch.randn(32, 32, generator=generator) / 32**0.5

    def encode(ids):
        hidden = (table[ids] @ weights).tanh()
        return hidden + hidden.cumsum(1) @ weights

    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    exact = impact_matrix(encode, ids, mask_id=MASK)
    low = impact_matrix(encode, ids, mask_id=MASK, autocast=torch.bfloat16)
    assert low.dtype == torch.float32
    assert not torch.equal(low, exact)
    both = torch.stack((low.flatten(), exact.flatten()))
    assert torch.corrcoef(both)[0, 1] > 0.99


def test_errors_reach_the_caller():
    with pytest.raises(ValueError, match="mask_id is None"):
        impact_matrix(attention_encoder(), torch.tensor([1]), mask_id=None)
    with pytest.raises(ValueError, match="batch_size is 0"):
        neighbour_impacts(attention_encoder(), torch.tensor([1]), mask_id=MASK, batch_size=0)
