import math

import pytest
import torch
import torch.nn.functional as F

from kexue.attention import attend


def loop(q, k, v, mask, scale):
    out = torch.zeros(*q.shape[:3], v.shape[-1], dtype=q.dtype)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                kept = [j for j in range(k.shape[2]) if mask[b, h, i, j]]
                weights = [math.exp(scale * (q[b, h, i] @ k[b, h, j]).item()) for j in kept]
                for weight, j in zip(weights, kept, strict=True):
                    out[b, h, i] += weight / sum(weights) * v[b, h, j]
    return out


@pytest.mark.parametrize("scale", [None, 0.7])
def test_equals_the_definition_in_loops(scale):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, n, 4, dtype=torch.float64) for n in (3, 5, 5))
    mask = torch.rand(2, 2, 3, 5) < 0.6
    mask[..., 0] = True
    expected = loop(q, k, v, mask, 0.5 if scale is None else scale)
    torch.testing.assert_close(attend(q, k, v, mask=mask, scale=scale), expected)


def test_gradients_equal_torch():
    leaves = [torch.randn(1, 2, 6, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    ours = torch.autograd.grad(attend(*leaves, mask=mask).square().sum(), leaves)
    theirs = F.scaled_dot_product_attention(*leaves, attn_mask=mask).square().sum()
    for left, right in zip(ours, torch.autograd.grad(theirs, leaves), strict=True):
        torch.testing.assert_close(left, right)


def test_the_order_of_keys_does_not_matter():
    q, k, v = (torch.randn(1, 1, 7, 4) for _ in range(3))
    order = torch.randperm(7)
    torch.testing.assert_close(attend(q, k[:, :, order], v[:, :, order]), attend(q, k, v))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_with_nothing_to_see_is_finite(dtype):
    q, k, v = (torch.randn(1, 1, 4, 8).to(dtype) for _ in range(3))
    mask = torch.zeros(4, 4, dtype=torch.bool)
    out = attend(q * 100, k * 100, v, mask=mask)
    assert out.dtype == dtype
    mean = v.float().mean(2)[0, 0].to(dtype)
    torch.testing.assert_close(out[0, 0, 0], mean, rtol=0.02, atol=0.02)
