import pytest
import torch

from kexue.attention.linear import linear_attend
from kexue.attention.linear_state import attend_linear_state, extend_linear_state
from kexue.positions import rope_angles

MAPS = ["exp", "elu1", "relu", "cos1", torch.sigmoid]


def draw(length, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, length, n, generator=generator, dtype=dtype).abs() for n in (8, 8, 5)]


def decode(q, k, v, sizes, *, feature_map, angles=None, mask=None):
    """Read token by token or in chunks, each query after its own chunk."""
    state, out, start = None, [], 0
    for size in sizes:
        part = slice(start, start + size)
        turn = None if angles is None else angles[part]
        keep = None if mask is None else mask[..., part]
        state = extend_linear_state(
            *(x[:, :, part] for x in (k, v)),
            state=state,
            feature_map=feature_map,
            angles=turn,
            mask=keep,
        )
        last = slice(start + size - 1, start + size)
        turn = None if angles is None else angles[last]
        out.append(attend_linear_state(q[:, :, last], state, feature_map=feature_map, angles=turn))
        start += size
    return torch.cat(out, 2)


@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("sizes", [[1] * 12, [5, 1, 3, 1, 2], [12]], ids=["1", "chunks", "all"])
def test_equals_the_full_pass(feature_map, rope, sizes):
    q, k, v = draw(12)
    angles = rope_angles(torch.arange(12).double(), 8) if rope else None
    full = linear_attend(q, k, v, feature_map=feature_map, causal=True, angles=angles)
    ends = torch.tensor(sizes).cumsum(0) - 1
    found = decode(q, k, v, sizes, feature_map=feature_map, angles=angles)
    torch.testing.assert_close(found, full[:, :, ends])


@pytest.mark.parametrize("feature_map", MAPS)
def test_left_padding_changes_nothing(feature_map):
    q, k, v = draw(12)
    mask = (torch.arange(12) >= torch.tensor([[0], [5]]))[:, None, None]
    full = linear_attend(q, k, v, feature_map=feature_map, causal=True, mask=mask)
    found = decode(q, k, v, [1] * 12, feature_map=feature_map, mask=mask)
    torch.testing.assert_close(found, full)
    assert not found[1, :, :5].any()


def test_keys_that_outgrow_all_before_do_not_overflow():
    q, k, v = draw(40, dtype=torch.float32)
    k = k + torch.arange(40)[:, None] * 10
    found = decode(q, k, v, [1] * 40, feature_map="exp")
    weights = (q.double().unsqueeze(-2) + k.double().unsqueeze(-3)).logsumexp(-1)
    weights = weights.masked_fill(torch.ones(40, 40).triu(1).bool(), -torch.inf).softmax(-1)
    torch.testing.assert_close(found.double(), weights @ v.double(), atol=1e-4, rtol=1e-4)


def test_the_old_state_is_left_alone():
    _, k, v = draw(6)
    state = extend_linear_state(k, v)
    copies = [x.clone() for x in state]
    extend_linear_state(k * 3, v, state=state)
    assert all(map(torch.equal, state, copies))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_state_in_full(dtype):
    q, k, v = (x.to(dtype) for x in draw(3000, dtype=torch.float32))
    state = extend_linear_state(k, v)
    assert {x.dtype for x in state} == {torch.float32}
    out = attend_linear_state(q[:, :, -1:], state)
    assert out.dtype == dtype
    exact = linear_attend(*(x.double() for x in (q, k, v)))[:, :, -1:]
    torch.testing.assert_close(out.double(), exact, atol=0.02, rtol=0.02)


def test_keys_that_see_each_other_are_refused():
    x = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ValueError, match="must not see later keys"):
        extend_linear_state(x, x, feature_map="softmax2")
