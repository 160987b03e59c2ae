import pytest
import torch

from kexue.analysis.masked_copies import pair_impacts, prepare_masking
from kexue.analysis.staged_encoder import StagedEncoder

MASK = 9
TABLE = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
IDS = torch.tensor([1, 2, 3, 4, 5])


def prepare(encode=lambda ids: TABLE[ids], *, ids=IDS, **options):
    given = {"mask_id": MASK, "spans": None, "distance": "euclidean", "autocast": None, **options}
    return prepare_masking(encode, ids, *given.values())


class Watched:
    """An encoder that remembers what it read, and whose states see the whole text."""

    def __init__(self):
        self.rows = []

    def __call__(self, ids):
        self.rows.append(ids.clone())
        return TABLE[ids] + TABLE[ids].sum(1, keepdim=True)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_each_set_of_masks_is_read_once(batch_size):
    encode = Watched()
    pairs = torch.triu_indices(5, 5, 1).T
    pair_impacts(prepare(encode), pairs, batch_size)
    assert max(len(rows) for rows in encode.rows) <= batch_size
    masked = [
        tuple(torch.nonzero(row == MASK).flatten().tolist()) for row in torch.cat(encode.rows)
    ]
    assert len(masked) == 15
    assert set(masked) == {(i,) for i in range(5)} | {tuple(pair) for pair in pairs.tolist()}
    kept = torch.cat(encode.rows)
    assert ((kept == IDS) | (kept == MASK)).all()


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_the_size_of_batches_changes_nothing(batch_size):
    pairs = torch.triu_indices(3, 3, 1).T
    masking = prepare(Watched(), spans=[(0, 1), (1, 4), (4, 5)])
    expected = pair_impacts(masking, pairs, 100)
    torch.testing.assert_close(pair_impacts(masking, pairs, batch_size), expected)


def test_the_state_of_a_unit_is_the_mean_of_its_tokens():
    spans = [(0, 1), (1, 4)]
    found = pair_impacts(prepare(Watched(), spans=spans), torch.tensor([[0, 1]]), 8)

    def state(masked, span):
        ids = IDS.clone()
        ids[masked] = MASK
        return Watched()(ids[None])[0, slice(*span)].mean(0)

    both = [0, 1, 2, 3]
    expected = [
        (state([0], (0, 1)) - state(both, (0, 1))).norm(),
        (state([1, 2, 3], (1, 4)) - state(both, (1, 4))).norm(),
    ]
    torch.testing.assert_close(found, torch.stack(expected)[None])


def test_cosines():
    pairs = torch.tensor([[0, 2]])
    found = pair_impacts(prepare(Watched(), distance="cosine"), pairs, 8)
    one, both = IDS.clone(), IDS.clone()
    one[0] = both[[0, 2]] = MASK
    states = (Watched()(ids[None])[0, 0] for ids in (one, both))
    expected = 1 - torch.cosine_similarity(*states, dim=0)
    torch.testing.assert_close(found[0, 0], expected)


def test_no_pairs_are_no_impacts():
    found = pair_impacts(prepare(), torch.empty(0, 2, dtype=torch.long), 4)
    assert found.shape == (0, 2)


def test_half_precision_is_measured_in_float32():
    found = pair_impacts(
        prepare(lambda ids: TABLE.to(torch.bfloat16)[ids]), torch.tensor([[0, 1]]), 4
    )
    assert found.dtype == torch.float32


def test_the_encoder_runs_in_the_dtype_that_was_asked_for():
    seen = []

    def encode(ids):
        states = TABLE.float()[ids] @ torch.eye(4)
        seen.append(states.dtype)
        return states

    pairs = torch.tensor([[0, 1]])
    pair_impacts(prepare(encode, autocast=torch.bfloat16), pairs, 4)
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    pair_impacts(prepare(encode), pairs, 4)
    assert set(seen) == {torch.float32}


def test_nothing_is_kept_for_gradients():
    weights = TABLE.clone().requires_grad_()
    found = pair_impacts(prepare(lambda ids: weights[ids]), torch.tensor([[0, 1]]), 4)
    assert not found.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": IDS[None]}, r"ids is \(1, 5\).*Take ids\[0\]"),
        ({"ids": IDS[:0]}, "ids is"),
        ({"ids": IDS.float()}, "ids is"),
        ({"mask_id": None}, "mask_id is None.*masked language model"),
        ({"mask_id": -1}, "mask_id is -1"),
        ({"distance": "l1"}, "distance is 'l1'; allowed: 'euclidean' or 'cosine'"),
        ({"spans": []}, "at least one unit"),
        ({"spans": [(0, 6)]}, r"spans\[0\] is \(0, 6\).*up to 5"),
        ({"spans": [(2, 2)]}, r"spans\[0\]"),
        ({"spans": [(0, 2), (1, 3)]}, r"spans\[1\] is \(1, 3\).*from 2 on"),
        ({"encode": torch.nn.Dropout()}, "in training mode"),
    ],
)
def test_what_cannot_be_is_explained(options, message):
    with pytest.raises(ValueError, match=message):
        prepare(**options)


@pytest.mark.parametrize(
    ("encode", "given"),
    [(lambda ids: TABLE[ids][:, 1:], r"\(1, 4, 4\)"), (lambda ids: (TABLE[ids],), "'tuple'")],
)
def test_other_shapes_of_states_are_explained(encode, given):
    with pytest.raises(ValueError, match=rf"what encode returns is {given}.*last_hidden_state"):
        pair_impacts(prepare(encode), torch.tensor([[0, 1]]), 1)


def test_an_empty_batch_is_an_error():
    with pytest.raises(ValueError, match="batch_size is 0"):
        pair_impacts(prepare(), torch.tensor([[0, 1]]), 0)


def test_a_staged_encoder_is_asked_for_no_more_places_than_it_must():
    asked = []

    def last(hidden, places):
        asked.append(places.shape[1])
        return hidden.gather(1, places[..., None].expand(-1, -1, 4))

    staged = StagedEncoder(
        lambda ids: TABLE[ids], lambda x: x + x.sum(1, keepdim=True), lambda x: x, last
    )
    spans = [(0, 1), (1, 4), (4, 5)]
    pairs = torch.triu_indices(3, 3, 1).T
    found = pair_impacts(prepare(staged, spans=spans), pairs, 1)
    assert sorted(asked) == [1, 1, 2, 3, 6, 6]
    torch.testing.assert_close(found, pair_impacts(prepare(Watched(), spans=spans), pairs, 1))
