import pytest
import torch
from transformers.masking_utils import (
    and_masks,
    causal_mask_function,
    or_masks,
    packed_sequence_mask_function,
    sdpa_mask,
)

from kexue.models.rerope_attention import rerope_attention, rerope_mask
from kexue.models.rerope_pair import FarPair


class Attention(torch.nn.Module):
    """As little of an attention module as the function looks at."""

    def __init__(self, *, window=4, step=0.0, training_length=None):
        super().__init__()
        self.is_causal, self.num_key_value_groups = True, 2
        rotary = Rotary()
        self.rerope = FarPair(rotary, turn, window, step, training_length)
        self.eval()


class Rotary(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inv_freq = torch.tensor([1.0, 0.1])

    def forward(self, x, positions):
        angles = positions.unsqueeze(-1) * self.inv_freq.to(x)
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()


def turn(q, k, cos, sin):
    def one(x):
        first, second = x.chunk(2, -1)
        return x * cos.unsqueeze(1) + torch.cat((-second, first), -1) * sin.unsqueeze(1)

    return one(q), one(k)


def draw(queries=12, keys=12, texts=2):
    generator = torch.Generator().manual_seed(0)
    shapes = ((texts, 4, queries, 4), (texts, 2, keys, 4), (texts, 2, keys, 4))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def call(module, tensors, mask=None, **options):
    return rerope_attention(module, *tensors, mask, scaling=0.5, **options)[0]


def test_masks_of_every_form_that_say_the_same_give_the_same():
    tensors = draw()
    plain = call(Attention(), tensors)
    assert plain.shape == (2, 12, 4, 4)
    assert plain.is_contiguous()
    causal = torch.ones(12, 12, dtype=torch.bool).tril().expand(2, 1, 12, 12)
    adding = torch.zeros(2, 1, 12, 12).masked_fill(~causal, torch.finfo(torch.float32).min)
    first = torch.zeros(2, 12, dtype=torch.long)
    keys = torch.ones(2, 1, 1, 12, dtype=torch.bool)
    for mask in (causal, adding, adding.double(), first, keys):
        torch.testing.assert_close(call(Attention(), tensors, mask), plain)


def test_packed_and_dense_masks_agree():
    tensors = draw()
    first = torch.tensor([[0] * 5 + [5] * 7, [0] * 2 + [2] * 9 + [11]])
    place = torch.arange(12)
    dense = (place >= first.unsqueeze(-1)) & (place <= place.unsqueeze(-1))
    for module in (Attention(), Attention(training_length=3), Attention(step=4.0).train()):
        packed = call(module, tensors, first)
        torch.testing.assert_close(packed, call(module, tensors, dense.unsqueeze(1)))


def test_two_keys_in_turns_equal_keys_that_are_turned_here():
    module, (q, k, v) = Attention(step=0.5), draw(3, 12)
    far = module.rerope.key(k, torch.arange(12)[None])
    both = torch.stack((k, far), 2).flatten(1, 2)
    torch.testing.assert_close(call(module, (q, both, v)), call(module, (q, k, v)))


def test_true_positions_are_used_where_they_come():
    module, (q, k, v) = Attention(step=0.5), draw()
    places = torch.arange(12)[None]
    q1, k1 = turn(q, k, *module.rerope.rotary(q, places))
    q2, k2 = turn(q, k, *module.rerope.rotary(q, places + 7))
    one = call(module, (q1, k1, v), position_ids=places)
    torch.testing.assert_close(call(module, (q2, k2, v), position_ids=places + 7), one)
    torch.testing.assert_close(call(module, (q2, k2, v)), one)


def test_true_positions_spare_digits():
    module, tensors = Attention(window=1), draw()
    q, k, v = (x.float() for x in tensors)
    far_off = torch.arange(12)[None] + 100_000
    moved = turn(q, k, *module.rerope.rotary(q, far_off))
    # All scores but a query's own are those of raw queries and keys, one step apart.
    one = turn(q, k, *module.rerope.rotary(q, torch.ones(1, 12)))
    scores = (one[0].unflatten(1, (2, 2)) @ k.unsqueeze(2).mT) * 0.5
    own = (q.unflatten(1, (2, 2)) @ k.unsqueeze(2).mT) * 0.5
    scores = torch.where(torch.eye(12, dtype=torch.bool), own, scores)
    hidden = torch.ones(12, 12, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    expected = (weights @ v.unsqueeze(2)).flatten(1, 2).transpose(1, 2)
    found = call(module, (*moved, v), position_ids=far_off)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (call(module, (*moved, v)) - expected).abs().max() > 5e-5


def test_what_would_be_left_out_is_refused():
    module, tensors = Attention(), draw()
    with pytest.raises(ValueError, match=r"attention_dropout is 0.1.*to 0"):
        call(module, tensors, dropout=0.1)
    for name in ("softcap", "s_aux", "position_bias", "sliding_window", "cache"):
        with pytest.raises(ValueError, match=f"for {name}, which"):
            call(module, tensors, **{name: torch.ones(1)})
        call(module, tensors, **{name: None})
    with pytest.raises(ValueError, match="adds to scores"):
        call(module, tensors, torch.full((2, 1, 12, 12), -0.5))
    with pytest.raises(ValueError, match="shows later tokens"):
        call(module, tensors, torch.ones(2, 1, 12, 12, dtype=torch.bool))


def make_mask(queries=12, keys=12, *, texts=2, **options):
    return rerope_mask(texts, queries, keys, q_offset=keys - queries, **options)


def test_nothing_hidden_needs_no_mask():
    assert make_mask() is None
    assert make_mask(3) is None
    assert make_mask(attention_mask=torch.ones(2, 12, dtype=torch.bool)) is None


@pytest.mark.parametrize("queries", [12, 5, 1])
def test_padding_is_told_by_keys_alone(queries):
    padding = torch.ones(2, 12, dtype=torch.bool)
    padding[1, :4] = False
    mask = make_mask(queries, attention_mask=padding)
    assert mask.shape == (2, 1, 1, 12)
    assert torch.equal(mask[:, 0, 0], padding)
    longer = make_mask(queries, 14, attention_mask=padding)
    assert torch.equal(longer[:, 0, 0, 12:], torch.zeros(2, 2, dtype=torch.bool))


def packed_function(lengths):
    ids = torch.stack(
        [torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in lengths]
    )
    return and_masks(causal_mask_function, packed_sequence_mask_function(ids))


def test_packed_texts_are_told_by_their_first_tokens():
    function = packed_function([[5, 7], [2, 9, 1]])
    mask = make_mask(mask_function=function, allow_is_causal_skip=False)
    assert mask.tolist() == [[0] * 5 + [5] * 7, [0] * 2 + [2] * 9 + [11]]


def test_packed_texts_longer_than_a_block_of_rows():
    function = packed_function([[400, 300]])
    mask = make_mask(700, 700, texts=1, mask_function=function, allow_is_causal_skip=False)
    assert mask.tolist() == [[0] * 400 + [400] * 300]


def prefix(batch, head, query, key):
    return (key < 4) & (query < 4)


def every_other(batch, head, query, key):
    return (query - key) % 2 == 0


def sliding(batch, head, query, key):
    return query - key < 3


@pytest.mark.parametrize("use_vmap", [False, True])
@pytest.mark.parametrize("name", ["prefix", "every_other", "sliding"])
def test_other_patterns_are_written_out(name, use_vmap):
    function = {
        "prefix": or_masks(causal_mask_function, prefix),
        "every_other": and_masks(causal_mask_function, every_other),
        "sliding": and_masks(causal_mask_function, sliding),
    }[name]
    options = {"mask_function": function, "allow_is_causal_skip": False, "use_vmap": use_vmap}
    mask = make_mask(**options)
    assert torch.equal(mask, sdpa_mask(2, 12, 12, 0, 0, **options))
    if name == "prefix":
        with pytest.raises(ValueError, match="shows later tokens"):
            call(Attention(), draw(), mask)
