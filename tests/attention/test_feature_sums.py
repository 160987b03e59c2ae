import pytest
import torch

from kexue.attention.feature_sums import divide_by_last, key_column, mix_by_features
from kexue.positions import rope_angles, rotate


def draw(length, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, length, 4), (2, 3, length, 4), (2, 3, length, 5))
    return [torch.rand(s, generator=generator, dtype=dtype) for s in shapes]


def loop(query, key, v, *, causal, angles):
    """One pair of tokens at a time; RoPE in the weights and not in their sum."""
    turned = (query, key) if angles is None else (rotate(query, angles), rotate(key, angles))
    out = torch.zeros_like(v)
    for i in range(query.shape[2]):
        seen = range(i + 1 if causal else key.shape[2])
        top = sum(
            (turned[0][:, :, i] * turned[1][:, :, j]).sum(-1, True) * v[:, :, j] for j in seen
        )
        out[:, :, i] = top / sum((query[:, :, i] * key[:, :, j]).sum(-1, True) for j in seen)
    return out


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("length", [1, 12, 66])
def test_equals_the_loop_with_its_gradients(causal, rope, length):
    leaves = [x.requires_grad_() for x in draw(length)]
    angles = rope_angles(torch.arange(length).double(), 4) if rope else None
    ours = mix_by_features(*leaves, causal=causal, angles=angles)
    theirs = loop(*leaves, causal=causal, angles=angles)
    torch.testing.assert_close(ours, theirs)
    for left, right in zip(
        torch.autograd.grad(ours.sin().sum(), leaves),
        torch.autograd.grad(theirs.sin().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(left, right)


def test_the_mean_of_equal_values_is_that_value():
    query, key, _ = draw(70)
    v = torch.full((2, 3, 70, 5), 7.0, dtype=torch.float64)
    for causal in (False, True):
        torch.testing.assert_close(mix_by_features(query, key, v, causal=causal), v)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rope", [False, True])
def test_without_anything_in_common_there_is_nothing_and_no_gradient(causal, rope):
    # Features of no common support: products 0, but, once turned, not 0.
    query = torch.tensor([1.0, 0.0]).expand(1, 1, 3, 2).clone().requires_grad_()
    key = torch.tensor([0.0, 1.0]).expand(1, 1, 3, 2).clone().requires_grad_()
    v = torch.ones(1, 1, 3, 2, requires_grad=True)
    angles = rope_angles(torch.arange(3), 2) if rope else None
    out = mix_by_features(query, key, v, causal=causal, angles=angles)
    assert not out.any()
    grads = torch.autograd.grad(out.sum(), (query, key, v))
    assert all(g.isfinite().all() for g in grads)
    assert not grads[2].any()


def test_values_decide_the_dtype():
    query, key, v = draw(9, dtype=torch.float32)
    for causal in (False, True):
        out = mix_by_features(query, key, v.bfloat16(), causal=causal)
        assert out.dtype == torch.bfloat16
        exact = mix_by_features(query, key, v, causal=causal)
        torch.testing.assert_close(out.float(), exact, atol=0.01, rtol=0.01)


def test_sums_are_divided_by_their_last_column():
    generator = torch.Generator().manual_seed(0)
    sums = torch.randn(2, 3, 7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(divide_by_last(sums), sums[..., :-1] / sums[..., -1:])
    assert torch.autograd.gradcheck(divide_by_last, [sums])


def test_what_has_underflowed_is_nothing():
    last = torch.tensor([0.0, 1e-40, 1e-32, 1e-30, -2.0])
    sums = torch.stack((last * 3, last), -1).requires_grad_()
    out = divide_by_last(sums)
    torch.testing.assert_close(out.flatten(), torch.tensor([0.0, 0.0, 0.0, 3.0, 3.0]))
    (grad,) = torch.autograd.grad(out.sum(), sums)
    torch.testing.assert_close(grad[:3], torch.zeros(3, 2))
    torch.testing.assert_close(grad[3:], torch.tensor([[1e30, -3e30], [-0.5, 1.5]]))
    assert divide_by_last(sums.double())[1] == 3


def test_columns_of_keys():
    assert key_column(None) is None
    mask = torch.rand(2, 1, 1, 5) < 0.5
    assert torch.equal(key_column(mask), mask.reshape(2, 1, 5, 1))
    assert torch.equal(key_column(mask[0, 0, 0]), mask[0, 0, 0].reshape(5, 1))
    for wrong in (mask.float(), mask.expand(2, 1, 4, 5)):
        with pytest.raises(ValueError, match="give a mask of keys, and causal=True"):
            key_column(wrong)
